"""`auth-agent token`: print an access token. A light command, since programs run it in loops."""

import sys

from auth_agent.cli.light import Arguments, Command, Option, seconds
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.working_directory import working_directory
from auth_agent_client.client import Token

COMMAND = Command(
    "token",
    "Print a valid access token.",
    arguments="[ACCOUNT]",
    most=1,
    options=(
        Option("--url", "URL", "The URL to be called: [hosts] in the configuration maps it to an account."),
        Option("--audience", "TEXT", "The API that the token is for, if not the account's own."),
        Option("--scope", "TEXT", "The scopes that the token must at least have, if not the account's own."),
        Option("--only", "", "Get a token with no other scopes than those of --scope."),
        Option("--min-ttl", "SECONDS", "How long the token must remain valid.", read=seconds),
        Option("--force", "", "Get a newer token than the current one."),
        Option("--timeout", "SECONDS", "How long to wait for a token (15).", read=seconds),
        Option("--json", "", "Print the token and its properties as JSON."),
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
    """Run the command, and return its exit code."""
    return COMMAND.run(arguments, _print)


def _print(arguments: Arguments) -> None:
    with PatientAgent() as agent:
        token = agent.token(
            arguments.first,
            url=(url := arguments.string("--url")),
            directory=None if url is None else working_directory(),
            audience=arguments.string("--audience"),
            scope=arguments.string("--scope"),
            only=True if arguments.flag("--only") else None,
            min_ttl=arguments.seconds("--min-ttl"),
            force=True if arguments.flag("--force") else None,
            timeout=arguments.seconds("--timeout"),
        )
    sys.stdout.write(f"{_json(token) if arguments.flag('--json') else token.access_token}\n")


def _json(token: Token) -> str:
    import json  # noqa: PLC0415 -- most calls don't need it

    return json.dumps({name: getattr(token, name) for name in sorted(Token.__slots__)}, indent=2)
