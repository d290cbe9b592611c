"""A real OpenID Provider on loopback, for tests: see README.md."""
