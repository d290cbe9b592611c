"""Notifications: of a person whose account needs a login, and of the service manager."""
