"""A storm: sessions, clients, bad weather at the providers, and an agent that is restarted."""

import contextlib
import os
import random
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from auth_agent_client import AgentError, Token, Unavailable
from tests.bench.processes import memory
from tests.faults.checkpoint import Checkpoint, check, new_client
from tests.faults.client import Place
from tests.faults.crowd import Crowd, Group, running_crowd
from tests.faults.verdict import Evidence, Footprint, Life, Restart
from tests.faults.weather import OVERLAP, blow, forecast
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import Flavor, OpenIDProvider

# Seconds of the lifetime of access tokens: of the first provider, and the range of the second.
_LIFETIME: Final = 5
_LIFETIMES: Final = (6, 15)
# The first one's tokens are JWTs with a readable expiry; the second one's are opaque, and end with their session.
_FLAVORS: Final[Sequence[Flavor]] = ("auth0", "plain")
_AUDIENCES: Final[Sequence[Mapping[str, str]]] = ({"audience": "https://api.example/"}, {})
_PROVIDERS: Final = 2
# Seconds until the backoff of the last fault is over and a refresh has succeeded, on a busy machine.
_CLEARING: Final = 90.0
# Sessions that are judged concurrently: each may have to wait for the rate limit.
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a storm is; times are in seconds.

    `life` is how long an agent runs, `warm` when its memory is measured first, `longest` the longest spell of weather;
    `again` is the command that repeats the storm with a seed.
    """

    again: str
    sessions: int
    clients: int
    processes: int
    seconds: float
    life: float
    warm: float
    longest: float


class Storm:
    """One storm; `run` runs it."""

    def __init__(self, scale: Scale, seed: int) -> None:
        self._scale = scale
        self._seed = seed
        self._lifetimes = (_LIFETIME, random.Random(f"lifetime {seed}").randint(*_LIFETIMES))
        self._homes = {f"account-{number}": number % _PROVIDERS for number in range(scale.sessions)}
        self._lives: list[Life] = []
        self._restarts: list[Restart] = []

    @property
    def heading(self) -> str:
        """The storm's size, and the command that repeats it."""
        scale = self._scale
        lifetimes = " and ".join(str(lifetime) for lifetime in self._lifetimes)
        return (
            f"A storm of {scale.seconds:g} s: {scale.sessions} sessions at two providers with tokens of {lifetimes} s, "
            f"{scale.clients} clients, an agent every {scale.life:g} s.\n"
            f"The same weather again: {scale.again.format(seed=self._seed)}"
        )

    def run(self) -> Evidence:
        """Run the storm, and return the evidence."""
        with contextlib.ExitStack() as stack:
            providers = [stack.enter_context(self._provider(number)) for number in range(_PROVIDERS)]
            keyring = stack.enter_context(KeyringSession())
            agent = stack.enter_context(self._agent(providers, keyring))
            self._log_in(agent, providers)
            before = _footprint(agent)
            places = [
                Place(name, self._lifetimes[home], Checkpoint.of(providers[home])) for name, home in self._homes.items()
            ]
            with running_crowd(self._groups(agent, places)) as crowd:
                with self._weather(providers):
                    self._live(agent, crowd)
                tally = crowd.finish()
            return Evidence(
                heading=self.heading,
                sessions=_problems_of(agent, places),
                clients=self._scale.clients,
                tally=tally,
                ledgers={key: row for provider in providers for key, row in provider.ledger().items()},
                faults=_sum([provider.happened() for provider in providers]),
                restarts=self._restarts,
                lives=self._lives,
                before=before,
                after=_at_rest(agent, before),
                complaints=agent.logged("defect|Traceback|Warning|unsaved|outcome=ended"),
                log=agent.log,
            )

    def _provider(self, number: int) -> OpenIDProvider:
        lifetime = self._lifetimes[number]
        return OpenIDProvider(flavor=_FLAVORS[number], access_token_lifetime=lifetime, overlap=OVERLAP)

    def _agent(self, providers: Sequence[OpenIDProvider], keyring: KeyringSession) -> AgentProcess:
        accounts = {name: account(providers[home], **_AUDIENCES[home]) for name, home in self._homes.items()}
        # At debug level, its log would be most of what is written here.
        return AgentProcess(accounts, environment={**keyring.environment, "AUTH_AGENT_LOG": "info"}, store="keyring")

    def _log_in(self, agent: AgentProcess, providers: Sequence[OpenIDProvider]) -> None:
        for name, home in self._homes.items():
            with agent.client() as client:
                log_in(client, providers[home], name, user=f"auth0|{name}", **_AUDIENCES[home])

    def _groups(self, agent: AgentProcess, places: list[Place]) -> list[Group]:
        each = self._scale.clients // self._scale.processes
        return [
            Group(str(agent.socket), f"{self._seed} {number}", each, places) for number in range(self._scale.processes)
        ]

    @contextlib.contextmanager
    def _weather(self, providers: Sequence[OpenIDProvider]) -> Generator[None]:
        """Simulate weather at each provider during the block, at most."""
        over, scale = threading.Event(), self._scale
        with ThreadPoolExecutor(len(providers)) as pool:
            blowing = [
                pool.submit(blow, forecast(f"{self._seed} {number}", scale.seconds, scale.longest), provider, over)
                for number, provider in enumerate(providers)
            ]
            try:
                yield
            finally:
                over.set()
        for future in blowing:
            future.result()

    def _live(self, agent: AgentProcess, crowd: Crowd) -> None:
        """Run one agent after the other until the time is over."""
        scale, end = self._scale, time.monotonic() + self._scale.seconds
        while True:
            began = time.monotonic()
            last = end - began <= scale.life
            time.sleep(scale.warm)
            warm = _footprint(agent)
            time.sleep(max(0.0, min(end, began + scale.life) - time.monotonic()))
            assert agent.process.poll() is None, f"the agent ended by itself:\n{agent.log[-2000:]}"
            assert crowd.is_at_work, "a process of the crowd ended by itself"
            self._lives.append(Life(warm, _footprint(agent)))
            if last:
                return
            self._restart(agent)

    def _restart(self, agent: AgentProcess) -> None:
        signalled_at = time.time()
        code = agent.terminate()
        ended_at = time.time()
        agent.start()
        until(agent.answers)
        self._restarts.append(Restart(signalled_at, ended_at, time.time(), code))


