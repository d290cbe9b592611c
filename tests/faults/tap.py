"""A tap on an agent's socket: passes everything on, and keeps it."""

import contextlib
import socket
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack

_READ_SIZE = 65536
_RESPONSE, _NOTIFICATION = 1, 2


class Tap(AbstractContextManager["Tap"]):
    """Listens at `path`, and leads to the agent's own socket."""

    def __init__(self, path: Path, agent: Path) -> None:
        self.path = path
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX)
        # Of each connection: what the client said, and the agent.
        self._kept: list[tuple[bytearray, bytearray]] = []

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def asked(self) -> bytes:
        """All that clients said."""
        return b"".join(bytes(said) for said, _ in self._kept)

    def replies(self) -> list[tuple[str, bytes]]:
        """All that the agent said, message by message, each with the method that it answers, or notifies of."""
        found: list[tuple[str, bytes]] = []
        for said, answered in self._kept:
            methods = {message[1]: message[2] for message in _messages(said)}
            for message in _messages(answered):
                method = methods[message[1]] if message[0] == _RESPONSE else message[1]
                assert message[0] in (_RESPONSE, _NOTIFICATION)
                found.append((method, msgpack.packb(message)))
        return found

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it is over
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(str(self._agent))
            except OSError:
                client.close()
                continue
            said, answered = bytearray(), bytearray()
            self._kept.append((said, answered))
            threading.Thread(target=_connect, args=(client, agent, said, answered), daemon=True).start()


def _connect(client: socket.socket, agent: socket.socket, said: bytearray, answered: bytearray) -> None:
    with client, agent:
        there = threading.Thread(target=_pass_on, args=(client, agent, said), daemon=True)
        there.start()
        _pass_on(agent, client, answered)
        there.join()


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while more := source.recv(_READ_SIZE):
            kept += more
            target.sendall(more)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _messages(stream: bytearray) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(bytes(stream))
    return list(unpacker)
