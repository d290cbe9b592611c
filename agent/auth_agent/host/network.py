"""Notices that this machine's network has changed: another network, a VPN that is up or down.

Linux lists its routes and addresses in files, which are read again and again: that needs no library and no privilege.
macOS has no such files, and there nothing is noticed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

LOOK: Final = 10.0  # s; between two looks
QUIET: Final = 60.0  # s; after a change, since containers that come and go change the routes, too
_MOST_READ: Final = 65_536  # characters of each file
# proc(5): of IPv4 the interface, destination, gateway and mask of each route, of IPv6 each address and its interface.
_TABLES: Final = (("route", (0, 1, 2, 7)), ("if_inet6", (0, 5)))


def read_network(directory: Path = Path("/proc/net")) -> frozenset[tuple[str, ...]]:
    """Return this machine's routes and addresses; none where the system has no such tables."""
    found: set[tuple[str, ...]] = set()
    for name, columns in _TABLES:
        try:
            with (directory / name).open() as table:
                lines = table.read(_MOST_READ).splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            fields = line.split()
            found.add((name, *(fields[column] for column in columns if column < len(fields))))
    return frozenset(found)


async def watch_network(on_change: Callable[[], None], look: Callable[[], object] = read_network) -> None:
    """Call `on_change` whenever the network has changed, until cancelled."""
    before = look()
    while True:
        await anyio.sleep(LOOK)
        after = look()
        if after != before:
            before = after
            on_change()
            await anyio.sleep(QUIET)
