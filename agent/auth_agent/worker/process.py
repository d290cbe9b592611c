"""The worker process, as its parent sees it: started when there is work, killed when it hangs, let go when idle."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio

from auth_agent.host.systemd import children_environment
from auth_agent.json_object import parse_object

# Longer than any answer: an entry, in JSON's escapes.
_MAX_ANSWER: Final = 1 << 20
_READ_SIZE: Final = 65536
# Seconds that the end of a process is waited for; one whose keyring hangs is looked for again at the next end.
_REAP_PATIENCE: Final = 1.0


class WorkerError(Exception):
    """The worker gave no answer; whether it did what it was asked to isn't known. The text is printable."""


class WorkerTimeout(WorkerError):
    """It gave none in time, and was killed."""


class Worker:
    """A child process that does one call at a time.

    Its standard input and output are one socket. When the agent dies that socket's end is the worker's, after the
    call that it is at.
    """

    def __init__(self, purpose: str, lock: Path | None = None) -> None:
        """Make one that is not started yet.

        Args:
            purpose: what it is for, a word of the vocabulary; it has the calls for that.
            lock: a file that one worker at a time holds; for one whose calls change anything.

        """
        self._purpose = purpose
        self._lock = lock
        self._turn = anyio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        # Those that were let go, until they have ended.
        self._leaving: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int | None:
        """The process's id; None when there is no process."""
        return None if self._process is None else self._process.pid

    async def call(self, name: str, limit: float, /, **arguments: object) -> dict[str, object]:
        """Let it do something; its answer.

        Args:
            name: what to do.
            limit: how long that may take, in seconds, the start of a process included.
            arguments: what the call takes; may hold secrets, which go through the socket and nowhere else.

        Raises:
            WorkerError: there is no answer.

        """
        async with self._turn:
            try:
                with anyio.fail_after(limit):
                    return await self._ask(json.dumps({"call": name, **arguments}).encode() + b"\n")
            except TimeoutError as error:
                await self._kill()
                raise WorkerTimeout(f"no answer within {limit:g} s") from error
            except (OSError, ValueError) as error:
                await self._kill()
                raise WorkerError(f"the worker process failed: {type(error).__name__}") from error
            except BaseException:
                # Cancelled: the answer would be taken for the next call's. The call itself comes to its end.
                self._leave()
                raise

    async def release(self) -> None:
        """Let the process end, once it has done what it is doing; waits for that a little."""
        async with self._turn:
            self._leave()
            await self._reap()

    async def _ask(self, request: bytes) -> dict[str, object]:
        connection = self._started()
        unsent = memoryview(request)
        while unsent:
            await anyio.wait_writable(connection)
            unsent = unsent[connection.send(unsent) :]
        answer = bytearray()
        while not answer.endswith(b"\n"):
            await anyio.wait_readable(connection)
            more = connection.recv(_READ_SIZE)
            if not more or len(answer) > _MAX_ANSWER:
                raise ConnectionError("the worker has ended")
            answer += more
        return parse_object(bytes(answer))

    def _started(self) -> socket.socket:
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self._leave()
        locks: list[str] = []
        if self._lock is not None:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have "reset" it
            locks.append(os.fspath(self._lock))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                    # -P: what lies in the current folder is no module of ours.
                    [sys.executable, "-P", "-m", "auth_agent.worker", *locks, self._purpose],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,  # a traceback there could hold what was to be kept
                    start_new_session=True,  # Ctrl-C is for the agent
                    env=children_environment(),
                )
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        return ours

    def _leave(self) -> None:
        """Let go of the process: it ends by itself."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._leaving.append(self._process)
            self._process = None
        self._leaving = [process for process in self._leaving if process.poll() is None]

    async def kill(self) -> None:
        """End the process now, whatever it is doing, and those that were let go in the middle of something."""
        for process in self._leaving:
            process.kill()
        await self._kill()

    async def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._leave()
        await self._reap()

    async def _reap(self) -> None:
        """Wait for the ends of those that were let go: one that nobody waits for stays a zombie."""
        with anyio.move_on_after(_REAP_PATIENCE, shield=True):
            while any([process.poll() is None for process in self._leaving]):  # noqa: ASYNC110, C419 -- a child's end has no event here, and all are to be asked
                await anyio.sleep(0.01)
        self._leaving = [process for process in self._leaving if process.returncode is None]
