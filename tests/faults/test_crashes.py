"""The agent, or its worker, dies at every step of a refresh and of a login; what is then there, the provider says.

What nothing can save stands here, too:

- A reply to a refresh that was lost after the provider rotated: at a provider without a rotation overlap, the session
  is over. The same where the agent dies before its keyring has the new refresh token.
- A login whose tokens were not in the keyring when the agent died is to be done again; the session before it is there
  as it was. What the provider granted to the lost one stays granted there, since nobody knows it any more.
- The same for an import; and the refresh token that was imported is used up by then: only a provider with an overlap
  takes it again.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from auth_agent_client import (
    Agent,
    AgentError,
    AgentNotRunning,
    ConnectionLost,
    InvalidRequest,
    LoginRequired,
    Unavailable,
)
from tests.faults.traps import FILE, WRAPS, Trap, TrapFile
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import OpenIDProvider, Presented, fingerprint

TRAPPED = (sys.executable, "-W", "error", "-m", "tests.faults.launcher", *WRAPS)
NEIGHBOUR = "neighbour"
ALICE, BOB = "auth0|alice", "auth0|bob"
OVERLAP = 60

# What a client is promised to wait for the keyring, in seconds; and what it may take besides on a machine that is busy
# with other things. A worker that hangs is given up after five: whoever waited for that would come too late.
STORE_WAIT, SLACK = 1.0, 3.0

Providers = dict[bool, OpenIDProvider]


class Reach(Enum):
    """How far new tokens had come when the agent died."""

    NOWHERE = "nothing was sent"
    PROVIDER = "the provider granted them, and its reply did not arrive"
    AGENT = "the agent had them, its keyring had not"
    KEYRING = "the keyring had them, or was bound to get them"


@dataclass(frozen=True, slots=True)
class Moment:
    """When the agent is killed.

    By the trap, if there is one; or else by the test: when the request is with the provider, if nothing arrived from
    there; or else when the client has its answer. `keyring` is what that does meanwhile. `worker`: it dies, too.
    """

    told: str
    reach: Reach
    trap: Trap | None = None
    keyring: Literal["works", "hangs", "is locked"] = "works"
    worker: bool = False


WRITING = [
    Moment("before the keyring's write", Reach.AGENT, Trap("write:before")),
    Moment("in the middle of the keyring's write", Reach.KEYRING, Trap("write:middle"), "hangs"),
    Moment(
        "in the middle of the keyring's write, and its worker too", Reach.AGENT, Trap("write:middle"), "hangs", True
    ),
    Moment("after the keyring's write", Reach.KEYRING, Trap("write:after")),
]
SAVED_NOTE = [
    Moment("in the middle of the note that it is saved", Reach.KEYRING, Trap("note:middle", passes=2)),
    Moment("after the note that it is saved", Reach.KEYRING, Trap("note:after", passes=2)),
]
ANSWERED = [
    Moment("after the answer", Reach.KEYRING),
    Moment("after the answer, while the keyring hangs", Reach.KEYRING, keyring="hangs"),
    Moment("after the answer, while the keyring is locked", Reach.AGENT, keyring="is locked"),
]
REFRESH = [
    Moment("before the note of its intent", Reach.NOWHERE, Trap("note:before")),
    Moment("in the middle of the note of its intent", Reach.NOWHERE, Trap("note:middle")),
    Moment("after the note of its intent", Reach.NOWHERE, Trap("note:after")),
    Moment("before the request", Reach.NOWHERE, Trap("refresh_token:before")),
    Moment("after the request", Reach.PROVIDER),
    Moment("after the reply", Reach.AGENT, Trap("refresh_token:after")),
    *WRITING,
    *SAVED_NOTE,
    *ANSWERED,
]
REVOKING = [
    Moment("before the old session is revoked", Reach.KEYRING, Trap("revoke:before")),
    Moment("after the old session was revoked", Reach.KEYRING, Trap("revoke:after")),
]
BROWSER = [
    Moment("before the code is sent", Reach.NOWHERE, Trap("authorization_code:before")),
    Moment("after the code was sent", Reach.PROVIDER),
    Moment("after the reply", Reach.AGENT, Trap("authorization_code:after")),
    Moment("before its ID token is checked", Reach.AGENT, Trap("keys:before")),
    *WRITING,
    *ANSWERED,
]
DEVICE = [
    Moment("after the reply", Reach.AGENT, Trap("device_code:after")),
    *WRITING[::3],
    ANSWERED[0],
]
IMPORT = [
    Moment("before the request", Reach.NOWHERE, Trap("refresh_token:before")),
    Moment("after the request", Reach.PROVIDER),
    Moment("after the reply", Reach.AGENT, Trap("refresh_token:after")),
    Moment("before the note of what it used up", Reach.AGENT, Trap("note:before")),
    Moment("after the note of what it used up", Reach.AGENT, Trap("note:after")),
    *WRITING,
    *SAVED_NOTE,
    *ANSWERED,
]


def moments(*of: Moment) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("moment", of, ids=[f"killed {moment.told}" for moment in of])


def each_where_it_matters(*of: Moment) -> pytest.MarkDecorator:
    """With an overlap only what that can save."""
    cases = [
        pytest.param(moment, overlap, id=f"killed {moment.told}-{'with' if overlap else 'without'} an overlap")
        for moment in of
        for overlap in (True, False)
        if not overlap or moment.reach in {Reach.PROVIDER, Reach.AGENT}
    ]
    return pytest.mark.parametrize(("moment", "overlap"), cases)


@pytest.fixture(scope="module")
def providers() -> Generator[Providers, None, None]:
    """One with a rotation overlap, and one without."""
    with ExitStack() as stack:
        yield {
            bool(seconds): stack.enter_context(
                OpenIDProvider(access_token_lifetime=3600, overlap=seconds, device_interval=1)
            )
            for seconds in (OVERLAP, 0)
        }


@pytest.fixture(scope="module")
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session:
        yield session


class Stage:
    """An agent with the account `work`, and what it has to do with."""

    def __init__(self, agent: AgentProcess, keyring: KeyringSession, provider: OpenIDProvider) -> None:
        self.agent = agent
        self.keyring = keyring
        self.provider = provider
        self.trap = TrapFile(agent.home / "trap")
        agent.environment[FILE] = str(self.trap.path)

    @contextmanager
    def the_keyring(self, does: str) -> Generator[None, None, None]:
        """The keyring works, hangs or is locked, and in the end works again."""
        if does == "hangs":
            self.keyring.freeze()
        elif does == "is locked":
            self.keyring.lock()
        try:
            yield
        finally:
            if does == "hangs":
                self.keyring.thaw()
            elif does == "is locked":
                self.keyring.unlock()

    def killed(self, moment: Moment, ask: Callable[[Agent], object]) -> object:
        """What a client gets that asks, while the agent is killed at that moment; an error, if that is what it gets."""
        self.provider.reset()
        workers = self.workers()
        with self.agent.client() as client, self.the_keyring(moment.keyring), ThreadPoolExecutor(1) as clients:
            if moment.trap is not None:
                self.trap.set(moment.trap)
            elif moment.reach is Reach.PROVIDER:
                self.provider.fault("delay-after", ms=60_000)
            asked = clients.submit(ask, client)
            if moment.trap is not None:
                assert self.agent.process.wait(PATIENCE) == -signal.SIGKILL
            elif moment.reach is Reach.PROVIDER:
                until(lambda: asked.done() or self.is_asked())
            else:
                until(asked.done)
            self.agent.kill()
            if moment.worker:
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
            error = asked.exception(PATIENCE)
        self.trap.take_away()
        if error is not None and not isinstance(error, AgentError):
            raise error
        return error or asked.result()

    def workers(self) -> list[int]:
        """The agent's worker for the keyring, if there is one: who holds its lock, or waits for it."""
        lock = self.agent.home / ".local" / "state" / "auth-agent" / "worker.lock"
        if not lock.exists():
            return []
        inode = str(lock.stat().st_ino)
        # `ID: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`, with an arrow after the ID for who waits: proc(5).
        locks = [line.split()[-4:-2] for line in Path("/proc/locks").read_text().splitlines()]
        return [int(pid) for pid, file in locks if file.rpartition(":")[2] == inode]

    def is_asked(self) -> bool:
        """Whether a request for tokens is with the provider, to its last byte."""
        return any(request.grant_type is not None for request in self.provider.requests(self.provider.token_path))

    def restart(self) -> None:
        """Start a plain agent in its place."""
        self.agent.command = COMMAND
        self.agent.start()

    def ledger(self) -> dict[str, Presented]:
        return self.provider.ledger()


