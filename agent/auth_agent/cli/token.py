"""`auth-agent token`: print an access token. A light command, since programs run it in loops."""

import sys

from auth_agent.cli.light import Arguments, Command, Option
from auth_agent.cli.token_options import TOKEN_OPTIONS, get_token
from auth_agent_client.client import Token

COMMAND = Command(
    "token",
    "Print a valid access token.",
    arguments="[ACCOUNT]",
    most=1,
    options=(*TOKEN_OPTIONS, Option("--json", "", "Print the token and its properties as JSON.")),
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
    token = get_token(arguments, arguments.string("--url"))
    sys.stdout.write(f"{_json(token) if arguments.flag('--json') else token.access_token}\n")


def _json(token: Token) -> str:
    import json  # noqa: PLC0415 -- most calls don't need it

    return json.dumps({name: getattr(token, name) for name in sorted(Token.__slots__)}, indent=2)
