"""The composition root: makes the parts, wires them, runs them until a signal, and ends them in order."""

import asyncio
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

from auth_agent import remedies
from auth_agent.config import Account, load
from auth_agent.defect import place
from auth_agent.errors import ConfigError, StartupError
from auth_agent.host import readiness
from auth_agent.host.clock import Clock
from auth_agent.host.restart import check_program, restart
from auth_agent.host.signals import Signals
from auth_agent.host.systemd import READY, STOPPING, inherited_socket, notify, reloading
from auth_agent.ipc.handlers import Handlers
from auth_agent.ipc.listener import Listener
from auth_agent.ipc.policy import Policy
from auth_agent.ipc.server import Server
from auth_agent.ipc.usage import Usage
from auth_agent.oauth.provider import HttpProviders, Provider, trusted_certificates
from auth_agent.oauth.signature import WorkerSignatures
from auth_agent.sessions.heart import Heart
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.saver import UNREAD, Saver
from auth_agent.sessions.table import Table
from auth_agent.storage.state_directory import state_path
from auth_agent.storage.store import Store, StoreError
from auth_agent.storage.stores import DEFAULT, open_store
from auth_agent_client import __version__, errors
from auth_agent_client.remedy import remedies_to_wire

_log = logging.getLogger(__name__)

_LEAVE_WITHIN = 2.0  # s, after all is done
_FAREWELL = 2.0  # s, for the worker's end; one whose keyring hangs ends by itself
_ENDS = (signal.SIGTERM, signal.SIGINT)
_RELOAD = signal.SIGHUP
_RESTART = signal.SIGUSR1


async def serve(
    config_path: Path,
    socket_path: Path,
    store_name: str = DEFAULT,
    *,
    wrap: Callable[[Callable[[Account], Provider]], Callable[[Account], Provider]] = lambda providers: providers,
    wrap_store: Callable[[Store], Store] = lambda store: store,
    clock: Clock | None = None,
) -> bool:
    """Be the agent, until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    SIGUSR1 ends it as well, and asks the caller to begin a new one in its process: whether that is so is returned.

    Args:
        config_path: the configuration file.
        socket_path: where to listen, if no socket was inherited.
        store_name: the store that keeps the sessions, by its name.
        wrap: stands between the sessions and their providers.
        wrap_store: stands between the sessions and their store.
        clock: the machine's, by default.

    Raises:
        StartupError: the configuration or the socket's place can't be used, or another agent has the store; nothing
            was begun.

    """
    config = load(config_path)
    http = HttpProviders(trusted_certificates())
    inherited = inherited_socket()
    if inherited is not None:
        socket_path = Path(os.fsdecode(inherited.getsockname()))
    opened = open_store(store_name, state_path(), socket_path)
    store = wrap_store(opened.store)
    # Signals are received to the very end: a second SIGTERM must not cut short what the first one lets finish.
    with Listener(socket_path, inherited) as listener, Signals(*_ENDS, _RELOAD, _RESTART) as signals:
        table = Table(config, clock or Clock(), unread=UNREAD if store.persistent else None)
        saver, signatures = Saver(table, store, opened.journal), WorkerSignatures()
        heart = Heart(table, saver, wrap(http), signatures)
        refresher, logins = heart.refresher, heart.logins
        reload = partial(_reload, table, saver, refresher, config_path)
        about = _about(listener.path)
        asyncio.get_running_loop().set_exception_handler(_report)
        asked = signal.SIGTERM  # a type checker can't know that the groups below swallow nothing
        async with anyio.create_task_group() as work:
            heart.run_in(work)
            handlers = Handlers(
                table,
                refresher,
                heart.background,
                logins,
                saver,
                heart.profiles,
                heart.users,
                Policy(),
                Usage(),
                about,
                reload,
            )
            server = Server(listener.socket, handlers, work)
            accepting = _Stoppable(server.run)
            async with anyio.create_task_group() as front:
                front.start_soon(refresher.run)
                work.start_soon(accepting.run)
                _log.info("listening socket=%s pid=%d version=%s", listener.path, os.getpid(), __version__)
                _tell_ready()  # before the keyring is touched: that may take as long as it likes
                saver.read_all()
                asked = await _until_stopped(
                    signals, partial(_try, reload), partial(_may_restart, config_path, saver, about)
                )
                front.cancel_scope.cancel()
            # No refresh begins from here on; what is in flight comes to its end, and clients get their answers.
            logins.call_all_off()
            if asked is _RESTART:
                await heart.background.drain()  # new clients are served meanwhile: soon they will be again
                await accepting.stop()
                listener.hand_over()
            else:
                notify(STOPPING)
                await accepting.stop()
                listener.stop()
                await heart.background.drain()
            await server.close()
            work.cancel_scope.cancel()
        await http.aclose()
        with anyio.move_on_after(_FAREWELL):
            await store.release()
            await signatures.release()
        # Until here a signal to end was only noted, and comes before the restart; from here on it ends the process.
        restarts = asked is _RESTART and not signals.release(*_ENDS)
        _log.info("restarting" if restarts else "stopped")
    _leave_soon(restart if restarts else lambda: os._exit(0))
    return restarts


