"""A tap on an agent's socket: it forwards all data, and records it."""

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
    """Listens at `path`, and forwards to the agent's own socket."""

    def __init__(self, path: Path, agent: Path) -> None:
        self.path = path
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX)
        # For each connection, the data of the client and of the agent.
        self._connections: list[tuple[bytearray, bytearray]] = []

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
    def requests(self) -> bytes:
        """All data that clients sent."""
        return b"".join(bytes(sent) for sent, _ in self._connections)

    def replies(self) -> list[tuple[str, bytes]]:
        """Return all messages of the agent, each with the method of its request or notification."""
        messages: list[tuple[str, bytes]] = []
        for sent, received in self._connections:
            methods = {message[1]: message[2] for message in _messages(sent)}
            for message in _messages(received):
                method = methods[message[1]] if message[0] == _RESPONSE else message[1]
                assert message[0] in (_RESPONSE, _NOTIFICATION)
                messages.append((method, msgpack.packb(message)))
        return messages

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # the tap is closed
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(str(self._agent))
            except OSError:
                client.close()
                continue
            sent, received = bytearray(), bytearray()
            self._connections.append((sent, received))
            threading.Thread(target=_connect, args=(client, agent, sent, received), daemon=True).start()


def _connect(client: socket.socket, agent: socket.socket, sent: bytearray, received: bytearray) -> None:
    with client, agent:
        forward = threading.Thread(target=_pass_on, args=(client, agent, sent), daemon=True)
        forward.start()
        _pass_on(agent, client, received)
        forward.join()


def _pass_on(source: socket.socket, target: socket.socket, recorded: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_READ_SIZE):
            recorded += data
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _messages(stream: bytearray) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(bytes(stream))
    return list(unpacker)
