"""Why a tool gets no token, as its person reads it."""

from auth_agent.cli.exits import exit_code, print_error
from auth_agent.printable import printable
from auth_agent_client.errors import AgentError

_LONGEST = 1000  # characters of a message


def print_agent_error(error: AgentError) -> int:
    """Print an error of the agent and what helps to standard error, and return the exit code."""
    print_error(printable(error.message, _LONGEST), error.remedy)
    return exit_code(error)
