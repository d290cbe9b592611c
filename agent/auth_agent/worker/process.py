"""The worker process, from its parent's side: started on demand, killed when it hangs, released when idle."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio

from auth_agent.host.environment import worker_environment
from auth_agent.host.private_directory import make_directory
from auth_agent.json_object import parse_object

# Bytes; longer than any response, which is at most an entry with JSON escapes.
_MAX_RESPONSE: Final = 1 << 20
_READ_SIZE: Final = 65536
# Seconds to wait for a process to end; one that hangs is reaped with a later one.
_REAP_PATIENCE: Final = 1.0


class WorkerError(Exception):
    """The worker did not respond; the call may or may not have taken effect. The message is printable."""


class WorkerTimeout(WorkerError):
    """The worker did not respond in time, and was killed."""


class Worker:
    """A child process that does one call at a time.

    Its standard input and output are one socket. When the agent dies, the socket closes, and the worker exits after the
    current call.
    """

    def __init__(self, purpose: str, lock: Path | None = None) -> None:
        """Create the worker; its process is started by the first call.

        Args:
            purpose: a word of the vocabulary, such as KEYRING; it decides which calls the worker has.
            lock: a file that one worker at a time locks, if its calls write.

        """
        self._purpose = purpose
        self._lock = lock
        self._turn = anyio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        # Processes that were released and have not been reaped yet.
        self._detached: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int | None:
        """The process id, or None if there is no process."""
        return None if self._process is None else self._process.pid

    async def call(self, name: str, limit: float, /, **arguments: object) -> dict[str, object]:
        """Do a call in the worker; return its response.

        Args:
            name: the name of the call.
            limit: the timeout in seconds, which includes starting the process.
            arguments: the arguments of the call. They may hold secrets, which only go through the socket.

        Raises:
            WorkerError: there was no response.

        """
        async with self._turn:
            try:
                with anyio.fail_after(limit):
                    return await self._send(json.dumps({"call": name, **arguments}).encode() + b"\n")
            except TimeoutError as error:
                await self._kill()
                raise WorkerTimeout(f"no answer within {limit:g} s") from error
            except (OSError, ValueError) as error:
                await self._kill()
                raise WorkerError(f"the worker process failed: {type(error).__name__}") from error
            except BaseException:
                # Cancelled: its response would be read as the next call's. The process finishes the call.
                self._detach()
                raise

    async def release(self) -> None:
        """Let the process end after its current call; wait at most a second for that."""
        async with self._turn:
            self._detach()
            await self._reap()

    async def _send(self, request: bytes) -> dict[str, object]:
        connection = self._started()
        unsent = memoryview(request)
        while unsent:
            await anyio.wait_writable(connection)
            unsent = unsent[connection.send(unsent) :]
        response = bytearray()
        while not response.endswith(b"\n"):
            await anyio.wait_readable(connection)
            more = connection.recv(_READ_SIZE)
            if not more or len(response) > _MAX_RESPONSE:
                raise ConnectionError("the worker has ended")
            response += more
        return parse_object(bytes(response))

    def _started(self) -> socket.socket:
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self._detach()
        locks: list[str] = []
        if self._lock is not None:
            make_directory(self._lock.parent)  # the user may have deleted it
            locks.append(os.fspath(self._lock))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                    # -P: don't import modules from the current directory.
                    [sys.executable, "-P", "-m", "auth_agent.worker", *locks, self._purpose],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,  # a traceback could hold a secret
                    start_new_session=True,  # Ctrl-C must only reach the agent
                    env=worker_environment(),
                )
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        return ours

    def _detach(self) -> None:
        """Close the socket, at which the process ends by itself."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._detached.append(self._process)
            self._process = None
        self._detached = [process for process in self._detached if process.poll() is None]

    async def kill(self) -> None:
        """Kill the process now, and those that were released during a call."""
        for process in self._detached:
            process.kill()
        await self._kill()

    async def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._detach()
        await self._reap()

    async def _reap(self) -> None:
        """Wait for released processes: without that they stay zombies."""
        with anyio.move_on_after(_REAP_PATIENCE, shield=True):
            while any([process.poll() is None for process in self._detached]):  # noqa: ASYNC110, C419 -- a child's end sets no event here, and each must be polled
                await anyio.sleep(0.01)
        self._detached = [process for process in self._detached if process.returncode is None]
