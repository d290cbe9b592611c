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
        raise _unmapped(place, config)
    return place.origin


def mapped_origin(host: str) -> str:
    """Return the origin that programs call by that host and port: https, or http on this machine, as its rule says.

    Raises:
        CommandError: there is no rule for it.

    """
    config = load(config_path())
    places = [replace(place, path=()) for place in _candidates(host)]
    for place in places:
        if any(rule.fits(place, rule.directory) for rule in config.hosts):
            return place.origin
    raise _unmapped(places[0], config)


def mapped_places(hosts: Sequence[str]) -> list[Place]:
    """Return the places of the rules for these hosts, and for their paths if they have any.

    Raises:
        CommandError: there is no rule for one of them.

    """
    config = load(config_path())
    return list(dict.fromkeys(place for host in hosts for place in _mapped_places(host, config)))


def _mapped_places(host: str, config: Config) -> list[Place]:
    candidates = _candidates(host)
    for place in candidates:
        # A rule for the host, or for a path there; else a more general one.
        below = [rule.place for rule in config.hosts if HostRule("", place, "").fits(rule.place)]
        if below:
            return below
        if any(rule.fits(place, rule.directory) for rule in config.hosts):
            return [place]
    raise _unmapped(candidates[0], config)


def _candidates(host: str) -> list[Place]:
    """Return the places that a host may mean, with an optional scheme and path. Raises a `CommandError` if none."""
    places: list[Place] = []
    for url in (host,) if "://" in host else (f"https://{host}", f"http://{host}"):
        with suppress(HostError):
            places.append(read_url(url))
    if not places:
        raise CommandError(f"{printable(host, _LONGEST)!r} can't be a host")
    return places


def _unmapped(place: Place, config: Config) -> CommandError:
    path = printable(str(config.path), _LONGEST)
    return CommandError(f"no account is configured for {place.origin}", remedies.add_host(place.key, path))


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
