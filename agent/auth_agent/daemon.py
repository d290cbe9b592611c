"""The composition root: creates the parts, runs them until a signal, and stops them in order."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from auth_agent import remedies
from auth_agent.config import Account, load
from auth_agent.defect import place
from auth_agent.errors import ConfigError, StartupError
from auth_agent.files.disk import TokenDisk
from auth_agent.files.keeper import FileKeeper
from auth_agent.files.ledger import Ledger
from auth_agent.host import readiness
from auth_agent.host.activation import passed_socket
from auth_agent.host.clock import Clock
from auth_agent.host.credentials import CredentialError, credential
from auth_agent.host.event_loop import EventLoop
from auth_agent.host.late_imports import import_all
from auth_agent.host.network import watch_network
from auth_agent.host.restart import check_program, drop_option, restart
from auth_agent.host.signals import Signals
from auth_agent.host.systemd import READY, STOPPING, notify, reloading
from auth_agent.ipc.handlers import Handlers
from auth_agent.ipc.listener import Listener
from auth_agent.ipc.policy import Policy
from auth_agent.ipc.server import Server
from auth_agent.ipc.usage import Usage
from auth_agent.notification.announcer import LoginAnnouncer
from auth_agent.notification.manager import ManagerNotifier
from auth_agent.notification.notifier import DesktopNotifier
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.providers import HttpProviders
from auth_agent.oauth.signature import WorkerSignatures
from auth_agent.proxies import environment_proxies
from auth_agent.sessions.agent_lock import AgentLock
from auth_agent.sessions.background import Background
from auth_agent.sessions.heart import Heart
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.saver import UNREAD, Saver
from auth_agent.sessions.store_move import StoreMove
from auth_agent.sessions.table import Table
from auth_agent.storage.lock import LockTaken, SocketLock, StoreLock
from auth_agent.storage.sealed_memory import SealedMemory
from auth_agent.storage.state_directory import state_path
from auth_agent.storage.store import Store, StoreError
from auth_agent.storage.store_note import StoreNote
from auth_agent.storage.stores import OpenStore, check_note_is_free, open_store, remember_store, store_in_use
from auth_agent.upkeep import Upkeep
from auth_agent_client import __version__, errors
from auth_agent_client.remedy import remedies_to_wire

_log = logging.getLogger(__name__)

_EXIT_TIMEOUT = 2.0  # seconds, after everything has stopped
_RELEASE_TIMEOUT = 2.0  # seconds, for the workers to end; one that hangs ends by itself
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_RELOAD = signal.SIGHUP
_RESTART = signal.SIGUSR1
_CREDENTIAL = "auth-agent-passphrase"  # of a service; its name in `LoadCredential=`


def serve(
    config_path: Path,
    socket_path: Path,
    store_name: str | None = None,
    *,
    remember: bool = True,
    wrap: Callable[[Callable[[Account], Provider]], Callable[[Account], Provider]] = lambda providers: providers,
    wrap_store: Callable[[Store], Store] = lambda store: store,
    clock: Clock | None = None,
) -> bool:
    """Run the agent until SIGTERM or SIGINT; SIGHUP reloads the configuration.

    SIGUSR1 restarts it: the agent ends, and True is returned to ask the caller to execute a new one in this process.

    Args:
        config_path: the configuration file.
        socket_path: where to listen, if no socket was inherited.
        store_name: the name of the store; None: the one that is remembered.
        remember: whether the next agent is to use the store, too, if it is persistent.
        wrap: wraps the providers.
        wrap_store: wraps the store.
        clock: by default the machine's.

    Raises:
        StartupError: the configuration, the socket's path or the note of the store can't be used, or another agent uses
            the store.

    """
    import_all()
    run = partial(
        _serve,
        config_path,
        socket_path,
        store_name,
        remember=remember,
        wrap=wrap,
        wrap_store=wrap_store,
        clock=clock or Clock(),
    )
    return anyio.run(run, backend_options={"loop_factory": EventLoop})


async def _serve(
    config_path: Path,
    socket_path: Path,
    store_name: str | None,
    *,
    remember: bool,
    wrap: Callable[[Callable[[Account], Provider]], Callable[[Account], Provider]],
    wrap_store: Callable[[Store], Store],
    clock: Clock,
) -> bool:
    config = load(config_path)
    http = HttpProviders(trusted_certificates(), environment_proxies(os.environ), clock)
    inherited = passed_socket()
    if inherited is not None:
        socket_path = Path(os.fsdecode(inherited.getsockname()))

    locks = _lock_socket(socket_path) if remember else []
    open_wrapped = partial(_open_wrapped, socket_path, wrap_store, locks)
    open_target = partial(_open_target, socket_path, open_wrapped, remember=remember)
    opened = open_wrapped(store_name or store_in_use(state_path()))
    # Signals are caught until the very end: a second SIGTERM must not interrupt the shutdown that the first one began.
    with Listener(socket_path, inherited) as listener, Signals(*_STOP_SIGNALS, _RELOAD, _RESTART) as signals:
        table = Table(config, clock, unread=UNREAD if opened.store.persistent else None)
        saver, signatures = Saver(table, opened.store, opened.journal, machine=opened.machine), WorkerSignatures()
        heart = Heart(table, saver, wrap(http), signatures, SealedMemory)
        refresher, logins = heart.refresher, heart.logins
        files = FileKeeper(table, refresher, TokenDisk(Ledger(state_path(), listener.path)))
        reload = partial(_reload, table, saver, refresher, http, files, config_path)
        about = _about(listener.path)
        asyncio.get_running_loop().set_exception_handler(_log_uncaught)
        stop_signal = signal.SIGTERM  # a type checker can't know that the groups below swallow nothing
        async with anyio.create_task_group() as work:
            http.run_in(work)
            heart.run_in(work)
            _notify_of(table, refresher, work)
            handlers = Handlers(
                heart,
                Policy(),
                Usage(),
                StoreMove(table, saver, refresher, opened, open_target, _remember_moved),
                files,
                about,
                reload,
            )
            server = Server(listener.socket, handlers, work, table.clock)
            accepting = _Stoppable(server.run)
            async with anyio.create_task_group() as front:
                for run in (refresher.run, files.run, Upkeep(listener, server, locks, saver.look_at_notes, about).run):
                    front.start_soon(run)
                front.start_soon(watch_network, refresher.note_new_network)
                work.start_soon(accepting.run)
                # Before the keyring is read, which may take arbitrarily long.
                _tell_ready(listener.path, opened.store.name if remember else None)
                _open_store(saver, heart.lock, heart.background)
                stop_signal = await _until_stopped(
                    signals,
                    partial(_reload_on_signal, reload),
                    partial(_may_restart, config_path, store_name, saver, about),
                )
                _stop_front(front, files, restarts=stop_signal is _RESTART)
            # No refresh begins from here on; those in flight finish, and clients get their responses.
            logins.call_all_off()
            if stop_signal is _RESTART:
                await heart.background.drain()  # new clients are served meanwhile
                await accepting.stop()
                listener.hand_over()
            else:
                notify(STOPPING)
                await accepting.stop()
                listener.stop()
                await heart.background.drain()
            await server.close()
            work.cancel_scope.cancel()
        await _release(saver, signatures)
        # A stop signal that arrived until here overrides the restart; from here on it ends the process.
        restarts = stop_signal is _RESTART and not signals.release(*_STOP_SIGNALS)
        _log.info("restarting" if restarts else "stopped")
    _exit_soon(restart if restarts else lambda: os._exit(0))
    return restarts


def _lock_socket(socket_path: Path) -> list[StoreLock]:
    """Return the lock of the socket, unless the state directory can't be used, or is that of another system, too.

    A container with the same home directory has sockets of its own at the same paths.

    Raises:
        LockTaken: an agent serves that socket, although its file may be gone.

    """
    try:
        return [SocketLock(state_path(), socket_path)]
    except LockTaken as error:
        if error.is_here:
            raise
        return []
    except StartupError as error:  # no reason not to serve: there is a lock beside the socket
        _log.warning("lock problem=%r", str(error))
        return []


def _open_wrapped(socket_path: Path, wrap: Callable[[Store], Store], locks: list[StoreLock], name: str) -> OpenStore:
    """Open the store of that name, and append its locks to `locks`."""
    opened = open_store(name, state_path(), socket_path)
    locks += opened.locks
    return opened._replace(store=wrap(opened.store))


def _open_target(
    socket_path: Path, open_wrapped: Callable[[str], OpenStore], name: str, own: str, *, remember: bool
) -> OpenStore:
    """Open the store of that name for an agent that has another one, and that the next agent follows.

    Raises:
        StartupError: the next agent does not follow this one, or the store can't be used.

    """
    if not remember:
        raise StartupError("the agent of one command keeps its store")
    check_note_is_free(state_path(), socket_path, own, name)
    return open_wrapped(name)


def _open_store(saver: Saver, lock: AgentLock, background: Background) -> None:
    """Begin to read the sessions; unlock the store if the service manager passed its passphrase."""
    saver.read_all()
    if saver.takes_passphrase:
        background.begin(partial(_unlock_by_credential, lock))  # for which a lock waits


async def _unlock_by_credential(lock: AgentLock) -> None:
    """Unlock the store by the passphrase that the service manager passed, if it did; log if that fails."""
    try:
        passphrase = credential(_CREDENTIAL)
        if passphrase is not None:
            await lock.unlock(passphrase)
    except (CredentialError, errors.AgentError) as error:
        _log.error("credential name=%s error=%r", _CREDENTIAL, str(error))


def _remember_moved(name: str) -> None:
    """Have the next agent use that store, also after a restart of this process. Raises an `OSError`."""
    StoreNote(state_path()).write(name)
    drop_option("--store")


class _Stoppable:
    """Work in its own task; `stop` cancels it and waits for its end."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                await self._work()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()


