"""`auth-agent token`: prints an access token. A light command: it is run in loops."""

import sys

from auth_agent.cli.light import Command, Given, Option, seconds
from auth_agent_client.client import Agent, Token

COMMAND = Command(
    "token",
    "Print an access token that is valid now.",
    arguments="[ACCOUNT]",
    most=1,
    options=(
        Option("--url", "URL", "What it is for: the configuration's [hosts] say whose token that gets."),
        Option("--audience", "TEXT", "The API it is for, where that isn't the account's own."),
        Option("--scope", "TEXT", "The scopes it must have, where those aren't the account's own."),
        Option("--min-ttl", "SECONDS", "For how long it must be valid still.", read=seconds),
        Option("--force", "", "A token newer than the current one."),
        Option("--timeout", "SECONDS", "How long to wait for it (15).", read=seconds),
        Option("--json", "", "Print all that is known of the token."),
    ),
    examples=(
        # `printf` is the shell's own: an argument of curl could be read by other users.
        (
            "token=$(auth-agent token work) && printf 'Authorization: Bearer %s\\n' \"$token\" "
            "| curl -H @- https://api.acme.example/"
        ),
        "auth-agent token --url https://git.example.com/team/project",
    ),
)


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return COMMAND.run(arguments, _print)


def _print(given: Given) -> None:
    with Agent() as agent:
        token = agent.token(
            given.word,
            url=given.text("--url"),
            audience=given.text("--audience"),
            scope=given.text("--scope"),
            min_ttl=given.seconds("--min-ttl"),
            force=True if given.flag("--force") else None,
            timeout=given.seconds("--timeout"),
        )
    sys.stdout.write(f"{_json(token) if given.flag('--json') else token.access_token}\n")


def _json(token: Token) -> str:
    import json  # noqa: PLC0415 -- most calls do without

    return json.dumps({name: getattr(token, name) for name in sorted(Token.__slots__)}, indent=2)