# ---- measurements


def _footprint(agent: AgentProcess) -> Footprint:
    pid = agent.process.pid
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 -- names
    except OSError:  # not Linux, or not root, who alone may read the agent's
        descriptors = None
    return Footprint(memory(pid), descriptors)


def _at_rest(agent: AgentProcess, before: Footprint) -> Footprint:
    """Return the footprint once no more descriptors are open than before, or after a time-out."""

    def is_at_rest() -> bool:
        return (_footprint(agent).descriptors or 0) <= (before.descriptors or 0)

    with contextlib.suppress(AssertionError):
        until(is_at_rest)
    return _footprint(agent)


# ---- the sessions afterwards


def _problems_of(agent: AgentProcess, places: Sequence[Place]) -> dict[str, str | None]:
    """Return the problem of each session in calm; None if it has none."""
    with new_client() as http, ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = pool.map(partial(_problem, agent, http), places)
        return {place.account: problem for place, problem in zip(places, problems, strict=True)}


def _problem(agent: AgentProcess, http: httpx.Client, place: Place) -> str | None:
    """Return the problem if it is not ready, its token is invalid, or a refresh brings no new one."""

    def current_record() -> dict[str, object]:
        with agent.client() as client:
            return record(client, place.account)

    try:
        with contextlib.suppress(AssertionError):
            until(lambda: current_record()["state"] == "ready" and current_record()["renewal"] == "idle", _CLEARING)
        session_record = current_record()
        if session_record["state"] != "ready":
            return f"it is {session_record['state']}: {session_record['reason']}"
        with agent.client() as client:
            token = client.token(place.account)
        newer = _refreshed(agent, place.account)
        if newer.access_token == token.access_token:
            return "a refresh brought nothing"
        checked = check(http, place.checkpoint, newer.access_token)
    except AgentError as error:
        return f"{error.code}: {error.message}"
    is_good = checked.alive or checked.answered_at >= (
        newer.expires_at or 0.0
    )  # on a machine so slow that the token expired
    return None if is_good else "the provider doesn't take its token"


def _refreshed(agent: AgentProcess, name: str) -> Token:
    """Refresh, now or once the rate limit allows it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with agent.client() as client:
            try:
                return client.refresh(name)
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(min(error.retry_after or 0.1, 10.0))


def _sum(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {kind: sum(one.get(kind, 0) for one in counts) for one in counts for kind in one}
