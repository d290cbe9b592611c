"""The standard streams of a process that an MCP client started: lines in, lines out."""

import os
from collections.abc import AsyncIterator

import anyio

_CHUNK = 65_536
_PIPE = 4096  # bytes that a pipe takes whole if it takes any (PIPE_BUF)


async def lines(descriptor: int, longest: int) -> AsyncIterator[bytes]:
    """Return the lines that arrive, without their ends; those that are longer are left out, as empty ones are."""
    buffer, is_too_long = bytearray(), False
    while chunk := await _read(descriptor):
        first, *others = chunk.split(b"\n")
        buffer += first
        for other in others:
            if buffer.strip() and not is_too_long and len(buffer) <= longest:
                yield bytes(buffer)
            buffer, is_too_long = bytearray(other), False
        if len(buffer) > longest:
            buffer, is_too_long = bytearray(), True
    if buffer.strip() and not is_too_long:
        yield bytes(buffer)


async def _read(descriptor: int) -> bytes:
    try:
        await anyio.wait_readable(descriptor)
    except (PermissionError, ValueError):  # a file, which always can be read
        await anyio.lowlevel.checkpoint()
    return os.read(descriptor, _CHUNK)


class Output:
    """Writes lines, one after the other, without blocking the others."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = anyio.Lock()

    async def write(self, line: bytes) -> None:
        """Write a line. Raises an `OSError` if nobody reads any more."""
        async with self._lock:
            rest = memoryview(line + b"\n")
            with anyio.CancelScope(shield=True):  # half a line would spoil all that follow
                while rest:
                    await self._writable()
                    rest = rest[os.write(self._descriptor, rest[:_PIPE]) :]

    async def _writable(self) -> None:
        try:
            await anyio.wait_writable(self._descriptor)
        except (PermissionError, ValueError):  # a file
            await anyio.lowlevel.checkpoint()
