"""What to type instead of a command or an option that doesn't exist: what other tools call it, or a similar word."""

import difflib
from collections.abc import Collection, Mapping
from typing import Final

# The words of gh, gcloud, aws and ssh-agent's users.
COMMANDS: Final[Mapping[str, str]] = {
    "access-token": "token",
    "accounts": "account list",
    "add": "account add",
    "auth": "login",
    "daemon": "run",
    "default": "account default",
    "get-token": "token",
    "info": "status",
    "kill": "stop",
    "list": "account list",
    "ls": "account list",
    "ps": "status",
    "print-access-token": "token",
    "quit": "stop",
    "remove": "account remove",
    "rename": "account rename",
    "revoke": "logout",
    "rm": "account remove",
    "show": "account show",
    "signin": "login",
    "sign-in": "login",
    "signout": "logout",
    "sign-out": "logout",
    "switch": "account default",
    "use": "account default",
    "version": "--version",
    "whoami": "profile",
}
OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "login": {
        "--browser": "--flow browser",
        "--device": "--flow device",
        "--device-code": "--flow device",
        "--domain": "--issuer URL",
        "--no-launch-browser": "--no-browser",
        "--secret": "--client-secret",
        "--use-device-code": "--flow device",
        "--web": "--flow browser",
        "--with-token": "auth-agent import",
    },
}


def instead_of_command(word: str, group: str, commands: Collection[str]) -> str:
    """Return a sentence that says what to type instead, or "".

    Args:
        word: what was typed.
        group: the command line before it, such as `auth-agent account`.
        commands: the commands that exist there.

    """
    _, _, parent = group.partition(" ")
    if not parent and word in COMMANDS:
        return f"Use: {group} {COMMANDS[word]}"
    near = difflib.get_close_matches(word, commands, n=1)
    return f"Did you mean {near[0]}?" if near else ""


def instead_of_option(option: str, command: str) -> str:
    """Return a sentence that says which option to use instead of one that the command doesn't have, or ""."""
    instead = OPTIONS.get(command, {}).get(option)
    return "" if instead is None else f"Use: {instead}"