@pytest.fixture
def overlap() -> bool:
    """Whether the provider has one, where that makes no difference."""
    return False


@pytest.fixture
def executed() -> bool:
    """Whether the agent and its workers are executed, and the workers are its children."""
    return False


@pytest.fixture
def stage(overlap: bool, executed: bool, providers: Providers, keyring: KeyringSession) -> Generator[Stage, None, None]:
    """A trapped agent; the keyring is a new one as far as it is concerned."""
    provider = providers[overlap]
    provider.reset()
    accounts = {name: account(provider, redirect_ports=[0]) for name in ("work", NEIGHBOUR)}
    with AgentProcess(
        accounts,
        environment=keyring.environment,
        command=TRAPPED,
        store="keyring",
        started=False,
        executed=executed,
    ) as agent:
        stage = Stage(agent, keyring, provider)
        agent.start()
        yield stage
        with agent.client() as client:
            for name in accounts:
                client.logout(name)  # and so it is, for the next one


# ---- what is asked


def refresh(client: Agent) -> str:
    return client.refresh("work").access_token


def log_in(provider: OpenIDProvider, client: Agent, name: str = "work", user: str = ALICE) -> dict[str, object]:
    """Log in by a browser, in the place of whoever was; what the agent says of it in the end."""
    login = client.call("login", {"account": name, "flow": "browser", "switch_user": True})
    with suppress(httpx.TransportError):  # who answers the browser is killed, perhaps
        provider.enter(str(login["authorization_url"]), user)
    return client.call("login_result", {"login_id": login["login_id"]})


