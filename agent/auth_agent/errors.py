"""What can go wrong before there is an agent to answer."""


class StartupError(Exception):
    """The agent can't start; the text says why, and what to do."""


class ConfigError(StartupError):
    """The configuration can't be used; the text names the file, the line and what would be right."""
