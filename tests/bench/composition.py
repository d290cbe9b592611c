"""The agent's parts in this process, wired as the daemon does it: with the memory store, and without a socket."""

import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from auth_agent.config import load
from auth_agent.errors import StartupError
from auth_agent.files.disk import TokenDisk
from auth_agent.files.keeper import FileKeeper
from auth_agent.files.ledger import Ledger
from auth_agent.host.clock import Clock
from auth_agent.host.event_loop import EventLoop
from auth_agent.ipc.handlers import Handlers
from auth_agent.ipc.policy import Policy
from auth_agent.ipc.server import Server
from auth_agent.ipc.usage import Usage
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.providers import HttpProviders
from auth_agent.oauth.signature import WorkerSignatures
from auth_agent.proxies import environment_proxies
from auth_agent.sessions.heart import Heart
from auth_agent.sessions.saver import UNREAD, Saver
from auth_agent.sessions.store_move import StoreMove
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.sealed_memory import SealedMemory
from auth_agent.storage.stores import OpenStore
from tests.bench.accounts import DAY, configuration, names, stored_session


@dataclass(frozen=True, slots=True)
class Composition:
    """The agent's parts, with a session for each account."""

    heart: Heart
    server: Server


@contextmanager
def composed(directory: Path, accounts: int, lifetime: float = DAY) -> Generator[tuple[BlockingPortal, Composition]]:
    """Run the parts during the block, in the agent's event loop in a thread of its own.

    Args:
        directory: where the configuration goes.
        accounts: how many sessions there are.
        lifetime: for how many seconds their tokens are valid.

    """
    with (
        start_blocking_portal("asyncio", {"loop_factory": EventLoop}) as portal,
        portal.wrap_async_context_manager(_composed(directory, accounts, lifetime)) as composition,
    ):
        yield portal, composition


@asynccontextmanager
async def _composed(directory: Path, accounts: int, lifetime: float) -> AsyncGenerator[Composition]:
    config = directory / f"{accounts}.toml"
    config.write_text(configuration(names(accounts)), encoding="utf-8")
    clock = Clock()
    table = Table(load(config), clock, unread=UNREAD)
    opened = OpenStore(MemoryStore(), Journal(None), ())
    saver = Saver(table, opened.store, opened.journal)
    http = HttpProviders(trusted_certificates(), environment_proxies(os.environ), clock)
    heart = Heart(table, saver, http, WorkerSignatures(), SealedMemory)
    path = directory / "agent.sock"
    files = FileKeeper(table, heart.refresher, TokenDisk(Ledger(directory, path)))
    for name, session in table.sessions.items():
        session.restore(stored_session(name, clock.now(), lifetime), clock.now())
        table.publish(name)
    store_move = StoreMove(table, saver, heart.refresher, opened, _no_other_store, lambda _: None)
    handlers = Handlers(heart, Policy(), Usage(), store_move, files, {}, dict[str, list[str]])
    with socket.socket(socket.AF_UNIX) as unused:
        async with anyio.create_task_group() as work:
            http.run_in(work)
            heart.run_in(work)
            work.start_soon(heart.refresher.run)
            work.start_soon(files.run)
            await anyio.wait_all_tasks_blocked()
            yield Composition(heart, Server(unused, handlers, work, clock))
            work.cancel_scope.cancel()


def _no_other_store(name: str, _: str) -> OpenStore:
    raise StartupError(f"the benchmark has no store {name}")
