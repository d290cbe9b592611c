"""Where a browser brings a login's end: the listener on the loopback interface, and the pages it answers with."""
