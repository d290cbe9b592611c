"""The kernel's table of sockets: whose the other end of a connection is, from given tables and the real one."""

import os
import socket
from contextlib import ExitStack, closing

import pytest

from auth_agent.host.tcp_table import ByteOrder, Entry, is_listed, is_of, other_ends, read_other_ends, shows

HEADINGS = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = b" 1 0000000000000000 20 4 30 10 -1\n"
OWN = ("127.0.0.1", 48631)  # 0xBDF7
ALICE = 1000


def line(local: str, remote: str, state: str = "01", uid: int = ALICE, inode: int = 77) -> bytes:
    """Return a line as the kernel writes it."""
    start = f" 123: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 {inode}"
    return start.encode() + REST


# A listening socket, the agent's end and the browser's, and two other connections.
TABLE = [
    HEADINGS,
    line("00000000:0016", "00000000:0000", "0A", uid=0),
    line("0100007F:BDF7", "00000000:0000", "0A"),
    line("0100007F:BDF7", "0100007F:D2A1", inode=5),
    line("0100007F:D2A1", "0100007F:BDF7", uid=1001, inode=6),
    line("0200007F:D2A1", "0100007F:BDF8"),
    line("0201000A:BDF7", "08080808:01BB", uid=1002),
]


def test_the_other_ends_are_those_whose_remote_end_is_ours() -> None:
    assert other_ends(TABLE, OWN, "little") == {("127.0.0.1", 0xD2A1): Entry(1, 1001, 6)}
    assert other_ends(TABLE, ("127.0.0.1", 0xD2A1), "little") == {OWN: Entry(1, ALICE, 5)}
    assert other_ends(TABLE, ("127.0.0.1", 1), "little") == {}
    assert other_ends([HEADINGS], OWN, "little") == {}


@pytest.mark.parametrize(
    ("byteorder", "own", "theirs"),
    [
        ("little", "0100007F:BDF7", "0A00007F:D2A1"),
        ("big", "7F000001:BDF7", "7F00000A:D2A1"),
        ("little", "0000000000000000FFFF00000100007F:BDF7", "0000000000000000FFFF00000A00007F:D2A1"),
        ("big", "00000000000000000000FFFF7F000001:BDF7", "00000000000000000000FFFF7F00000A:D2A1"),
    ],
)
def test_addresses_are_read_in_the_byte_order_of_the_machine_also_mapped_ones(
    byteorder: ByteOrder, own: str, theirs: str
) -> None:
    table = [HEADINGS, line(own, theirs), line(theirs, own, uid=7)]
    assert other_ends(table, OWN, byteorder) == {("127.0.0.10", 0xD2A1): Entry(1, 7, 77)}
    assert other_ends(table, OWN, "big" if byteorder == "little" else "little") == {}


@pytest.mark.parametrize(
    ("byteorder", "own", "theirs"),
    [
        ("little", "00000000000000000000000001000000:BDF7", "000080FE00000000FF57480200020000:D2A1"),
        ("big", "00000000000000000000000000000001:BDF7", "FE80000000000000024857FF00000200:D2A1"),
    ],
)
def test_ipv6_addresses_are_read_in_words_of_the_machine(byteorder: ByteOrder, own: str, theirs: str) -> None:
    table = [HEADINGS, line(own, "0" * 32 + ":0000", "0A"), line(own, theirs), line(theirs, own, uid=7)]
    end = ("::1", OWN[1])
    assert other_ends(table, end, byteorder) == {("fe80::248:57ff:0:200", 0xD2A1): Entry(1, 7, 77)}
    assert other_ends(table, OWN, byteorder) == {}
    assert is_listed(table, end, ALICE, byteorder)
    assert not is_listed(table, end, 7, byteorder)


@pytest.mark.parametrize("remote", ["000080FE00000000000000000100007F:BDF7", "0100007F:BDF70", "1100007F:BDF7"])
def test_an_address_that_only_contains_ours_is_another_one(remote: str) -> None:
    assert other_ends([line("0100007F:D2A1", remote)], OWN, "little") == {}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry(0x01, ALICE, 77), True),
        (Entry(0x01, 0, 77), True),  # root's: a relay of the system, and root could do anything
        (Entry(0x01, 1001, 77), False),
        (Entry(0x01, 65534, 77), False),
        (Entry(0x05, 0, 0), False),  # closed by whomever
        (Entry(0x01, 0, 0), False),
        (Entry(0x01, ALICE, 0), False),
        (Entry(0x05, ALICE, 77), False),
        (Entry(0x06, 0, 0), False),
        (None, False),
    ],
)
def test_only_an_open_end_of_this_user_or_of_root_is_accepted(entry: Entry | None, expected: bool) -> None:
    assert is_of(entry, ALICE) is expected


def test_a_listening_socket_is_searched_among_the_first_lines() -> None:
    assert is_listed(TABLE, OWN, ALICE, "little")
    assert not is_listed(TABLE, OWN, 1001, "little")
    assert not is_listed(TABLE, ("127.0.0.1", 48632), ALICE, "little")
    assert not is_listed([HEADINGS, line("0100007F:1", "0100007F:2"), TABLE[2]], OWN, ALICE, "little")
    assert not is_listed([], OWN, ALICE, "little")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_systems_own_table_shows_both_ends_of_a_connection(family: socket.AddressFamily) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        assert shows(listening)
        client = stack.enter_context(closing(socket.socket(family)))
        client.connect((f"{'::ffff:' * (family == socket.AF_INET6)}127.0.0.1", listening.getsockname()[1]))
        server, peer = listening.accept()
        with server:
            entry = read_other_ends(server.getsockname())[peer]
            assert entry.inode == os.fstat(client.fileno()).st_ino
            assert is_of(entry, entry.uid)
            assert read_other_ends(peer)[server.getsockname()].inode == os.fstat(server.fileno()).st_ino
            client.close()
            assert not is_of(read_other_ends(server.getsockname()).get(peer), entry.uid)


def test_the_systems_own_table_shows_a_connection_to_the_ipv6_address() -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening, socket.create_connection(listening.getsockname()[:2]) as client:
        assert shows(listening)
        server, peer = listening.accept()
        with server:
            entry = read_other_ends(server.getsockname()[:2])[peer[:2]]
            assert entry.inode == os.fstat(client.fileno()).st_ino
            assert is_of(entry, entry.uid)
