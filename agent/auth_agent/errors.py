"""What can go wrong before there is an agent to answer."""

from auth_agent_client.remedy import Remedy


class StartupError(Exception):
    """The agent can't start; the text says why, and `remedy` what helps."""

    def __init__(self, text: str, *remedy: Remedy) -> None:
        super().__init__(text)
        self.remedy = remedy


class ConfigError(StartupError):
    """The configuration can't be used; the text names the file, the line and what would be right."""