def log_in_elsewhere(provider: OpenIDProvider, client: Agent) -> dict[str, object]:
    """Log in on another device."""
    login = client.call("login", {"account": "work", "flow": "device"})
    provider.approve(str(login["verification_uri_complete"]))
    return client.call("login_result", {"login_id": login["login_id"]})


def is_saved(client: Agent, name: str = "work") -> bool:
    return record(client, name)["saved"] is True


def is_calm(client: Agent) -> bool:
    """Whether no refresh is due, or in flight, and all is saved."""
    return record(client)["renewal"] == "idle" and is_saved(client)


def begun(stage: Stage, name: str = "work") -> str:
    """Log in, and wait until that is saved; the access token."""
    with stage.agent.client() as client:
        log_in(stage.provider, client, name)
        until(lambda: is_saved(client, name))
        return client.token(name).access_token


def is_accepted(provider: OpenIDProvider, access_token: str) -> bool:
    return provider.userinfo(access_token).status_code == 200


def serves(stage: Stage, client: Agent) -> str:
    """The token that is served is good, and so is the next one, and that is saved; the first of them."""
    first = client.token("work", timeout=PATIENCE).access_token
    until(lambda: is_calm(client))
    assert is_accepted(stage.provider, client.token("work").access_token)
    assert is_accepted(stage.provider, refresh(client))
    assert record(client)["state"] == "ready"
    until(lambda: is_saved(client))
    return first


def was_told(answer: object, moment: Moment) -> bool:
    """Whether the client was told that it is done; or else, that the agent has gone."""
    if moment in ANSWERED:
        assert not isinstance(answer, AgentError)
        return True
    assert isinstance(answer, ConnectionLost | AgentNotRunning), answer
    return False


def refresh_token(stage: Stage) -> str:
    """The fingerprint of the refresh token in the keyring."""
    entry: dict[str, Any] = json.loads(stage.keyring.read() or "{}")
    return fingerprint(entry["login"]["refresh_token"])


# ---- a refresh


@each_where_it_matters(*REFRESH)
def test_a_refresh_loses_nothing_that_the_provider_would_give_again(
    moment: Moment, overlap: bool, stage: Stage
) -> None:
    old = begun(stage)
    presented = refresh_token(stage)
    was_told(stage.killed(moment, refresh), moment)
    stage.restart()
    is_owed = moment.reach in {Reach.PROVIDER, Reach.AGENT}
    with stage.agent.client() as client:
        if is_owed and not overlap:
            is_over(stage, client)
        else:
            # Without being asked to: the overlap may be over before somebody asks.
            until(lambda: not is_owed or client.token("work").access_token != old)
            serves(stage, client)
            assert others(stage, presented) <= {Presented(1, 1)}
    # What was owed is asked for again, once; and nothing that was saved is, ever.
    assert stage.ledger()[presented].presented == (2 if is_owed else 1)
    got = (moment.reach is not Reach.PROVIDER) + (is_owed and overlap)
    assert stage.ledger()[presented].succeeded == got


def others(stage: Stage, presented: str) -> set[Presented]:
    return {row for one, row in stage.ledger().items() if one != presented}


def is_over(stage: Stage, client: Agent) -> None:
    """The provider has ended the session, and that is said, and all that comes of it; until the next login."""
    until(lambda: record(client)["state"] == "login_required")
    over = record(client)
    assert str(over["reason"]).startswith("invalid_grant")
    until(lambda: is_saved(client))
    asked = stage.provider.count(stage.provider.token_path)
    stage.agent.kill()
    stage.agent.start()
    for _ in range(3):
        with pytest.raises(LoginRequired) as refused:
            client.token("work")
        assert refused.value.reason == over["reason"]
    assert stage.provider.count(stage.provider.token_path) == asked
    log_in(stage.provider, client)
    serves(stage, client)


