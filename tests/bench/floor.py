"""The floor: echo servers, whose response to each read has as many bytes as the agent's response.

Run as a process of its own: `python -m tests.bench.floor protocol|streams SOCKET SIZE`.
"""

import asyncio
import contextlib
import sys
from typing import Final

import anyio
from anyio.abc import ByteStream

_READ_SIZE: Final = 65_536


class _Echo(asyncio.Protocol):
    """One connection to the bare asyncio server."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 -- asyncio's
        if self._transport is not None:
            self._transport.write(self._reply)


async def serve_protocol(path: str, reply: bytes) -> None:
    """Serve by an `asyncio.Protocol`."""
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Echo(reply), path)
    await server.serve_forever()


async def serve_streams(path: str, reply: bytes) -> None:
    """Serve by anyio's streams, with a task for each connection."""

    async def echo(stream: ByteStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive(_READ_SIZE)
                    await stream.send(reply)

    async with await anyio.create_unix_listener(path) as listener:
        await listener.serve(echo)


SERVERS: Final = {"protocol": serve_protocol, "streams": serve_streams}


def main() -> None:
    """Serve until killed, as the arguments say."""
    kind, path, size = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(SERVERS[kind], path, bytes(int(size)))


if __name__ == "__main__":
    main()
