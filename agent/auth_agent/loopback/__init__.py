"""The listener on the loopback interface that receives a login's redirect, and the pages it responds with."""