# ---- a login


@moments(*BROWSER, *REVOKING)
def test_a_login_leaves_the_new_session_or_the_old_one(moment: Moment, stage: Stage) -> None:
    old = begun(stage)
    answer = stage.killed(moment, partial(log_in, stage.provider, user=who(moment)))
    told = was_told(answer, moment)
    stage.restart()
    with stage.agent.client() as client:
        is_the_old_one = serves(stage, client) == old
        assert is_the_old_one is (moment.reach is not Reach.KEYRING)
        assert not (told and is_the_old_one) or is_unsaved(answer)
        log_in(stage.provider, client)
        serves(stage, client)
    assert set(stage.ledger().values()) == {Presented(1, 1)}


def who(moment: Moment) -> str:
    """Whose session replaces Alice's: to revoke hers might end another one of hers."""
    return BOB if moment in REVOKING else ALICE


@moments(*BROWSER)
def test_a_first_login_is_there_or_can_be_done_again(moment: Moment, stage: Stage) -> None:
    begun(stage, NEIGHBOUR)
    answer = stage.killed(moment, partial(log_in, stage.provider))
    told = was_told(answer, moment)
    stage.restart()
    is_there(stage, moment, told=told and not is_unsaved(answer))


@moments(*DEVICE)
def test_a_login_on_another_device_is_there_or_can_be_done_again(moment: Moment, stage: Stage) -> None:
    answer = stage.killed(moment, partial(log_in_elsewhere, stage.provider))
    told = was_told(answer, moment)
    stage.restart()
    is_there(stage, moment, told=told)


def is_unsaved(answer: object) -> bool:
    """Whether the client was told that what is done isn't saved."""
    return isinstance(answer, dict) and answer["saved"] is False


def is_there(stage: Stage, moment: Moment, *, told: bool) -> None:
    """The login is there, if the keyring has it, and surely if that was told; or else, can be done again."""
    with stage.agent.client() as client:
        until(lambda: record(client)["state"] != "locked")
        state = record(client)["state"]
        assert state == ("ready" if moment.reach is Reach.KEYRING else "logged_out")
        assert not told or state == "ready"
        if state == "logged_out":
            log_in(stage.provider, client)
        serves(stage, client)
    assert set(stage.ledger().values()) == {Presented(1, 1)}


# ---- an import


@each_where_it_matters(*IMPORT, *REVOKING)
def test_an_import_leaves_the_new_session_or_the_old_one(moment: Moment, overlap: bool, stage: Stage) -> None:
    old = begun(stage)
    told, imported = bring_in(stage, moment)
    stage.restart()
    with stage.agent.client() as client:
        served = client.token("work", timeout=PATIENCE).access_token
        is_the_old_one = served == old
        assert is_the_old_one is (moment.reach is not Reach.KEYRING)
        assert is_accepted(stage.provider, served)
        assert not (told and is_the_old_one)
        bring_in_again(client, moment, imported, overlap=overlap)
        serves(stage, client)
    assert others(stage, fingerprint(imported)) == {Presented(1, 1)}


def bring_in(stage: Stage, moment: Moment) -> tuple[bool, str]:
    """Import a refresh token, and be killed; whether the client was told that it is saved, and the token."""
    imported = stage.provider.login(who(moment)).refresh_token
    assert imported is not None
    answer = stage.killed(moment, lambda client: client.import_refresh_token(imported, "work", switch_user=True))
    return was_told(answer, moment) and not is_unsaved(answer), imported


def bring_in_again(client: Agent, moment: Moment, imported: str, *, overlap: bool) -> None:
    """It can be done again where it was not used up, or the provider bears that; nothing else is harmed."""
    if moment.reach is Reach.KEYRING:
        with pytest.raises(InvalidRequest, match="used before"):
            client.import_refresh_token(imported, "work")
    elif moment.reach is Reach.NOWHERE or overlap:
        client.import_refresh_token(imported, "work")
    else:
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.import_refresh_token(imported, "work")


