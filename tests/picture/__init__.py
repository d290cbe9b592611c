"""The picture of `auth-agent status` in the documentation: `make picture`."""
