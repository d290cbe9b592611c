"""Keeps the token files of the configuration fresh: one task for each, so that a slow disk delays no other file.

Theory of operation. `plan` says what a file must hold; each change of its session, a reload of the configuration and
the end of its token make the task look again, and it looks every ten seconds, since another program may have removed
the file, and a clock may have been set. A file is a client like any other: its token counts as promised, and the
refresher is asked for a token that the session doesn't have. What an agent before left is removed first.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.files.plan import Plan, plan
from auth_agent.files.problem import FILE_FAILED, FileProblem
from auth_agent.host.clock import Moment
from auth_agent.host.user_command import run_command
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.identity import id_token_unavailable
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN
from auth_agent.sessions.table import Table
from auth_agent.token_files import TokenFile
from auth_agent_client import errors
from auth_agent_client.remedy import remedies_to_wire

_log = logging.getLogger(__name__)

LOOK: Final = 10.0  # s; between two looks
# Seconds until a token is asked for again that could not be had, and that the asking may take.
_RETRY: Final = 30.0
_TIMEOUT: Final = 30.0
# As above, where the provider's tokens are good for one use.
_RETRY_SINGLE_USE: Final = 900.0
# Seconds after which a disk counts as hanging.
_SLOW: Final = 5.0
# Seconds that an ending agent waits until the files are gone.
_PATIENCE: Final = 3.0
# Seconds that a logout, or a lock, waits until the files are gone.
_GONE_PATIENCE: Final = 1.0
# Seconds that a restart takes at most: it waits for refreshes in flight, and for a program on a slow disk.
_RESTART: Final = 60.0
_MAX_PATH: Final = 4096

CHANGED: Final = "file_changed"
REMOVED: Final = "file_removed"


_DEFECT: Final = FileProblem("the agent has a defect; its log has details", failure="defect")


class Disk(Protocol):
    """Writes and removes token files; see `TokenDisk`."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the files that this agent, or one before, made."""
        ...

    @property
    def inherited(self) -> Mapping[str, float]:
        """The files that an agent left for this one as it restarted, and until when each is good, as Unix time."""
        ...

    async def take_over(self) -> None:
        """Note that these are taken over: after a crash, they are what was left."""
        ...

    async def put(self, file: TokenFile, token: Secret) -> bool:
        """Have the file hold that token; return whether it was changed. Raises a `FileProblem`."""
        ...

    async def remove(self, path: str) -> bool:
        """Remove what the agent made there; return whether there was a file. Raises a `FileProblem`."""
        ...

    async def close(self, patience: float, left: Mapping[str, float]) -> None:
        """Remove all files, in so many seconds at most; from now on none is written.

        `left`: those that stay, for the agent that this one becomes, and until when each is good, as Unix time.
        """
        ...


@dataclass(slots=True)
class _Held:
    """A token that is in a file: until when it may be, and the session's epoch."""

    token: Secret
    until: Moment | None
    epoch: int

    @property
    def expires_at(self) -> float | None:
        return None if self.until is None else self.until.wall


@dataclass(slots=True)
class _Kept:
    """A file that is kept: what it holds, as far as is known, and what was asked for it."""

    wake: anyio.Event = field(default_factory=anyio.Event)
    # Set when the next look is over.
    looked: anyio.Event = field(default_factory=anyio.Event)
    held: _Held | None = None
    # Until when, as Unix time, a file of the agent before a restart stays, while the session has not been read.
    inherited: float | None = None
    changed_at: float | None = None
    problem: FileProblem | None = None
    # Of the session's epoch: whether a token is being asked for, when it may be again, why there was none, and the ID
    # token for which a newer one was asked for.
    epoch: int = -1
    is_asking: bool = False
    ask_after: float = 0.0
    refusal: FileProblem | None = None
    replaced: Secret | None = None
    is_replaced: bool = False
    # When the disk was asked, while it has not answered.
    busy_since: float | None = None
    # What to tell the user's command next, while it runs.
    is_telling: bool = False
    event: dict[str, object] | None = None

    @property
    def may_be_there(self) -> bool:
        """Whether there may be a file: one is held, or being written."""
        return self.held is not None or self.busy_since is not None

    def begin_epoch(self, epoch: int) -> None:
        """Forget what was asked of a session that was replaced."""
        if epoch != self.epoch:
            self.epoch, self.ask_after, self.refusal, self.replaced, self.is_replaced = epoch, 0.0, None, None, False


