"""A floor: an `asyncio.Protocol` that answers each read with a fixed reply, and looks at no request.

Run as a process of its own: `python -m tests.bench.protocol_echo SOCKET REPLY`. REPLY is a file.
"""

import asyncio
import sys
from pathlib import Path


class _Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 -- asyncio's
        if self._transport is not None:
            self._transport.write(self._reply)


async def _serve(path: str, reply: bytes) -> None:
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Echo(reply), path, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]).read_bytes()))
