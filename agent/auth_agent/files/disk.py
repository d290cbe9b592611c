"""Writes and removes token files, in threads: a disk, as one of the network, may hang, and others must not wait for it.

Theory of operation. What is done to one file happens in turn, also in threads that nobody waits for any more. Once the
disk is closed, none of them writes.
"""

import contextlib
import errno
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from auth_agent import remedies
from auth_agent.files.folder import Folder
from auth_agent.files.ledger import Ledger, Made
from auth_agent.files.problem import FileProblem
from auth_agent.host.private_directory import make_directory
from auth_agent.secret import Secret
from auth_agent.token_files import TokenFile

_Result = TypeVar("_Result")

_READ_ONLY: Final = (errno.EROFS, errno.EACCES)


class TokenDisk:
    """The token files on the disk, and the note of those that the agent made."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._is_closed = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the files that this agent, or one before at its socket, made."""
        return self._ledger.paths

    @property
    def inherited(self) -> Mapping[str, float]:
        """The files that an agent left for this one as it restarted, and until when each is good, as Unix time."""
        return self._ledger.inherited

    async def take_over(self) -> None:
        """Note that these are taken over: after a crash, they are what was left."""
        await self._in_thread("", partial(self._ledger.hand_over, {}))

    async def put(self, file: TokenFile, token: Secret) -> bool:
        """Have the file hold that token, with its mode; return whether it was changed.

        Raises:
            FileProblem: it can't be used.

        """
        return await self._in_thread(file.path, partial(self._put, file, token))

    async def remove(self, path: str) -> bool:
        """Remove what the agent made at that path; return whether there was a file.

        Raises:
            FileProblem: something else is there, or it can't be removed.

        """
        return await self._in_thread(path, partial(self._remove, path))

    async def close(self, patience: float, left: Mapping[str, float]) -> None:
        """Remove all files, in so many seconds at most; from now on none is written.

        `left`: those that stay, for the agent that this one becomes, and until when each is good, as Unix time.
        """
        self._is_closed = True

        async def remove(path: str) -> None:
            with contextlib.suppress(FileProblem):  # the next agent tries again
                await self.remove(path)

        with anyio.move_on_after(patience):
            async with anyio.create_task_group() as removing:
                for path in {*self.paths, *self._turns} - left.keys():
                    removing.start_soon(remove, path)
            if left:
                await self._in_thread("", partial(self._ledger.hand_over, left))

    async def _in_thread(self, path: str, work: Callable[[], _Result]) -> _Result:
        turn = self._turns[path]

        def run() -> _Result:
            with turn:
                return work()

        try:
            # Threads that hang, one for each file at most, must not count with those that others need.
            own = anyio.CapacityLimiter(1)
            return await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=own)
        except OSError as error:
            raise _problem(path, error) from error
        except RuntimeError as error:
            raise FileProblem("no thread can be started to write the file") from error

    def _put(self, file: TokenFile, token: Secret) -> bool:
        path, made, wanted = PurePath(file.path), self._ledger.made(file.path), token.fingerprint()
        if self._is_closed:
            return False
        if file.is_default_directory:
            make_directory(Path(path).parent)
        with Folder(path.parent) as folder:
            found = folder.look(path.name)
            if found is not None and found.digest not in made.digests:
                raise FileProblem(f"{path} is there, and the agent did not make it", remedies.free_path(file.path))
            if made.temporary:
                folder.remove(made.temporary)
            if found is not None and (found.digest, found.mode) == (wanted, file.mode):
                self._ledger.record(file.path, [wanted])
                return False
            temporary, before = self._ledger.temporary(), [] if found is None else [found.digest]
            self._ledger.record(file.path, [*before, wanted], temporary)
            try:
                folder.put(path.name, temporary, token, file.mode)
            except OSError:
                self._ledger.record(file.path, before)
                raise
            self._ledger.record(file.path, [wanted])
        return True

    def _remove(self, name: str) -> bool:
        path, made, is_own = PurePath(name), self._ledger.made(name), False
        if made == Made():
            return False
        try:
            with Folder(path.parent, to_clean=True) as folder:
                found = folder.look(path.name)
                if made.temporary:
                    folder.remove(made.temporary)
                is_own = found is not None and found.digest in made.digests
                if is_own:
                    folder.remove(path.name)
        except FileProblem:
            if os.path.lexists(path.parent):
                raise
        self._ledger.record(name)
        return is_own


def _problem(path: str, error: OSError) -> FileProblem:
    remedy = list(remedies.for_file(error, path))
    if error.errno in _READ_ONLY:
        remedy.append(remedies.let_unit_write(str(PurePath(path).parent)))
    return FileProblem(f"{path} can't be written: {error.strerror or type(error).__name__}", *remedy)
