"""The agent as a service of the user's session: installed with the service manager of the platform."""
