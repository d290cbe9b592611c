"""`auth-agent header`: print the header that authorizes a request, in the forms in which tools take it."""

import sys

from auth_agent.cli.light import Arguments, Command, Option, UsageError
from auth_agent.cli.token_options import TOKEN_OPTIONS, called_url, get_token

_FORMS = ("--json", "--curl", "--value")

COMMAND = Command(
    "header",
    "Print the header that authorizes a request.",
    arguments="[ACCOUNT]",
    most=1,
    options=(
        *TOKEN_OPTIONS,
        Option("--json", "", "Print a JSON object of headers, as Claude Code and Codex take it."),
        Option("--curl", "", "Print a line of a curl configuration, for curl -K -."),
        Option("--value", "", "Print what follows the header's name, as pnpm takes it."),
    ),
    examples=(
        "auth-agent header work | curl -H @- https://api.acme.example/",
        "auth-agent header --json --url https://mcp.example.com/mcp",
    ),
)


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit code."""
    return COMMAND.run(arguments, _print)


def _print(arguments: Arguments) -> None:
    if sum(map(arguments.flag, _FORMS)) > 1:
        raise UsageError(f"{', '.join(_FORMS[:-1])} and {_FORMS[-1]} exclude each other.")
    url = called_url(arguments)
    headers = get_token(arguments, url).headers("GET", url or "")
    if arguments.flag("--json"):
        import json  # noqa: PLC0415 -- not every call needs it

        sys.stdout.write(f"{json.dumps(headers)}\n")
        return
    if arguments.flag("--value"):
        sys.stdout.write(f"{headers['Authorization']}\n")
        return
    for name, value in headers.items():
        line = f"{name}: {value}"
        sys.stdout.write(f"{curl_option('header', line) if arguments.flag('--curl') else line}\n")


def curl_option(name: str, value: str) -> str:
    """Return an option as a line of curl's configuration, with the value between quotation marks (curl(1), `-K`)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name} = "{escaped}"'