class _Stoppable:
    """Work in a task of its own, which somebody may stop, and go on when it has stopped."""

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
    """Wait for the signal to end, or to restart where that can be done."""
    while True:
        signum = await signals.next()
        if signum is _RELOAD:
            reload()
        elif signum is not _RESTART or await may_restart():
            _log.info("stopping signal=%s", signum.name)
            return signum


async def _may_restart(config_path: Path, saver: Saver, about: dict[str, object]) -> bool:
    """Whether an agent that begins now would serve what this one does; if not, this one says why, and goes on."""
    try:
        load(config_path)
        check_program()
        await saver.check()
    except (StartupError, StoreError) as error:
        refused = {"at": time.time(), "reason": str(error), "remedy": remedies_to_wire(error.remedy)}
        about["restart_refused"] = refused
        _log.error("restart refused=%r", str(error))
        return False
    return True


def _leave_soon(leave: Callable[[], object]) -> None:
    """Leave although a name is still being looked up: the loop would wait for that, for minutes."""
    timer = threading.Timer(_LEAVE_WITHIN, leave)
    timer.daemon = True
    timer.start()


def _about(socket_path: Path) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "agent_id": secrets.token_hex(8),
        "version": __version__,
        "started_at": time.time(),
        "socket": os.fspath(socket_path),
        "locked": False,
        "restart_refused": None,
    }


def _reload(table: Table, saver: Saver, refresher: Refresher, config_path: Path) -> dict[str, list[str]]:
    try:
        config = load(config_path)
    except ConfigError as error:
        raise _not_in_force(str(error)) from error
    if table.config.accounts and not config_path.exists():  # an editor may be about to put it there
        raise _not_in_force(f"{config_path} is gone")
    changes = table.configure(config)
    saver.read_all()
    refresher.reschedule()
    _log.info("reload %s", " ".join(f"{what}={','.join(names) or '-'}" for what, names in changes.items()))
    return changes


def _not_in_force(reason: str) -> errors.Misconfigured:
    return errors.Misconfigured(
        f"{reason}; the configuration from before stays in force",
        reason=reason,
        failure="misconfigured",
        remedy=(remedies.correct_configuration(),),
    )


def _tell_ready() -> None:
    """Tell who started the agent, a service manager or `auth-agent login`, that it serves."""
    notify(READY)
    readiness.tell()


def _try(reload: Callable[[], object]) -> None:
    notify(reloading())
    try:
        reload()
    except errors.Misconfigured as error:
        _log.error("reload error=%r", error.message)
    notify(READY)


def _report(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    """What no task could catch. asyncio's own report would print what the callback was given."""
    error = context.get("exception")
    _log.error("defect in=loop error=%s", place(error if isinstance(error, BaseException) else None))
