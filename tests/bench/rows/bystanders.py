"""The token of an account while something else is wrong: another account's provider, the store, silent clients."""

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent_client import Agent
from auth_agent_client.wire import Connection
from tests.bench import hanging_store
from tests.bench.comparison import P50, P99, Comparison, Figures, Measure, Row, Side, WrongResponse, at_most
from tests.bench.crowded_agent import CrowdedAgent, ProviderProcess, crowded_agent, quick_provider, until
from tests.bench.paced import Pace, percentile
from tests.bench.stage import Stage

_RATE: Final = 500.0  # requests a second for the bystander's token
_BYSTANDER: Final = "bystander"
# Accounts whose provider may hang, and accounts whose writes may. Their tokens are short, so that they need both.
_ABROAD: Final = ("abroad-1", "abroad-2")
_SAVED: Final = ("saved-1", "saved-2")
_SHORT: Final = 3  # s
_LONG: Final = 24 * 3600  # s
_WAITING: Final = 50  # clients that wait for the accounts abroad
_SILENT: Final = 500  # clients that connect and say nothing

REST: Final = "at rest"
PROVIDER: Final = "another's provider hangs"
STORE: Final = "the store hangs"
SILENT: Final = f"{_SILENT} silent clients stay"
ALL: Final = "all three at once"


@dataclass(frozen=True, slots=True)
class Town:
    """The agent, what can go wrong beside it, and the client that asks for the bystander's token.

    The store hangs while the file `hangs` exists.
    """

    agent: CrowdedAgent
    abroad: ProviderProcess
    near: ProviderProcess
    hangs: Path
    pace: Pace


@contextlib.contextmanager
def _town(stage: Stage) -> Generator[Town]:
    directory, cores = stage.directory / "bystanders", stage.cores
    directory.mkdir()
    hangs = directory / "hangs"
    environment = {**stage.environment, hanging_store.FILE: os.fspath(hangs)}
    with contextlib.ExitStack() as resources:

        def provider(name: str, lifetime: int) -> ProviderProcess:
            running = resources.enter_context(quick_provider(directory / f"{name}.log", environment, cores.load))
            running.control(lifetime=lifetime)
            return running

        home, abroad, near = provider("home", _LONG), provider("abroad", _SHORT), provider("near", _SHORT)
        homes = {_BYSTANDER: home} | dict.fromkeys(_ABROAD, abroad) | dict.fromkeys(_SAVED, near)
        agent = resources.enter_context(crowded_agent(directory, environment, cores, homes, hanging_store.WRAP))
        agent.log_in()
        pace = resources.enter_context(contextlib.closing(Pace(agent.path, [_BYSTANDER], 1)))
        yield Town(agent, abroad, near, hangs, pace)


# ---- what can go wrong; each ends when its block does

_Trouble = Callable[[Town], AbstractContextManager[None]]


@contextlib.contextmanager
def _rest(_: Town) -> Generator[None]:
    yield


@contextlib.contextmanager
def _provider_hangs(town: Town) -> Generator[None]:
    """Accounts have no valid token, their provider takes requests and answers none, and clients wait."""
    town.abroad.control(hold=1)
    try:
        with contextlib.ExitStack() as clients:
            until(lambda: town.abroad.control().held == len(_ABROAD), "no refresh is held")
            with Agent(town.agent.path) as agent:
                until(lambda: not any(map(agent.has_valid, _ABROAD)), "the tokens from before do not end")
            waiting = [clients.enter_context(_connected(town)) for _ in range(_WAITING)]
            for number, client in enumerate(waiting):
                request = {"account": _ABROAD[number % len(_ABROAD)], "timeout": 60}
                client.sendall(Connection().request("token", request)[1])
            yield
            if _is_readable(waiting[0]) or town.abroad.control().held != len(_ABROAD):
                raise WrongResponse("a client did not wait for the provider that hangs")
    finally:
        town.abroad.control(hold=0)
    until(lambda: town.abroad.control().held == 0, "requests are held")


@contextlib.contextmanager
def _store_hangs(town: Town) -> Generator[None]:
    """Sessions have been refreshed that can't be written."""
    town.hangs.touch()
    try:
        before = town.near.control().token_requests
        until(lambda: town.near.control().token_requests >= before + 2, "no refresh")
        yield
    finally:
        town.hangs.unlink()


@contextlib.contextmanager
def _silence(town: Town) -> Generator[None]:
    with contextlib.ExitStack() as clients:
        silent = [clients.enter_context(_connected(town)) for _ in range(_SILENT)]
        yield
        if _is_readable(silent[0]):
            raise WrongResponse("a silent client was disconnected too early")


@contextlib.contextmanager
def _all(town: Town) -> Generator[None]:
    with _store_hangs(town), _provider_hangs(town), _silence(town):
        yield


@contextlib.contextmanager
def _connected(town: Town) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(town.agent.path)
        yield client


def _is_readable(client: socket.socket) -> bool:
    try:
        client.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


# ---- the rows


def _side(trouble: _Trouble) -> Side:
    @contextlib.contextmanager
    def side(stage: Stage) -> Generator[Measure]:
        town = stage.shared(_town)
        yield functools.partial(_measure, town, trouble)

    return side


def _measure(town: Town, trouble: _Trouble, seconds: float) -> Figures:
    with trouble(town):
        with Agent(town.agent.path) as agent:  # connections are accepted in their order: this one comes last
            agent.has_valid(_BYSTANDER)
        answers = town.pace.drive(_RATE, seconds)
    if answers.errors:
        raise WrongResponse(f"in place of a token came {', '.join(answers.errors)}")
    return {P50: percentile(answers.latencies, 50) * 1e6, P99: percentile(answers.latencies, 99) * 1e6}


_SIDES: Final[dict[str, _Trouble]] = {
    REST: _rest,
    PROVIDER: _provider_hangs,
    STORE: _store_hangs,
    SILENT: _silence,
    ALL: _all,
}

BYSTANDER: Final = Comparison(
    {name: _side(trouble) for name, trouble in _SIDES.items()},
    [
        Row(f"token of an account while {name}, {figure}", figure, "µs", name, {REST: bar})
        for name in (PROVIDER, STORE, SILENT, ALL)
        for figure, bar in ((P99, at_most(2.0)), (P50, None))
    ],
    seconds=4.0,
    rounds=5,
    warms_up=False,
)
