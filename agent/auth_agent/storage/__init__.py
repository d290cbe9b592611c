"""Stores that keep sessions when the agent ends, and the journal beside them."""
