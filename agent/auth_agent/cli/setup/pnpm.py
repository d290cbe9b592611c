"""`auth-agent setup pnpm`: pnpm asks the agent about registries.

pnpm starts a "token helper" without arguments, so each registry has a script of its own.
"""

import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.setup.places import mapped_places, program, undo_option
from auth_agent.cli.setup.tool_file import read, write
from auth_agent.hosts import Place

_PROGRAM: Final = "auth-agent"
_KEY: Final = ":tokenHelper"
_SCRIPT_MODE: Final = 0o700
# The first version whose own file of credentials may name token helpers is 11.13. npm warns of them in its file.
_OWN_FILE_SINCE: Final = 11
_TIMEOUT: Final = 30.0  # s


@click.command()
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@undo_option
def pnpm(hosts: tuple[str, ...], *, undo: bool) -> None:
    """Let pnpm get its tokens from the agent, at the registries of these hosts.

    It writes a script for each registry, and names it in pnpm's auth.ini, or in .npmrc for a pnpm before 11. With
    --undo and without a HOST, at none any more.

    Example: auth-agent setup pnpm npm.example.com
    """
    if undo:
        _take_back(hosts)
        print_message(f"pnpm does not ask the agent at {', '.join(hosts) or 'any registry'} any more")
        return
    if not hosts:
        raise click.UsageError("Missing argument 'HOST'.")
    places = mapped_places(hosts)
    own, old = _files()
    path = own if _version() >= _OWN_FILE_SINCE else old
    scripts = {_registry(place): _scripts() / _file_name(place) for place in places}
    text = _added(path, read(path), scripts)
    for place in places:
        write(scripts[_registry(place)], _script(place), _SCRIPT_MODE)
    write(path, text)
    print_message(f"pnpm asks the agent at {', '.join(_url(place) for place in places)}")


def _files() -> tuple[Path, Path]:
    """Return the file of pnpm's own credentials, and npm's, which older versions read."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "pnpm" / "auth.ini", Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")


def _scripts() -> Path:
    """Return the directory of the scripts."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "auth-agent" / "pnpm"


def _version() -> int:
    """Return the first number of pnpm's version. Raises a `CommandError` if there is no pnpm."""
    try:
        result = subprocess.run(
            ["pnpm", "--version"],  # noqa: S607 -- the one that the person runs
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",  # a project can name another version
            timeout=_TIMEOUT,
        )
    except FileNotFoundError as error:
        raise CommandError("pnpm is not installed", remedies.install_tool("pnpm")) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError("pnpm does not tell its version") from error
    number = re.search(r"^(\d+)\.\d", result.stdout, re.MULTILINE)
    if number is None:
        raise CommandError("pnpm does not tell its version")
    return int(number[1])


def _url(place: Place) -> str:
    path = "".join(f"{quote_from_bytes(segment)}/" for segment in place.path)
    return f"{place.origin}/{path}"


def _registry(place: Place) -> str:
    """Return a registry as npm's files name it: its URL without the scheme."""
    return _url(place).partition(":")[2]


def _file_name(place: Place) -> str:
    """Return a name for a registry's script: pnpm 12 takes a few characters alone, so a hash tells it from others."""
    registry = _registry(place)
    readable = re.sub(r"[^a-z0-9.-]+", "-", registry).strip("-")
    return f"{readable}-{hashlib.sha256(registry.encode()).hexdigest()[:8]}"


def _script(place: Place) -> str:
    command = [program(_PROGRAM), "header", "--value", "--url", _url(place)]
    return f"#!/bin/sh\n# Prints a token for pnpm.\nexec {shlex.join(command)}\n"


def _added(path: Path, text: str, scripts: Mapping[str, Path]) -> str:
    """Return the text with a line for each registry. Raises a `CommandError` if one names another program there."""
    for registry, script in scripts.items():
        for line in text.splitlines():
            key, value = _line(line)
            if key == f"{registry}{_KEY}" and value != str(script):
                raise CommandError(f"{path} has another token helper for {registry}: {value}")
        new = f"{registry}{_KEY}={script}"
        if new not in text.splitlines():
            text = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{new}\n"
    return text


def _line(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key.strip(), value.strip().strip("\"'")


def _take_back(hosts: Sequence[str]) -> None:
    """Remove the lines and the scripts of these hosts, or all."""
    names = [host.removeprefix("https://").removeprefix("http://").strip("/").lower() for host in hosts]
    for path in _files():
        lines = read(path).splitlines(keepends=True)
        own = [line for line in lines if _is_own(line, names)]
        if own:
            write(path, "".join(line for line in lines if line not in own))
        for line in own:
            Path(_line(line)[1]).unlink(missing_ok=True)


def _is_own(line: str, names: Sequence[str]) -> bool:
    key, value = _line(line)
    registry = key.removesuffix(_KEY)
    is_named = not names or any(registry.startswith(f"//{name}/") for name in names)
    return key.endswith(_KEY) and Path(value).parent == _scripts() and is_named
