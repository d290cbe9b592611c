"""Errors that keep the agent from starting."""

from auth_agent_client.remedy import Remedy


class StartupError(Exception):
    """The agent can't start; the message says why, and `remedy` what helps."""

    def __init__(self, text: str, *remedy: Remedy) -> None:
        super().__init__(text)
        self.remedy = remedy


class ConfigError(StartupError):
    """The configuration is invalid; the message names the file, the line and what is expected."""
