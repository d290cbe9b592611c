"""The standard streams of a process that an MCP client started: lines in, lines out."""

import os
import select
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel

_CHUNK = 65_536
_PIPE = 4096  # bytes that a pipe takes whole if it takes any (PIPE_BUF)
_MANY = 64  # pieces that are written before other tasks run


async def lines(descriptor: int, longest: int) -> AsyncIterator[bytes | None]:
    """Return the lines that arrive, without their ends, but for empty ones; None in place of one that is longer."""
    pieces: list[bytes] = []
    size = 0
    while chunk := await _read(descriptor):
        first, *others = chunk.split(b"\n")
        size += len(first)
        if size <= longest:
            pieces.append(first)
        for other in others:
            line = b"".join(pieces)
            if size > longest:
                yield None
            elif line.strip():
                yield line
            pieces, size = [other], len(other)
    line = b"".join(pieces)
    if line.strip() and size <= longest:
        yield line


async def _read(descriptor: int) -> bytes:
    if _is_ready(descriptor, select.POLLIN):
        await anyio.lowlevel.checkpoint()
    else:
        await anyio.wait_readable(descriptor)
    return os.read(descriptor, _CHUNK)


class Output:
    """Writes lines, one after the other, without blocking the others.

    One task, `run`, writes them: who is cancelled while it waits for a slow reader leaves no part of a line.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._send, self._receive = anyio.create_memory_object_stream[tuple[bytes, anyio.Event]](0)

    async def write(self, line: bytes) -> None:
        """Write a line, and return when it is written."""
        written = anyio.Event()
        await self._send.send((line, written))
        await written.wait()

    async def run(self) -> None:
        """Write the lines until it is cancelled. Raises an `OSError` if nobody reads any more."""
        with self._send, self._receive:
            async for line, written in self._receive:
                await self._write(line + b"\n")
                written.set()

    async def _write(self, data: bytes) -> None:
        for count, start in enumerate(range(0, len(data), _PIPE)):
            rest = data[start : start + _PIPE]
            while rest:
                if not _is_ready(self._descriptor, select.POLLOUT):
                    await anyio.wait_writable(self._descriptor)
                elif count % _MANY == _MANY - 1:
                    await anyio.lowlevel.checkpoint()
                rest = rest[os.write(self._descriptor, rest) :]


def _is_ready(descriptor: int, event: int) -> bool:
    """Return whether it is; a file, for which no event loop can wait, always is."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))
