"""`auth-agent token`: prints an access token. Imports no click, typing or dataclasses: it is run in loops."""

import sys

from auth_agent.cli.exits import OK, USAGE, complain, exit_code
from auth_agent_client.client import Agent, Token
from auth_agent_client.errors import AgentError

SUMMARY = "Print an access token that is valid now."
HELP = f"""\
Usage: auth-agent token [OPTIONS] [ACCOUNT]

  {SUMMARY}

  Example: curl -H "Authorization: Bearer $(auth-agent token work)" https://api.acme.example/

Options:
  --audience TEXT    The API it is for, where that isn't the account's own.
  --scope TEXT       The scopes it must have, where those aren't the account's own.
  --min-ttl SECONDS  For how long it must be valid still.
  --force            A token newer than the current one.
  --timeout SECONDS  How long to wait for it (15).
  --json             Print all that is known of the token.
  --help             Show this message and exit.
"""

_TEXTS = ("--audience", "--scope")
_SECONDS = ("--min-ttl", "--timeout")
_FLAGS = ("--force", "--json")


class _UsageError(Exception):
    pass


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(HELP)
        return OK
    try:
        account, texts, seconds, flags = _parse(arguments)
        with Agent() as agent:
            token = agent.token(
                account,
                audience=texts.get("--audience"),
                scope=texts.get("--scope"),
                min_ttl=seconds.get("--min-ttl"),
                force=True if "--force" in flags else None,
                timeout=seconds.get("--timeout"),
            )
        sys.stdout.write(f"{_json(token) if '--json' in flags else token.access_token}\n")
    except _UsageError as error:
        complain(f"{error}\nTry 'auth-agent token --help' for help.")
        return USAGE
    except AgentError as error:
        complain(error.message, error.remedy)
        return exit_code(error)
    return OK


def _parse(arguments: list[str]) -> tuple[str | None, dict[str, str], dict[str, float], set[str]]:
    """The account, then the options by their names: texts, numbers of seconds, and flags."""
    accounts: list[str] = []
    texts: dict[str, str] = {}
    seconds: dict[str, float] = {}
    flags: set[str] = set()
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            accounts.extend(rest)
            break
        name, equals, value = argument.partition("=")
        if name in _FLAGS and not equals:
            flags.add(name)
        elif name in _TEXTS or name in _SECONDS:
            text = value if equals else next(rest, None)
            if text is None:
                raise _UsageError(f"Option '{name}' requires an argument.")
            if name in _TEXTS:
                texts[name] = text
            else:
                seconds[name] = _seconds(name, text)
        elif argument.startswith("-"):
            raise _UsageError(f"No such option: {name}")
        else:
            accounts.append(argument)
    if len(accounts) > 1:
        raise _UsageError(f"Got unexpected extra argument ({accounts[1]})")
    return (accounts[0] if accounts else None), texts, seconds, flags


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise _UsageError(f"Invalid value for '{name}': {text!r} is no number of seconds.")
    return seconds


def _json(token: Token) -> str:
    import json  # noqa: PLC0415 -- most calls do without

    return json.dumps({name: getattr(token, name) for name in sorted(Token.__slots__)}, indent=2)
