"""The load generator finds a server that is wrong, and counts the rounds of one that is right."""

import contextlib
import dataclasses
import os
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.bench.build import compiled
from tests.bench.comparison import P50, P99, RATE, WrongResponse
from tests.bench.load import drive
from tests.bench.processes import Missing
from tests.bench.servers import Place, Server, c_echo

_REQUEST: Final = b"number \0"
_REPLY: Final = b"number \0" + b"reply" * 200

Mode = Literal["open", "connect"]
KINDS: Final[list[tuple[Mode, int]]] = [("open", 1), ("open", 5), ("connect", 1), ("connect", 3)]


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server]:
    """The floor in C."""
    try:
        compiled("load")
    except Missing as missing:
        pytest.skip(f"the benchmark can't be built: apt-get install {missing}")
    (tmp_path / "request").write_bytes(_REQUEST)
    (tmp_path / "reply").write_bytes(_REPLY)
    place = Place(tmp_path, dict(os.environ), None)
    with c_echo(place, Server("", "", (), tmp_path / "request", tmp_path / "reply")) as one:
        yield one


@pytest.mark.parametrize(("mode", "clients"), KINDS)
def test_rounds_are_counted(server: Server, mode: Mode, clients: int) -> None:
    figures = drive(server, mode, clients, 0.05)
    assert 0 < figures[P50] <= figures[P99]
    assert figures[RATE] > 1


@pytest.mark.parametrize(("mode", "clients"), KINDS)
def test_one_changed_byte_is_a_wrong_reply(server: Server, mode: Mode, clients: int) -> None:
    server.reply.write_bytes(_REPLY[:-1] + b"!")
    with pytest.raises(WrongResponse, match="wrong reply"):
        drive(server, mode, clients, 0.05)


@pytest.mark.parametrize(("mode", "clients"), KINDS)
def test_a_longer_reply_is_expected_in_vain(server: Server, mode: Mode, clients: int) -> None:
    server.reply.write_bytes(_REPLY[:-1])
    with pytest.raises(WrongResponse, match="wrong reply"):
        drive(server, mode, clients, 0.05)


@pytest.mark.parametrize(("mode", "clients"), KINDS)
def test_a_server_that_ends_later_is_found(server: Server, tmp_path: Path, mode: Mode, clients: int) -> None:
    path = os.fspath(tmp_path / "ending.sock")
    with _serving(path, lambda count: _REPLY if count <= clients else _REPLY[:10]):
        ending = Server("", path, (), server.request, server.reply)
        with pytest.raises(WrongResponse, match="ended after 10"):
            drive(ending, mode, clients, 0.5)


@pytest.mark.parametrize("clients", [1, 5])
def test_a_reply_with_another_number_is_wrong(server: Server, clients: int) -> None:
    # The floor's reply has the number 0, as the first request, which is not measured.
    numbered = dataclasses.replace(server, id_at=_REPLY.index(b"\0"))
    with pytest.raises(WrongResponse, match="wrong reply"):
        drive(numbered, "open", clients, 0.05)


@contextlib.contextmanager
def _serving(path: str, reply: Callable[[int], bytes]) -> Generator[None]:
    """Serve the reply to each request by its number, during the block; a short one ends its connection."""
    lock, count = threading.Lock(), 0

    def serve(connection: socket.socket) -> None:
        nonlocal count
        with connection, contextlib.suppress(OSError):
            while connection.recv(1024):
                with lock:
                    count += 1
                    response = reply(count)
                connection.sendall(response)
                if len(response) < len(_REPLY):
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=accept)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        for one in [thread, *threads]:
            one.join()
