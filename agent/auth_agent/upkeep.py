"""Looks again and again whether what the agent put into the file system at its start is there, and makes it anew.

Theory of operation. The socket, its directory and the locks can go away: a cleaner or a person removes them, and the
system empties the runtime directory at a logout. Without its socket nobody reaches the agent, and no other agent can
start with its store; without its locks another agent could, and the two would end each other's sessions. Sessions and
open connections need none of these files, so they live on.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import anyio.to_thread

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.ipc.listener import Listener
from auth_agent.ipc.server import Server
from auth_agent.storage.lock import LockTaken, SocketLock, StoreLock
from auth_agent_client.remedy import Remedy, remedies_to_wire

_log = logging.getLogger(__name__)

LOOK: Final = 10.0  # s; between two looks


class Upkeep:
    """Keeps the agent reachable, and its locks."""

    def __init__(
        self,
        listener: Listener,
        server: Server,
        locks: list[StoreLock],
        look_at_notes: Callable[[], Awaitable[None]],
        about: dict[str, object],
    ) -> None:
        """Create it.

        Args:
            listener: the socket.
            server: serves it.
            locks: the locks of this agent; further ones may be appended.
            look_at_notes: makes the notes beside the store anew.
            about: what `status` shows of the agent; gets `socket_problem`.

        """
        self._listener = listener
        self._server = server
        self._locks = locks
        self._look_at_notes = look_at_notes
        self._about = about
        self._problems: dict[object, str] = {}

    async def run(self) -> None:
        """Look until cancelled. If another agent has the store, end this one by SIGTERM."""
        async with anyio.create_task_group() as looking:
            looking.start_soon(self._watch_socket)
            looking.start_soon(self._watch_state_directory)

    async def _watch_socket(self) -> None:
        while True:
            self._look_at_socket()
            await anyio.sleep(LOOK)

    async def _watch_state_directory(self) -> None:
        while True:
            with contextlib.suppress(RuntimeError):  # no thread can be started
                # A home directory on a network may hang.
                await anyio.to_thread.run_sync(self._look_at_locks, abandon_on_cancel=True)
            await self._look_at_notes()
            await anyio.sleep(LOOK)

    def _look_at_socket(self) -> None:
        path = self._listener.path
        try:
            is_anew = self._listener.look()
        except StartupError as error:
            self._report(self._listener, f"socket path={path}", str(error))
            self._about["socket_problem"] = _problem(str(error), *error.remedy)
            return
        if is_anew:
            self._server.listen_on(self._listener.socket)
            _log.warning("socket path=%s outcome='listening again' problem='its file was removed or replaced'", path)
        if self._listener.replaces_inherited:
            reason = "the file of the socket that was passed is gone: the agent listens on one of its own in its place"
            self._report(self._listener, f"socket path={path}", reason)
            self._about["socket_problem"] = _problem(reason, remedies.restart_socket_unit())
        else:
            self._problems.pop(self._listener, None)
            self._about["socket_problem"] = None

    def _look_at_locks(self) -> None:
        for lock in tuple(self._locks):
            try:
                if lock.look():
                    _log.warning("lock path=%s outcome='locked again' problem='its file was removed'", lock.path)
            except StartupError as error:
                self._report(lock, f"lock path={lock.path}", str(error))
                if isinstance(error, LockTaken) and not isinstance(lock, SocketLock):
                    os.kill(os.getpid(), signal.SIGTERM)
            else:
                self._problems.pop(lock, None)

    def _report(self, what: object, event: str, problem: str) -> None:
        """Log a problem when it begins, or changes."""
        if self._problems.get(what) != problem:
            self._problems[what] = problem
            _log.warning("%s problem=%r", event, problem)


def _problem(reason: str, *remedy: Remedy) -> dict[str, object]:
    return {"reason": reason, "remedy": remedies_to_wire(remedy)}
