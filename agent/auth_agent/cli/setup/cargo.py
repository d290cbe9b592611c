"""`auth-agent setup cargo`: cargo asks the agent about registries."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from auth_agent import toml_text
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.setup.places import program, undo_option
from auth_agent.cli.setup.tool_file import read, write
from auth_agent_client.values import mapping

_PROGRAM: Final = "cargo-credential-auth-agent"
# An alias, because cargo splits a provider's path at its spaces.
_ALIAS: Final = "auth-agent"
_REGISTRY: Final = "registry"
_ALIASES: Final = "credential-alias"
_KEY: Final = "global-credential-providers"
_DEFAULT: Final = ("cargo:token",)  # what cargo uses where the key is missing


@click.command()
@undo_option
def cargo(*, undo: bool) -> None:
    """Let cargo get its tokens from the agent, for the registries of [hosts].

    It writes to config.toml in cargo's home. Other registries get their tokens as before.

    Example: auth-agent setup cargo
    """
    path = _path()
    text = read(path)
    new = _edited(path, text, None if undo else program(_PROGRAM))
    if new != text:
        write(path, new)
    print_message("cargo does not ask the agent any more" if undo else "cargo asks the agent")


def _path() -> Path:
    """Return the path of cargo's own configuration. Of two, cargo reads the one without a suffix."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    old = home / "config"
    return old if old.is_file() else home / "config.toml"


def _edited(path: Path, text: str, program_path: str | None) -> str:
    """Return the text with the agent as the provider that is asked first, or without it.

    Raises:
        CommandError: the text is not what cargo takes, or is written in a form that can't be edited.

    """
    tables = _parsed(path, text)
    providers, alias = _providers(path, tables), mapping(tables.get(_ALIASES)).get(_ALIAS)
    others = [one for one in providers if one != _ALIAS]
    if program_path is not None:
        wanted: list[str] = [*(others or _DEFAULT), _ALIAS]  # the last one is asked first
    elif others == providers and alias is None:
        return text
    else:
        wanted = [] if tuple(others) == _DEFAULT else others
    wanted_alias = None if program_path is None else [program_path]
    new = toml_text.put(text, (_REGISTRY,), {_KEY: wanted or None})
    new = toml_text.put(new, (_ALIASES,), {_ALIAS: wanted_alias})
    for table in (_REGISTRY, _ALIASES):
        if program_path is None and _parsed(path, new).get(table) == {}:
            new = toml_text.remove(new, (table,))
    after = _parsed(path, new)
    if _providers(path, after) != wanted or mapping(after.get(_ALIASES)).get(_ALIAS) != wanted_alias:
        raise CommandError(f"{path} is written in a form that can't be edited here; change it in an editor")
    return new


def _parsed(path: Path, text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path} is not valid TOML: {error}") from error


def _providers(path: Path, tables: Mapping[str, object]) -> list[str]:
    value = mapping(tables.get(_REGISTRY)).get(_KEY, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnknownVariableType] -- TOML's
        raise CommandError(f"{path}: {_REGISTRY}.{_KEY} is not a list of strings")
    return value  # pyright: ignore[reportUnknownVariableType] -- as above