async def _until_stopped(
    signals: Signals, reload: Callable[[], None], may_restart: Callable[[], Awaitable[bool]]
) -> signal.Signals:
    """Wait for a stop signal, or for a restart signal if a restart is possible; return it.

    A stop signal ends the check whether it is possible, which takes seconds if the disk or the keyring is slow.
    """
    result = _RESTART
    is_checking = False

    async def check() -> None:
        nonlocal is_checking
        if await may_restart():
            waiting.cancel_scope.cancel()
        is_checking = False

    async with anyio.create_task_group() as waiting:
        while True:
            signum = await signals.next()
            if signum is _RELOAD:
                reload()
            elif signum is not _RESTART:
                result = signum
                waiting.cancel_scope.cancel()
                break
            elif not is_checking:
                is_checking = True
                waiting.start_soon(check)
    _log.info("stopping signal=%s", result.name)
    return result


async def _may_restart(config_path: Path, store_name: str | None, saver: Saver, about: dict[str, object]) -> bool:
    """Return whether a new agent could serve; if not, log why, and show it in `status`."""
    try:
        load(config_path)
        if store_name is None:
            store_in_use(state_path())
        await check_program()
        await saver.check()
    except (StartupError, StoreError) as error:
        refusal = {"at": time.time(), "reason": str(error), "remedy": remedies_to_wire(error.remedy)}
        about["restart_refused"] = refusal
        _log.error("restart refused=%r", str(error))
        return False
    return True