class FileKeeper:
    """Keeps the files of a table's configuration."""

    def __init__(
        self,
        table: Table,
        refresher: Refresher,
        disk: Disk,
        run: Callable[[Sequence[str], Mapping[str, object]], Awaitable[None]] = run_command,
    ) -> None:
        """Create it.

        Args:
            table: the live sessions, and the configuration.
            refresher: gets tokens.
            disk: has the files.
            run: runs the user's command with an event.

        """
        self._table = table
        self._refresher = refresher
        self._disk = disk
        self._run_command = run
        self._asker = Asker("files")
        self._kept: dict[str, _Kept] = {}
        self._is_restarting = False
        self._tasks: TaskGroup | None = None

    # ---- what others call

    async def run(self) -> None:
        """Keep the files until cancelled; then remove them, or leave them to the agent after a restart."""
        self._table.watch(self)
        try:
            async with anyio.create_task_group() as self._tasks:
                inherited = self._disk.inherited
                for path in self._disk.paths:
                    self._begin(path, inherited.get(path))
                if inherited:
                    await self._disk.take_over()
                self.configure()
                await anyio.sleep_forever()
        finally:
            self._tasks = None
            self._table.unwatch(self)
            with anyio.CancelScope(shield=True):
                ends = self._ends() if self._is_restarting else {}
                await self._disk.close(_PATIENCE, ends)

    def hand_over(self) -> None:
        """Leave the files at the end of `run`: another agent goes on with them in this process."""
        self._is_restarting = True

    def _ends(self) -> dict[str, float]:
        """Return until when, as Unix time, each file is good: those that outlast a restart, and have a known end."""
        now = self._table.clock.now()
        held = {path: kept.held.until for path, kept in self._kept.items() if kept.held is not None}
        return {path: end.wall for path, end in held.items() if end is not None and now.until(end) >= _RESTART}

    def configure(self) -> None:
        """Look at all files again, since the configuration was read."""
        for file in self._table.config.files:
            self._begin(file.path)
        for kept in self._kept.values():
            kept.ask_after = 0.0
            kept.wake.set()

    def changed(self, account: str) -> None:
        """Look at the files of an account whose record changed."""
        for file in self._table.config.files_of(account):
            if file.path in self._kept:
                self._kept[file.path].wake.set()

    async def wait_until_gone(self, account: str | None = None) -> None:
        """Wait a second at most until the files of an account, or all, are gone, after its session or the lock changed.

        A file that a slow disk still has is removed later.
        """
        with anyio.move_on_after(_GONE_PATIENCE):
            for file in self._table.config.files:
                kept = self._kept.get(file.path)
                while kept is not None and account in (None, file.account) and kept.may_be_there:
                    await kept.looked.wait()

    def rows(self, account: str | None = None) -> list[dict[str, object]]:
        """Return the files as `status` shows them; `account`: only those of that account."""
        files = self._table.config.files
        return [self._row(file) for file in files if account in (None, file.account)]

    def _row(self, file: TokenFile) -> dict[str, object]:
        kept = self._kept.get(file.path) or _Kept()
        problem = kept.problem
        if kept.busy_since is not None and anyio.current_time() - kept.busy_since > _SLOW:
            problem = FileProblem("its file system does not answer")
        return {
            "path": printable(file.path, _MAX_PATH),
            "account": file.account,
            "kind": file.kind,
            "present": kept.held is not None,
            "expires_at": None if kept.held is None else kept.held.expires_at,
            "changed_at": kept.changed_at,
            "failure": None if problem is None else problem.failure,
            "reason": None if problem is None else problem.reason,
            "remedy": remedies_to_wire(() if problem is None else problem.remedy),
        }

    # ---- one file

    def _begin(self, path: str, inherited: float | None = None) -> None:
        if self._tasks is not None and path not in self._kept:
            self._kept[path] = kept = _Kept(inherited=inherited)
            self._tasks.start_soon(self._keep, path, kept)

    async def _keep(self, path: str, kept: _Kept) -> None:
        # What an agent before left is not fresh, and may be another account's by now.
        if kept.inherited is None:
            await self._clear(path, kept)
        while True:
            kept.wake = anyio.Event()
            pause = LOOK
            file = self._table.config.file_at(path)
            try:
                if file is not None:
                    pause = await self._look(file, kept)
                else:
                    await self._clear(path, kept)
            except Exception as error:  # noqa: BLE001 -- a defect with one file must not end all
                _log.error("defect in=files error=%s", place(error))
                self._report(path, kept, _DEFECT)
            kept.looked.set()
            kept.looked = anyio.Event()
            # A file that left the configuration while it was written is there, and cleared by the next look.
            if file is None and kept.problem is None and self._table.config.file_at(path) is None:
                del self._kept[path]
                return
            with anyio.move_on_after(pause):
                await kept.wake.wait()

    async def _look(self, file: TokenFile, kept: _Kept) -> float:
        """Have the file be what it must be now; return the seconds until the next look."""
        now, session = self._table.clock.now(), self._table.sessions.get(file.account)
        kept.begin_epoch(-1 if session is None else session.epoch)
        planned = self._plan(file, session, kept, now)
        if kept.inherited is not None and session is not None and session.is_locked and self._table.lock is None:
            left = kept.inherited - now.wall
            if left > 0:
                return min(LOOK, left)
        kept.inherited = None
        if session is None or planned.token is None:
            await self._clear(file.path, kept, file, planned.problem or kept.refusal)
        else:
            await self._fill(file, kept, session, planned, planned.token)
        if session is not None:
            self._ask(session, kept, planned)
        ends = [planned.until, None if kept.held is None else kept.held.until]
        now = self._table.clock.now()
        return max(0.0, min([LOOK, *(now.until(end) for end in ends if end is not None)]))

    def _plan(self, file: TokenFile, session: Session | None, kept: _Kept, now: Moment) -> Plan:
        planned = plan(file, session, now, self._table.lock)
        is_asked = planned.token is None and planned.demand is not None and _is_met(kept, planned)
        if session is not None and is_asked:
            return Plan(problem=FileProblem.of(id_token_unavailable(session, now)))
        return planned

    async def _fill(self, file: TokenFile, kept: _Kept, session: Session, planned: Plan, token: Secret) -> None:
        try:
            is_change = await self._call(kept, self._disk.put(file, token))
        except FileProblem as error:
            if kept.held is not None and self._is_dead(kept.held, session):
                await self._clear(file.path, kept, file, error)
            self._report(file.path, kept, error)
            return
        kept.held = _Held(token, planned.until, session.epoch)
        self._report(file.path, kept, None)
        if is_change:
            self._note_change(CHANGED, file.path, file, kept)
            if planned.key is not None:
                session.token(planned.key, None, self._table.clock.now())  # it is promised to who reads the file

    def _is_dead(self, held: _Held, session: Session) -> bool:
        """Return whether a token that can't be replaced must not stay either: it has ended, or is another session's."""
        until = held.until
        has_ended = until is None or self._table.clock.now().until(until) <= 0
        return has_ended or held.epoch != session.epoch or session.ends_access_tokens

    async def _clear(
        self, path: str, kept: _Kept, file: TokenFile | None = None, problem: FileProblem | None = None
    ) -> None:
        """Have no file there; `problem`: why there is no token, if that is not as it should be."""
        try:
            is_change = await self._call(kept, self._disk.remove(path))
        except FileProblem as error:
            self._report(path, kept, error)
            return
        kept.held = None
        self._report(path, kept, problem)
        if is_change:
            self._note_change(REMOVED, path, file, kept)

    async def _call(self, kept: _Kept, work: Awaitable[bool]) -> bool:
        kept.busy_since = anyio.current_time()
        try:
            return await work
        finally:
            kept.busy_since = None

    def _report(self, path: str, kept: _Kept, problem: FileProblem | None) -> None:
        """Show a problem, and log it when it begins, or changes. The log has those of sessions elsewhere."""
        if problem is not None and problem != kept.problem:
            level = logging.WARNING if problem.failure == FILE_FAILED else logging.INFO
            _log.log(level, "file path=%s problem=%r", printable(path, _MAX_PATH), printable(problem.reason, _MAX_PATH))
        kept.problem = problem

    # ---- tokens that the session doesn't have

    def _ask(self, session: Session, kept: _Kept, planned: Plan) -> None:
        """Ask the refresher for the token, if there is none, and have it refreshed ahead of time."""
        if planned.key is not None and planned.token is not None:
            kept.refusal = None
            if planned.key != MAIN and session.record_demand(planned.key, None, self._table.clock.now()):
                self._refresher.reschedule(session)
        is_early = anyio.current_time() < kept.ask_after
        if planned.demand is None or _is_met(kept, planned) or kept.is_asking or is_early or self._tasks is None:
            return
        kept.is_asking = True
        self._tasks.start_soon(self._request, session, kept, planned, planned.demand)

    async def _request(self, session: Session, kept: _Kept, planned: Plan, demand: Demand) -> None:
        epoch, refusal, retry_after = session.epoch, None, 0.0
        try:
            await self._refresher.token(session, demand, self._asker, _TIMEOUT)
            if planned.key is not None and session.current(planned.key) is None:
                refusal, retry_after = _single_use(session), _RETRY_SINGLE_USE
        except errors.AgentError as error:
            refusal = FileProblem.of(error)
            retry_after = max(_RETRY, (error.retry_after or 0.0) if isinstance(error, errors.Unavailable) else 0.0)
        except Exception as error:  # noqa: BLE001 -- a defect with one file must not end all
            _log.error("defect in=files error=%s", place(error))
            refusal, retry_after = _DEFECT, _RETRY
        kept.is_asking = False
        if session.epoch == epoch == kept.epoch:
            kept.refusal, kept.ask_after = refusal, anyio.current_time() + retry_after
            if planned.key is None and refusal is None:
                kept.replaced, kept.is_replaced = planned.token, True
        kept.wake.set()

    # ---- the user's command

    def _note_change(self, event: str, path: str, file: TokenFile | None, kept: _Kept) -> None:
        kept.changed_at = self._table.clock.now().wall
        _log.info("file path=%s outcome=%s", printable(path, _MAX_PATH), event.removeprefix("file_"))
        if file is None or not file.command or self._tasks is None:
            return
        expires_at = None if kept.held is None else kept.held.expires_at
        kept.event = {"event": event, "path": path, "account": file.account, "expires_at": expires_at}
        if not kept.is_telling:
            kept.is_telling = True
            self._tasks.start_soon(self._tell, file.command, kept)

    async def _tell(self, command: tuple[str, ...], kept: _Kept) -> None:
        """Run the command, once more if the file has changed meanwhile."""
        try:
            while kept.event is not None:
                event, kept.event = kept.event, None
                try:
                    await self._run_command(command, event)
                except (OSError, ValueError) as error:
                    _log.warning("file path=%s command error=%r", event["path"], printable(str(error)))
        finally:
            kept.is_telling = False


def _is_met(kept: _Kept, planned: Plan) -> bool:
    """Return whether a newer ID token than that one was asked for already: a refresh need not bring one."""
    return planned.key is None and kept.is_replaced and kept.replaced == planned.token


def _single_use(session: Session) -> FileProblem:
    reason = f"{session.account.name}: its provider's tokens are good for one use, and a file is for many"
    return FileProblem(reason, failure="unsupported")