# ---- at any moment


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("overlap", [True], ids=["with an overlap"])
def test_killed_at_any_moment_the_session_is_there(stage: Stage, request: pytest.FixtureRequest) -> None:
    rounds = 200 if request.config.getoption("--soak") else 3
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    begun(stage)
    stage.agent.kill()
    stage.restart()
    for number in range(rounds):
        stage.provider.reset()
        ask = refresh if chance.random() < 0.5 else partial(log_in, stage.provider)
        workers = stage.workers() if chance.random() < 0.5 else []
        with stage.agent.client() as client, ThreadPoolExecutor(1) as clients:
            asked = clients.submit(ask, client)
            time.sleep(chance.uniform(0, 0.5))
            stage.agent.kill()
            for worker in workers:
                with suppress(ProcessLookupError):  # its agent has gone, and so has it, if it had nothing to do
                    os.kill(worker, signal.SIGKILL)
            assert isinstance(asked.exception(PATIENCE), AgentError | None)
        stage.agent.start()
        with stage.agent.client() as client:
            serves(stage, client)
        assert max(row.presented for row in stage.ledger().values()) <= 2, f"seed {seed}, round {number}"


# ---- the worker and the keyring, while the agent lives


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the worker has, and whether the keyring is well meanwhile; both get well when the client has its answer.

    `gets`: what the worker gets before it is asked; or, when it is to be killed, in the middle of its work.
    """

    told: str
    keyring: Literal["works", "hangs", "is locked"] = "works"
    gets: signal.Signals | None = None
    gets_well: bool = False


TROUBLES = [
    Trouble("its worker is killed", "hangs", signal.SIGKILL),
    Trouble("its worker hangs", gets=signal.SIGSTOP),
    Trouble("its worker is late", gets=signal.SIGSTOP, gets_well=True),
    Trouble("the keyring hangs", "hangs"),
    Trouble("the keyring is locked", "is locked"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=[trouble.told for trouble in TROUBLES])
@pytest.mark.parametrize("by", ["refresh", "login"])
def test_what_is_new_is_served_within_a_second_and_saved_when_all_is_well(
    by: str, trouble: Trouble, stage: Stage
) -> None:
    old = begun(stage)
    stage.provider.reset()
    ask = refresh if by == "refresh" else partial(log_in, stage.provider, user=BOB)
    with stage.agent.client() as client:
        with stage.the_keyring(trouble.keyring):
            took = in_trouble(stage, client, trouble, ask)
            assert took < STORE_WAIT + SLACK
            token = client.token("work").access_token
            assert token != old
            assert is_accepted(stage.provider, token)
            if trouble.keyring != "works":
                assert record(client)["saved"] is False
                assert is_accepted(stage.provider, old)  # it is all that the keyring has
        until(lambda: is_saved(client), 2 * PATIENCE)
        # Alice's session that was replaced is revoked; a refresh leaves the token from before as good as it was.
        until(lambda: is_accepted(stage.provider, old) is (by == "refresh"))
    stage.agent.kill()
    stage.restart()
    with stage.agent.client() as client:
        assert serves(stage, client) == token
    assert set(stage.ledger().values()) == {Presented(1, 1)}


def in_trouble(stage: Stage, client: Agent, trouble: Trouble, ask: Callable[[Agent], object]) -> float:
    """Ask, while the worker has that trouble; how long the answer took from when the provider was asked."""
    workers = stage.workers()
    with ThreadPoolExecutor(1) as clients:
        if trouble.gets is signal.SIGKILL:
            stage.trap.set(Trap("write:middle", "hold"))
        elif trouble.gets is not None:
            send(workers, trouble.gets)
        asked = clients.submit(ask, client)
        if trouble.gets is signal.SIGKILL:
            until(stage.trap.is_reached)
            send(workers, trouble.gets)
            stage.trap.take_away()
        asked.result(PATIENCE)
        took = time.time() - stage.provider.requests(stage.provider.token_path)[-1].at
        if trouble.gets_well:
            send(workers, signal.SIGCONT)
    return took


def send(workers: list[int], signum: signal.Signals) -> None:
    assert workers != []
    for worker in workers:
        os.kill(worker, signum)


@pytest.mark.parametrize("executed", [True])
def test_a_login_whose_signature_nobody_could_check_is_forgotten_and_the_old_session_stays(stage: Stage) -> None:
    old = begun(stage)
    stage.provider.reset()
    agent = stage.agent.process.pid
    known = stage.workers()
    children = Path(f"/proc/{agent}/task/{agent}/children")
    stage.trap.set(Trap("keys:after", "hold"))
    with stage.agent.client() as client, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(log_in, stage.provider, client)
        until(stage.trap.is_reached)
        stage.trap.take_away()
        send(until(lambda: [pid for pid in map(int, children.read_text().split()) if pid not in known]), signal.SIGKILL)
        with pytest.raises(Unavailable, match="signature"):
            asked.result(PATIENCE)
        assert stage.provider.count(stage.provider.paths["revocation"]) == 0
        assert serves(stage, client) == old
        log_in(stage.provider, client)
        assert serves(stage, client) != old