def _stop_front(front: TaskGroup, files: FileKeeper, *, restarts: bool) -> None:
    """Stop what begins something by itself; token files stay over a restart."""
    if restarts:
        files.hand_over()
    front.cancel_scope.cancel()


async def _release(saver: Saver, signatures: WorkerSignatures) -> None:
    """Let the workers end."""
    with anyio.move_on_after(_RELEASE_TIMEOUT):
        await saver.release()
        await signatures.release()


def _exit_soon(leave: Callable[[], object]) -> None:
    """Exit even if a thread still waits for a disk: the interpreter would wait for it."""
    timer = threading.Timer(_EXIT_TIMEOUT, leave)
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # no thread can be started
        timer.start()


def _about(socket_path: Path) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "agent_id": secrets.token_hex(8),
        "version": __version__,
        "started_at": time.time(),
        "socket": os.fspath(socket_path),
        "socket_problem": None,
        "restart_refused": None,
    }


def _reload(
    table: Table, saver: Saver, refresher: Refresher, http: HttpProviders, files: FileKeeper, config_path: Path
) -> dict[str, list[str]]:
    try:
        config = load(config_path)
    except ConfigError as error:
        raise _not_in_force(str(error)) from error
    if table.config.accounts and not config_path.exists():  # an editor may be replacing it
        raise _not_in_force(f"{config_path} is gone")
    changes = table.configure(config)
    http.look_again()
    saver.read_all()
    refresher.reschedule()
    files.configure()
    _log.info("reload %s", " ".join(f"{what}={','.join(names) or '-'}" for what, names in changes.items()))
    return changes


def _not_in_force(reason: str) -> errors.Misconfigured:
    return errors.Misconfigured(
        f"{reason}; the configuration from before stays in force",
        reason=reason,
        failure="misconfigured",
        remedy=(remedies.correct_configuration(),),
    )


def _notify_of(table: Table, refresher: Refresher, work: TaskGroup) -> None:
    """Notify the service manager, if there is one, and a person whose account needs a login."""
    ManagerNotifier(table).watch(refresher)
    work.start_soon(LoginAnnouncer(table, DesktopNotifier()).run)


def _tell_ready(socket_path: Path, store_name: str | None) -> None:
    """Tell the service manager, or the command that started the agent, that it is ready; remember a store before."""
    if store_name is not None:
        remember_store(store_name, state_path(), socket_path)
    _log.info("listening socket=%s pid=%d version=%s", socket_path, os.getpid(), __version__)
    # A search for garbage stops the loop: 50 ms among all that was imported, 15 ms among what a thousand connections
    # have. So the former is left out, and the latter looked at seldom: nearly everything is freed without it.
    gc.freeze()
    gc.set_threshold(700, 2, 300)
    notify(READY)
    readiness.notify_ready()


def _reload_on_signal(reload: Callable[[], object]) -> None:
    notify(reloading())
    try:
        reload()
    except errors.Misconfigured as error:
        _log.error("reload error=%r", error.message)
    notify(READY)


def _log_uncaught(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    """Log an uncaught exception. asyncio's own report would print arguments, which may be secrets."""
    error = context.get("exception")
    _log.error("defect in=loop error=%s", place(error if isinstance(error, BaseException) else None))
