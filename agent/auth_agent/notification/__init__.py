"""Notifications of a person: when an account needs a login, and how that is shown."""
