"""The heart: logins, their tokens, and when they are refreshed."""
