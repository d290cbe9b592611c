"""`auth-agent setup git`: git asks the agent at the hosts of `[hosts]`."""

import shlex
import subprocess
from typing import Final

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.setup.places import hosts_argument, program, rules_by_origin, undo_option
from auth_agent.printable import printable

_PROGRAM: Final = "git-credential-auth-agent"
_NOT_FOUND: Final = 1, 5  # git config found no such key, or no such value


@click.command()
@hosts_argument
@undo_option
def git(hosts: tuple[str, ...], *, undo: bool) -> None:
    """Let git get its tokens from the agent, at the hosts of [hosts] or only at these.

    It writes to git's global configuration. Other helpers are not asked at these hosts any more, since git gives each
    of them the token to keep.

    Example: auth-agent setup git

    Example: auth-agent setup git git.example.com --undo
    """
    for origin, rules in rules_by_origin(hosts).items():
        if undo:
            _take_back(origin)
            print_message(f"git does not ask the agent at {origin} any more")
        else:
            _ask_agent(origin, has_paths=any(rule.place.path for rule in rules))
            print_message(f"git asks the agent at {origin}")


def _ask_agent(origin: str, *, has_paths: bool) -> None:
    key, helper = f"credential.{origin}.helper", shlex.quote(program(_PROGRAM))
    if _values(key)[-2:] != ["", helper]:
        _take_back(origin)
        # An empty one: no helper that is configured for all hosts is asked.
        _git("--add", key, "")
        _git("--add", key, helper)
    if has_paths and not _values(f"credential.{origin}.useHttpPath"):
        _git("--add", f"credential.{origin}.useHttpPath", "true")


def _take_back(origin: str) -> None:
    key, path_key = f"credential.{origin}.helper", f"credential.{origin}.useHttpPath"
    values = _values(key)
    own = [value for value in values if shlex.split(value)[-1:] and shlex.split(value)[-1].endswith(_PROGRAM)]
    for value in own:
        _git("--fixed-value", "--unset-all", key, value)
    if own and values.count("") == 1:
        _git("--unset-all", key, "^$")
    if own and not _values(key) and _values(path_key) == ["true"]:
        _git("--unset-all", path_key)


def _values(key: str) -> list[str]:
    output = _git("--null", "--get-all", key)
    return output.split("\0")[:-1]


def _git(*arguments: str) -> str:
    """Run `git config --global`; return its output. Raises a `CommandError` if it fails."""
    try:
        result = subprocess.run(  # noqa: S603 -- without a shell
            ["git", "config", "--global", *arguments],  # noqa: S607 -- the one that the person runs
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise CommandError("git is not installed", remedies.install_tool("git")) from error
    if result.returncode != 0 and result.returncode not in _NOT_FOUND:
        raise CommandError(f"git can't change its configuration: {printable(result.stderr, 1000)}")
    return result.stdout
