"""What is remembered about clients' processes."""

import socket

import pytest

from auth_agent.ipc.peer import Peer
from auth_agent.ipc.recent import Recent


class Reading:
    """Counts what is read about each process; the time is the test's."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.time = 1000.0
        self.recent = Recent(self.read)

    def read(self, _: socket.socket, peer: Peer) -> str:
        self.pids.append(peer.pid)
        return f"reading {len(self.pids)} of {peer.pid}"

    def of(self, pid: int) -> str:
        with socket.socket(socket.AF_UNIX) as unused:
            return self.recent.of(unused, Peer(pid, 0))


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    reading = Reading()
    monkeypatch.setattr("auth_agent.ipc.recent.time.monotonic", lambda: reading.time)
    return reading


def test_each_process_is_read_once_a_second(reading: Reading) -> None:
    assert [reading.of(1), reading.of(2), reading.of(1)] == ["reading 1 of 1", "reading 2 of 2", "reading 1 of 1"]
    reading.time += 0.99
    assert reading.of(1) == "reading 1 of 1"
    reading.time += 0.01
    assert reading.of(1) == "reading 3 of 1"
    reading.time += 0.99
    assert reading.of(1) == "reading 3 of 1"


def test_no_more_than_some_processes_are_remembered(reading: Reading) -> None:
    for pid in range(10_000):
        reading.of(pid)
    reading.pids.clear()
    for pid in range(10_000):
        reading.of(pid)
    assert len(reading.pids) > 9000
