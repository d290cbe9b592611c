"""The program of a connection: a real process, one that has ended, and one in another PID namespace."""

import errno
import os
import socket
import sys
from pathlib import Path

import pytest

from auth_agent.host.program import read_program
from auth_agent.host.program_id import ELSEWHERE, ENDED, read_origin
from auth_agent.ipc.peer import Peer, origin_of, peer_of, program_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such option")


class OldKernel(socket.socket):
    """A connection without the option that kernels have since 6.5."""

    def getsockopt(self, *arguments: int) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] -- the one form that is used
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT), arguments)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_program_of_a_connection_is_read() -> None:
    before = descriptors()
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its:
        peer = peer_of(ours)
        assert peer == Peer(os.getpid(), os.getuid())
        assert program_of(ours, peer) == read_program(os.getpid())
    assert descriptors() == before


def test_the_program_of_a_connection_is_read_on_an_older_kernel() -> None:
    with OldKernel(socket.AF_UNIX) as connection:
        assert program_of(connection, Peer(os.getpid(), os.getuid())) == read_program(os.getpid())


def test_the_origin_of_a_connection_is_that_of_its_process() -> None:
    before = descriptors()
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its:
        assert origin_of(ours, peer_of(ours)) == read_origin(os.getpid())
        assert origin_of(ours, Peer(0, os.getuid())) == ELSEWHERE
    connection, child = connected_by_one_that_ended(reaped=True)
    with connection:
        assert origin_of(connection, Peer(child, os.getuid())) == ENDED
    assert descriptors() == before


def ended() -> int:
    """Return the pid of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def connected_by_one_that_ended(*, reaped: bool) -> tuple[socket.socket, int]:
    """Return the connection of a process that has ended since, and its pid."""
    listening = socket.socket(socket.AF_UNIX)
    with listening:
        listening.bind("")  # a name of the kernel's choice
        listening.listen()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)  # otherwise it would wait for itself
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(listening.getsockname())
            os.read(reading, 1)
            os._exit(0)
        connection, _ = listening.accept()
    os.close(writing)
    os.close(reading)
    os.waitid(os.P_PID, child, os.WEXITED | (0 if reaped else os.WNOWAIT))
    return connection, child


@pytest.mark.parametrize("reaped", [True, False])
def test_an_ended_process_has_no_program(reaped: bool) -> None:
    before = descriptors()
    connection, child = connected_by_one_that_ended(reaped=reaped)
    with connection:
        peer = peer_of(connection)
        assert peer.pid == child
        assert program_of(connection, peer) is None
    if not reaped:
        os.waitpid(child, 0)
    assert descriptors() == before


def test_an_ended_process_has_no_program_on_an_older_kernel() -> None:
    with OldKernel(socket.AF_UNIX) as connection:
        assert program_of(connection, Peer(ended(), os.getuid())) is None


def test_a_reused_pid_has_no_program() -> None:
    connection, _ = connected_by_one_that_ended(reaped=True)
    with connection:
        assert program_of(connection, Peer(os.getpid(), os.getuid())) is None


def test_a_process_of_another_pid_namespace_is_not_looked_up() -> None:
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its:
        assert program_of(ours, Peer(0, os.getuid())) is None
