"""The components that act on sessions, with the account `work` and a fake provider."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from auth_agent.config import Account
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.heart import Heart
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.store import Store
from auth_agent_client import errors
from tests.agent.world import FakeClock, FakeProvider, FakeSealedEntries, FakeSignatures, config


class World(Heart):
    """The components that act on sessions, with the account `work` and its provider."""

    def __init__(self, provider: FakeProvider, *accounts: Account, store: Store | None = None) -> None:
        self.provider = provider
        self.by_issuer: dict[str, FakeProvider] = {}  # for tests with several providers
        self.signatures = FakeSignatures()
        self.clock = FakeClock(running=True)
        table = Table(config(*accounts), self.clock, chance=lambda: 0.5)
        saver = Saver(table, store or MemoryStore(), Journal(None))
        super().__init__(table, saver, self.provider_for, self.signatures, FakeSealedEntries, lambda: 0.5)
        self.session: Session = table.session("work")

    def provider_for(self, account: Account) -> FakeProvider:
        return self.by_issuer.get(account.issuer, self.provider)

    async def log_in(
        self, refresh_token: str = "rt-1", *, switch_user: bool = False, name: str = "work"
    ) -> dict[str, object]:
        session = self.table.session(name)
        return await self.logins.import_refresh_token(session, Secret(refresh_token), switch_user=switch_user)

    async def token(self, demand: Demand | None = None, *, timeout: float = 15) -> str:
        if demand is not None and self.session.record_demand(demand.key, demand.min_ttl, self.clock.now()):
            self.refresher.reschedule()
        token = await self.refresher.token(self.session, demand or Demand(), Asker(), timeout)
        return token.value.reveal()


@asynccontextmanager
async def running(
    provider: FakeProvider | None = None, *accounts: Account, logged_in: bool = True, store: Store | None = None
) -> AsyncGenerator[World]:
    world = World(provider or FakeProvider(), *accounts, store=store)
    async with anyio.create_task_group() as tasks:
        world.run_in(tasks)
        tasks.start_soon(world.refresher.run)
        await anyio.wait_all_tasks_blocked()
        if logged_in:
            await world.log_in()
        yield world
        tasks.cancel_scope.cancel()


async def all_of(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Run the calls concurrently; return their results or error codes, in the order in which they finish."""
    results: list[object] = []

    async def run(call: Callable[[], Awaitable[object]]) -> None:
        try:
            results.append(await call())
        except errors.AgentError as error:
            results.append(error.code)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(run, call)
    return results
