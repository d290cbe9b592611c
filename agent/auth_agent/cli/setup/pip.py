"""`auth-agent setup pip`: pip and uv ask keyring about indexes, and keyring asks the agent."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from auth_agent import remedies, toml_text
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.setup.places import undo_option
from auth_agent.cli.setup.tool_file import read, write
from auth_agent.printable import printable

_BACKEND: Final = "auth_agent_client.keyring"
_KEY: Final = "keyring-provider"
_PIP_KEY: Final = f"global.{_KEY}"
_PROVIDER: Final = "subprocess"  # the command `keyring`
_TIMEOUT: Final = 60.0  # s


@click.command()
@undo_option
def pip(*, undo: bool) -> None:
    """Let pip and uv get their tokens from the agent, for the package indexes of [hosts].

    They start the command keyring, which takes the token from the agent. If there is none on PATH, a link to the
    agent's own is made beside auth-agent. It writes to pip's and uv's own configuration.

    Example: auth-agent setup pip
    """
    tools = [name for name in ("pip", "uv") if shutil.which(name)]
    if undo:
        _set_up("pip" in tools, uv=True, undo=True)
        _remove_link()
        print_message("pip and uv do not ask keyring any more")
        return
    if not tools:
        raise CommandError("neither pip nor uv is installed", remedies.install_tool("pip or uv"))
    _check_keyring()
    _set_up("pip" in tools, uv="uv" in tools, undo=False)
    print_message(f"{' and '.join(tools)} ask{'' if len(tools) > 1 else 's'} the agent, at an index with a user name")


# ---- the command keyring


def _check_keyring() -> None:
    """Check that the keyring on PATH has the agent's backend; if there is none, link this installation's.

    Raises:
        CommandError: it is another one, or can't be linked.

    """
    found = shutil.which("keyring")
    if found is None:
        link, own = _link()
        try:
            link.symlink_to(own)
        except OSError as error:
            raise CommandError(f"{link} can't be made: {error.strerror}", *remedies.for_file(error, link)) from error
    elif _BACKEND not in _run([found, "--list-backends"]):
        raise CommandError(f"{found} does not know the agent", remedies.add_client_library(found))


def _link() -> tuple[Path, Path]:
    """Return the link beside `auth-agent` on PATH, and where it points.

    Raises:
        CommandError: `auth-agent` is not on PATH.

    """
    directory = Path(sys.executable).parent
    command = shutil.which("auth-agent")
    if command is None:
        raise CommandError("auth-agent is not on PATH", remedies.extend_path(str(directory)))
    return Path(command).with_name("keyring"), directory / "keyring"


def _remove_link() -> None:
    if shutil.which("auth-agent") is not None:
        link, own = _link()
        if link.is_symlink() and link.readlink() == own:
            link.unlink()


# ---- what pip and uv read


def _set_up(pip_is_there: bool, *, uv: bool, undo: bool) -> None:
    if pip_is_there:
        _set_up_pip(undo=undo)
    if uv:
        path = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv" / "uv.toml"
        text = read(path)
        new = _edited(path, text, undo=undo)
        if new != text:
            write(path, new)


def _set_up_pip(*, undo: bool) -> None:
    """Set the provider in pip's configuration of the user, unless another one is there; or unset it."""
    pip_config = ("pip", "config", "--user", "--disable-pip-version-check")
    lines = _run([*pip_config, "list"]).splitlines()
    values = [value.strip("'") for key, _, value in (line.partition("=") for line in lines) if key == _PIP_KEY]
    if undo and values == [_PROVIDER]:
        _run([*pip_config, "unset", _PIP_KEY])
    elif not undo and not values:
        _run([*pip_config, "set", _PIP_KEY, _PROVIDER])


def _edited(path: Path, text: str, *, undo: bool) -> str:
    """Return uv's configuration with the provider, unless another one is there; or without it.

    Raises:
        CommandError: the text is not valid TOML.

    """
    try:
        value = tomllib.loads(text).get(_KEY)
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path} is not valid TOML: {error}") from error
    if undo and value == _PROVIDER:
        return toml_text.put(text, (), {_KEY: None})
    if not undo and value is None:
        return f"{_KEY} = {toml_text.toml_value(_PROVIDER)}\n{text}"  # before the first table
    return text


def _run(command: Sequence[str]) -> str:
    """Run a command; return its output. Raises a `CommandError` if it fails."""
    try:
        result = subprocess.run(  # noqa: S603 -- without a shell
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{command[0]} can't be run: {type(error).__name__}") from error
    if result.returncode != 0:
        raise CommandError(f"{command[0]} fails: {printable(result.stderr.strip(), 1000)}")
    return result.stdout
