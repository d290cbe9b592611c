"""The kernel's table of TCP sockets (Linux, proc_pid_net(5)): whose the other end of a local connection is.

A connection within this machine has two lines, one for each end, with the user who made that socket. If its process has
closed an end, the line says user 0 and inode 0 for a while; root's own sockets have an inode.

The table is read, although netlink (sock_diag(7)) would answer for one socket alone: the service's unit forbids such
sockets, also that of earlier versions, and the answer for a socket that does not exist is the same as for a kernel
without the module.
"""

import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

ByteOrder = Literal["little", "big"]
End = tuple[str, int]  # an IPv4 or IPv6 address and a port

# include/net/tcp_states.h
_ESTABLISHED: Final = 0x01
_LISTEN: Final = 0x0A
# Bytes.
_WORD: Final = 4
# In the second one, IPv4 addresses are mapped ones (RFC 4291, section 2.5.5.2): of sockets that can do both.
_TABLE: Final = Path("/proc/net/tcp")
_TABLE_V6: Final = Path("/proc/net/tcp6")
# What a mapped address begins with.
_MAPPED: Final = bytes(10) + b"\xff\xff"


class Entry(NamedTuple):
    """What the table says about a socket."""

    state: int
    uid: int
    inode: int


def is_of(entry: Entry | None, uid: int) -> bool:
    """Whether this is the open end of a connection, and that user's or root's.

    Not if there is no entry, and not if it has no inode: then another user may have closed it, after sending.
    """
    return entry is not None and entry.state == _ESTABLISHED and entry.uid in (uid, 0) and entry.inode != 0


def other_ends(lines: Iterable[bytes], end: End, byteorder: ByteOrder = sys.byteorder) -> dict[End, Entry]:
    """Return the other ends of all connections to `end`, and what the table says about each.

    Args:
        lines: of either table.
        end: one end of the connections.
        byteorder: of the kernel, which writes addresses as numbers.

    """
    short = _written(end, byteorder)
    spellings = short, _words(_MAPPED, byteorder) + short
    found: dict[End, Entry] = {}
    for line in lines:
        if short in line:  # a busy machine has tens of thousands of others
            fields = line.split()
            if fields[2] in spellings:
                found[_read(fields[1], byteorder)] = _entry(fields)
    return found


def is_listed(lines: Iterable[bytes], end: End, uid: int, byteorder: ByteOrder = sys.byteorder) -> bool:
    """Whether the table has that user's socket that listens at `end`. Such sockets come first in the table."""
    written = _written(end, byteorder)
    for line in lines:
        fields = line.split()
        if not fields[0].endswith(b":"):
            continue  # the headings
        entry = _entry(fields)
        if entry.state != _LISTEN:
            return False
        if fields[1] == written:
            return entry.uid == uid
    return False


def read_other_ends(end: End) -> dict[End, Entry]:
    """Read the tables: `other_ends` of this machine. This may take a second if it has a million connections.

    Raises:
        OSError: the table can't be read.

    """
    found: dict[End, Entry] = {}
    if not _is_v6(end[0]):
        with _TABLE.open("rb") as lines:
            found = other_ends(lines, end)
    with suppress(FileNotFoundError), _TABLE_V6.open("rb") as lines:  # without IPv6
        found |= other_ends(lines, end)
    return found


def shows(listening: socket.socket) -> bool:
    """Whether this system has the table, and the table can be relied on: it shows that socket of this process."""
    try:
        address, port = listening.getsockname()[:2]
        with (_TABLE_V6 if _is_v6(address) else _TABLE).open("rb") as lines:
            return is_listed(lines, (address, port), os.geteuid())
    except (OSError, ValueError, IndexError):  # none, or another format
        return False


def _entry(fields: list[bytes]) -> Entry:
    return Entry(state=int(fields[3], 16), uid=int(fields[7]), inode=int(fields[9]))


def _is_v6(address: str) -> bool:
    return ":" in address


def _written(end: End, byteorder: ByteOrder) -> bytes:
    """Return an end as the table has it: `0100007F:BE5F` is 127.0.0.1:48735 on a little-endian machine."""
    address, port = end
    packed = socket.inet_pton(socket.AF_INET6 if _is_v6(address) else socket.AF_INET, address)
    return b"%s:%04X" % (_words(packed, byteorder), port)


def _words(packed: bytes, byteorder: ByteOrder) -> bytes:
    """Return the bytes of an address as the table has them: in words of 32 bits, each written as a number."""
    return b"".join(
        b"%08X" % int.from_bytes(packed[start : start + _WORD], byteorder) for start in range(0, len(packed), _WORD)
    )


def _read(written: bytes, byteorder: ByteOrder) -> End:
    digits, _, port = written.partition(b":")
    words = (int(digits[start : start + 2 * _WORD], 16) for start in range(0, len(digits), 2 * _WORD))
    packed = b"".join(word.to_bytes(_WORD, byteorder) for word in words).removeprefix(_MAPPED)
    family = socket.AF_INET if len(packed) == _WORD else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)
