"""The options of the light commands that get an access token, and the request for it."""

import os

from auth_agent.cli.light import Arguments, Option, seconds
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent_client.client import Token
from auth_agent_client.working_directory import working_directory

TOKEN_OPTIONS = (
    Option("--url", "URL", "The URL to be called: [hosts] in the configuration maps it to an account."),
    Option("--audience", "TEXT", "The API that the token is for, if not the account's own."),
    Option("--scope", "TEXT", "The scopes that the token must at least have, if not the account's own."),
    Option("--only", "", "Get a token with no other scopes than those of --scope."),
    Option("--min-ttl", "SECONDS", "How long the token must remain valid.", read=seconds),
    Option("--force", "", "Get a newer token than the current one."),
    Option("--timeout", "SECONDS", "How long to wait for a token (15).", read=seconds),
)
# Claude Code names the URL of the server for which it runs a program.
_URL_VARIABLE = "CLAUDE_CODE_MCP_SERVER_URL"


def called_url(arguments: Arguments) -> str | None:
    """Return the URL that will be called; None if it is not known.

    The one that the calling tool names in the environment counts, whatever the option says: a project's file may have
    both the server's URL and the command line.
    """
    return os.environ.get(_URL_VARIABLE) or arguments.string("--url")


def get_token(arguments: Arguments, url: str | None) -> Token:
    """Return the token for the account that the arguments name, or for that URL. Raises an `AgentError`."""
    with PatientAgent() as agent:
        return agent.token(
            arguments.first,
            url=url,
            directory=None if url is None else working_directory(),
            audience=arguments.string("--audience"),
            scope=arguments.string("--scope"),
            only=True if arguments.flag("--only") else None,
            min_ttl=arguments.seconds("--min-ttl"),
            force=True if arguments.flag("--force") else None,
            timeout=arguments.seconds("--timeout"),
        )
