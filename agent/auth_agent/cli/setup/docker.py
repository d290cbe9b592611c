"""`auth-agent setup docker`: docker, podman and skopeo ask the agent about registries."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.setup.places import mapped_origin, program, undo_option
from auth_agent.cli.setup.tool_file import read, write
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent_client.paths import runtime_directory

# docker puts "docker-credential-" before it.
_HELPER: Final = "auth-agent"
_PROGRAM: Final = f"docker-credential-{_HELPER}"
_KEY: Final = "credHelpers"


@click.command()
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@undo_option
def docker(hosts: tuple[str, ...], *, undo: bool) -> None:
    """Let docker, podman and skopeo get their tokens from the agent, at these registries.

    It writes to docker's config.json and, if there is one, to podman's auth.json. With --undo and without a HOST, at
    none any more.

    Example: auth-agent setup docker registry.example.com
    """
    if not hosts and not undo:
        raise click.UsageError("Missing argument 'HOST'.")
    names = [_registry(host) for host in hosts] if undo else [_mapped_registry(host) for host in hosts]
    if not undo:
        _check_path()
    for path in _paths():
        text = read(path)
        new = _edited(path, text, names, undo=undo)
        if new != text:
            write(path, new)
    where = ", ".join(names) or "any registry"
    print_message(f"docker does not ask the agent at {where} any more" if undo else f"docker asks the agent at {where}")


def _registry(host: str) -> str:
    """Return a registry as docker calls it: its host, and its port if it is not 443."""
    return host.removeprefix("https://").removeprefix("http://").rstrip("/").lower()


def _mapped_registry(host: str) -> str:
    """Return a registry of a rule as docker calls it. Raises a `CommandError` if there is no rule."""
    # docker does not tell the rest of an image's name.
    return mapped_origin(host.partition("://")[2] or host).partition("://")[2]


def _check_path() -> None:
    """Raise a `CommandError` if docker does not find the program: it looks on PATH."""
    path = program(_PROGRAM)
    if shutil.which(_PROGRAM) is None:
        raise CommandError(f"docker looks for {_PROGRAM} on PATH", remedies.extend_path(str(Path(path).parent)))


def _paths() -> list[Path]:
    """Return docker's configuration file, and that of podman and skopeo if there is one."""
    docker_config = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    runtime = runtime_directory()
    auth = os.environ.get("REGISTRY_AUTH_FILE") or (runtime and f"{runtime}/containers/auth.json")
    return [docker_config, *([Path(auth)] if auth and Path(auth).exists() else [])]


def _edited(path: Path, text: str, names: Sequence[str], *, undo: bool) -> str:
    """Return the text with the agent as the helper of these registries, or without it: of these, or all if none.

    Raises:
        CommandError: the text is not what docker takes.

    """
    try:
        document = parse_object(text) if text.strip() else {}
    except JsonObjectError as error:
        raise CommandError(f"{path} {error}") from error
    helpers = document.get(_KEY, {})
    if not isinstance(helpers, dict):
        raise CommandError(f"{path}: {_KEY} is not a JSON object")
    helpers = cast("dict[str, object]", helpers)
    if undo:
        new = {name: value for name, value in helpers.items() if value != _HELPER or (names and name not in names)}
    else:
        new = {**helpers, **dict.fromkeys(names, _HELPER)}
    if new == helpers:
        return text
    document[_KEY] = new
    if not new:
        del document[_KEY]
    return json.dumps(document, indent="\t", ensure_ascii=False) + "\n"  # as docker writes it
