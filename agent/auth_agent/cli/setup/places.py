"""The hosts for which a tool is set up, and the program that it is to start."""

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.config import Config, config_path, load
from auth_agent.hosts import HostError, HostRule, Place, read_key, read_url
from auth_agent.printable import printable

hosts_argument = click.argument("hosts", metavar="[HOST]...", nargs=-1)
undo_option = click.option("--undo", is_flag=True, help="Take back what this command wrote.")
_LONGEST = 1000  # characters of a name in an error


def rules_by_origin(hosts: Sequence[str]) -> dict[str, list[HostRule]]:
    """Return the rules of `[hosts]` by their origins: of these hosts, or all.

    Raises:
        CommandError: there are none, or no rule for one of the hosts.

    """
    config = load(config_path())
    found: dict[str, list[HostRule]] = {}
    for rule in config.hosts:
        found.setdefault(rule.place.origin, []).append(rule)
    if not hosts:
        if not found:
            path = printable(str(config.path), _LONGEST)
            raise CommandError(f"there are no [hosts] in {path}", remedies.add_host("HOST", path))
        return found
    chosen = [_origin(host, found, config) for host in hosts]
    return {origin: rules for origin, rules in found.items() if origin in chosen}


def _origin(host: str, found: dict[str, list[HostRule]], config: Config) -> str:
    try:
        place = read_key(host)
    except HostError as error:
        raise CommandError(f"{printable(host, _LONGEST)!r} can't be a host: {error}") from error
    if place.origin not in found:
        path = printable(str(config.path), _LONGEST)
        raise CommandError(f"no account is configured for {place.origin}", remedies.add_host(place.key, path))
    return place.origin


def mapped_origin(host: str) -> str:
    """Return the origin that programs call by that host and port: https, or http on this machine, as its rule says.

    Raises:
        CommandError: there is no rule for it.

    """
    config = load(config_path())
    places: list[Place] = []
    for url in (f"https://{host}", f"http://{host}"):
        with suppress(HostError):
            places.append(replace(read_url(url), path=()))
    if not places:
        raise CommandError(f"{printable(host, _LONGEST)!r} can't be a host")
    for place in places:
        if any(rule.fits(place, rule.directory) for rule in config.hosts):
            return place.origin
    path = printable(str(config.path), _LONGEST)
    raise CommandError(f"no account is configured for {places[0].origin}", remedies.add_host(places[0].key, path))


def program(name: str) -> str:
    """Return the path of a program of this installation: the one on PATH if it is this one, as an upgrade keeps it.

    Raises:
        CommandError: this installation does not have it.

    """
    script = Path(sys.executable).with_name(name)
    if not script.exists():
        raise CommandError(f"{script} is missing; install auth-agentd again")
    on_path = shutil.which(name)
    is_same = on_path is not None and os.path.isabs(on_path) and Path(on_path).resolve() == script.resolve()  # noqa: PTH117 -- a string
    return on_path if on_path is not None and is_same else str(script)
