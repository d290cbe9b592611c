"""A process that is no child: its end, and signals to it."""

import os
import signal
import socket
import subprocess
from collections.abc import Generator

import pytest

from auth_agent.host.process import Process
from auth_agent_client.peer import peer_pidfd


@pytest.fixture
def other() -> Generator["subprocess.Popen[bytes]", None, None]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def test_its_end_is_waited_for(other: "subprocess.Popen[bytes]") -> None:
    with Process(other.pid) as process:
        assert not process.ends_within(0)
        other.kill()
        assert process.ends_within(None)
        assert process.ends_within(-1)


def test_it_gets_the_signal(other: "subprocess.Popen[bytes]") -> None:
    with Process(other.pid) as process:
        process.send(signal.SIGUSR1)
        assert process.ends_within(None)
    assert other.wait() == -signal.SIGUSR1


def test_after_its_end_nothing_is_signalled(other: "subprocess.Popen[bytes]") -> None:
    with Process(other.pid) as process:
        other.kill()
        other.wait()
        with pytest.raises(ProcessLookupError):
            process.send(signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        Process(other.pid)


def test_it_can_be_taken_from_a_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pidfd = peer_pidfd(ours)
        if pidfd is None:
            pytest.skip("Linux before 6.5 tells the peer's number only")
        with Process(os.getpid(), pidfd) as process:
            assert not process.ends_within(0)
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(pidfd)
