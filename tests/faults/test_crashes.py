"""The agent, or its worker, is killed at every step of a refresh and of a login; the provider says what is left.

What nothing can save:

- A response to a refresh that was lost after the provider rotated: at a provider without a rotation overlap, the
  session is over. The same if the agent dies before its keyring has the new refresh token.
- A login whose tokens were not in the keyring when the agent died must be done again; the session from before is
  unchanged. The lost tokens stay valid at the provider, because nobody knows them any more.
- The same for an import; its refresh token is then used up, and only a provider with an overlap accepts it again.
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

# Seconds that a client waits for the keyring, and slack for a busy machine. The agent gives up a worker that hangs
# after five: a client that waited for that would exceed both.
# Seconds after which a worker that hangs is killed; clients wait for one at most, the rest is a busy machine's.
WORKER_LIMIT = 5.0

Providers = dict[bool, OpenIDProvider]


class Reach(Enum):
    """Where the new tokens were when the agent died."""

    NOWHERE = "nothing was sent"
    PROVIDER = "the provider granted them, and its response did not arrive"
    AGENT = "the agent had them, its keyring had not"
    KEYRING = "the keyring had them, or was about to get them"


@dataclass(frozen=True, slots=True)
class Moment:
    """When the agent is killed.

    It is killed by the trap, if there is one; otherwise by the test: when the provider has the request, if its response
    must not arrive, or else when the client has the result. `keyring`: its condition meanwhile. `worker`: whether it is
    killed too.
    """

    name: str
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
WITH_RESULT = [
    Moment("after the result", Reach.KEYRING),
    Moment("after the result, while the keyring hangs", Reach.KEYRING, keyring="hangs"),
    Moment("after the result, while the keyring is locked", Reach.AGENT, keyring="is locked"),
]
REFRESH = [
    Moment("before the note that it is sent", Reach.NOWHERE, Trap("note:before")),
    Moment("in the middle of the note that it is sent", Reach.NOWHERE, Trap("note:middle")),
    Moment("after the note that it is sent", Reach.NOWHERE, Trap("note:after")),
    Moment("before the request", Reach.NOWHERE, Trap("refresh_token:before")),
    Moment("after the request", Reach.PROVIDER),
    Moment("after the response", Reach.AGENT, Trap("refresh_token:after")),
    *WRITING,
    *SAVED_NOTE,
    *WITH_RESULT,
]
REVOKING = [
    Moment("before the old session is revoked", Reach.KEYRING, Trap("revoke:before")),
    Moment("after the old session was revoked", Reach.KEYRING, Trap("revoke:after")),
]
BROWSER = [
    Moment("before the code is sent", Reach.NOWHERE, Trap("authorization_code:before")),
    Moment("after the code was sent", Reach.PROVIDER),
    Moment("after the response", Reach.AGENT, Trap("authorization_code:after")),
    Moment("before its ID token is checked", Reach.AGENT, Trap("keys:before")),
    *WRITING,
    *WITH_RESULT,
]
DEVICE = [
    Moment("after the response", Reach.AGENT, Trap("device_code:after")),
    *WRITING[::3],
    WITH_RESULT[0],
]
IMPORT = [
    Moment("before the request", Reach.NOWHERE, Trap("refresh_token:before")),
    Moment("after the request", Reach.PROVIDER),
    Moment("after the response", Reach.AGENT, Trap("refresh_token:after")),
    Moment("before the note of the used token", Reach.AGENT, Trap("note:before")),
    Moment("after the note of the used token", Reach.AGENT, Trap("note:after")),
    *WRITING,
    *SAVED_NOTE,
    *WITH_RESULT,
]


def moments(*of: Moment) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("moment", of, ids=[f"killed {moment.name}" for moment in of])


def each_overlap_that_matters(*of: Moment) -> pytest.MarkDecorator:
    """Parametrize with moments; with an overlap, only those that it can save."""
    cases = [
        pytest.param(moment, overlap, id=f"killed {moment.name}-{'with' if overlap else 'without'} an overlap")
        for moment in of
        for overlap in (True, False)
        if not overlap or moment.reach in {Reach.PROVIDER, Reach.AGENT}
    ]
    return pytest.mark.parametrize(("moment", "overlap"), cases)


@pytest.fixture(scope="module")
def providers() -> Generator[Providers, None, None]:
    """Start a provider with a rotation overlap, and one without."""
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
    """An agent with the account `work`, its keyring, its provider and a trap."""

    def __init__(self, agent: AgentProcess, keyring: KeyringSession, provider: OpenIDProvider) -> None:
        self.agent = agent
        self.keyring = keyring
        self.provider = provider
        self.trap = TrapFile(agent.home / "trap")
        agent.environment[FILE] = str(self.trap.path)

    @contextmanager
    def broken_keyring(self, condition: str) -> Generator[None, None, None]:
        """Let the keyring hang or be locked during the block."""
        if condition == "hangs":
            self.keyring.freeze()
        elif condition == "is locked":
            self.keyring.lock()
        try:
            yield
        finally:
            if condition == "hangs":
                self.keyring.thaw()
            elif condition == "is locked":
                self.keyring.unlock()

    def call_and_kill(self, moment: Moment, call: Callable[[Agent], object]) -> object:
        """Make a client's call, and kill the agent at that moment; return the result or the error."""
        self.provider.reset()
        workers = self.workers()
        with self.agent.client() as client, self.broken_keyring(moment.keyring), ThreadPoolExecutor(1) as clients:
            if moment.trap is not None:
                self.trap.set(moment.trap)
            elif moment.reach is Reach.PROVIDER:
                self.provider.fault("delay-after", ms=60_000)
            future = clients.submit(call, client)
            if moment.trap is not None:
                assert self.agent.process.wait(PATIENCE) == -signal.SIGKILL
            elif moment.reach is Reach.PROVIDER:
                until(lambda: future.done() or self.has_token_request())
            else:
                until(future.done)
            self.agent.kill()
            if moment.worker:
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
            error = future.exception(PATIENCE)
        self.trap.remove()
        if error is not None and not isinstance(error, AgentError):
            raise error
        return error or future.result()

    def workers(self) -> list[int]:
        """The agent's worker for the keyring, if there is one: who holds its lock, or waits for it."""
        lock = self.agent.home / ".local" / "state" / "auth-agent" / "worker.lock"
        if not lock.exists():
            return []
        inode = str(lock.stat().st_ino)
        # `ID: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`, with an arrow after the ID for who waits: proc(5).
        locks = [line.split()[-4:-2] for line in Path("/proc/locks").read_text().splitlines()]
        return [int(pid) for pid, file in locks if file.rpartition(":")[2] == inode]

    def has_token_request(self) -> bool:
        """Return whether the provider has received a complete token request."""
        return any(request.grant_type is not None for request in self.provider.requests(self.provider.token_path))

    def restart(self) -> None:
        """Start an agent without traps in its place."""
        self.agent.command = COMMAND
        self.agent.start()

    def ledger(self) -> dict[str, Presented]:
        return self.provider.ledger()


@pytest.fixture
def overlap() -> bool:
    """Return whether the provider has an overlap, for tests to which it makes no difference."""
    return False


@pytest.fixture
def executed() -> bool:
    """Return whether the agent and its workers are executed, and the workers are its children."""
    return False


@pytest.fixture
def stage(overlap: bool, executed: bool, providers: Providers, keyring: KeyringSession) -> Generator[Stage, None, None]:
    """Start an agent with traps; the keyring has no entry of its accounts."""
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
                client.logout(name)  # the next test needs an empty keyring


# ---- calls


def refresh(client: Agent) -> str:
    return client.refresh("work").access_token


def log_in(provider: OpenIDProvider, client: Agent, name: str = "work", user: str = ALICE) -> dict[str, object]:
    """Log in by a browser, replacing any user; return the result."""
    login = client.call("login", {"account": name, "flow": "browser", "switch_user": True})
    with suppress(httpx.TransportError):  # the agent, which responds to the browser, may be killed
        provider.enter(str(login["authorization_url"]), user)
    return client.call("login_result", {"login_id": login["login_id"]})


def log_in_on_a_device(provider: OpenIDProvider, client: Agent) -> dict[str, object]:
    """Log in on another device."""
    login = client.call("login", {"account": "work", "flow": "device"})
    provider.approve(str(login["verification_uri_complete"]))
    return client.call("login_result", {"login_id": login["login_id"]})


def is_saved(client: Agent, name: str = "work") -> bool:
    return record(client, name)["saved"] is True


def is_settled(client: Agent) -> bool:
    """Return whether no refresh is due or in flight, and the session is saved."""
    return record(client)["renewal"] == "idle" and is_saved(client)


def log_in_and_save(stage: Stage, name: str = "work") -> str:
    """Log in, and wait until that is saved; return the access token."""
    with stage.agent.client() as client:
        log_in(stage.provider, client, name)
        until(lambda: is_saved(client, name))
        return client.token(name).access_token


def is_accepted(provider: OpenIDProvider, access_token: str) -> bool:
    return provider.userinfo(access_token).status_code == 200


def assert_session_works(stage: Stage, client: Agent) -> str:
    """Check that the served token and the next one are valid, and that it is saved; return the first token."""
    first = client.token("work", timeout=PATIENCE).access_token
    until(lambda: is_settled(client))
    assert is_accepted(stage.provider, client.token("work").access_token)
    assert is_accepted(stage.provider, refresh(client))
    assert record(client)["state"] == "ready"
    until(lambda: is_saved(client))
    return first


def got_result(result: object, moment: Moment) -> bool:
    """Return whether the client got a result; otherwise check that its error is a lost connection."""
    if moment in WITH_RESULT:
        assert not isinstance(result, AgentError)
        return True
    if moment in {*WRITING, *SAVED_NOTE} and not isinstance(result, AgentError):
        return True  # the keyring took longer than the second for which a client waits
    assert isinstance(result, ConnectionLost | AgentNotRunning), result
    return False


def stored_fingerprint(stage: Stage) -> str:
    """Return the fingerprint of the refresh token in the keyring."""
    entry: dict[str, Any] = json.loads(stage.keyring.read() or "{}")
    return fingerprint(entry["login"]["refresh_token"])


# ---- a refresh


@each_overlap_that_matters(*REFRESH)
def test_a_killed_refresh_loses_nothing_that_an_overlap_saves(moment: Moment, overlap: bool, stage: Stage) -> None:
    old = log_in_and_save(stage)
    presented = stored_fingerprint(stage)
    got_result(stage.call_and_kill(moment, refresh), moment)
    stage.restart()
    was_lost = moment.reach in {Reach.PROVIDER, Reach.AGENT}
    with stage.agent.client() as client:
        if was_lost and not overlap:
            assert_session_ended(stage, client)
        else:
            # By itself: the overlap may be over before a client requests a token.
            until(lambda: not was_lost or client.token("work").access_token != old)
            assert_session_works(stage, client)
            assert other_tokens(stage, presented) <= {Presented(1, 1)}
    # A lost response is requested again, once; a saved one never.
    assert stage.ledger()[presented].presented == (2 if was_lost else 1)
    successes = (moment.reach is not Reach.PROVIDER) + (was_lost and overlap)
    assert stage.ledger()[presented].succeeded == successes


def other_tokens(stage: Stage, presented: str) -> set[Presented]:
    return {row for one, row in stage.ledger().items() if one != presented}


def assert_session_ended(stage: Stage, client: Agent) -> None:
    """Check that the session has ended, with the provider's reason, until the next login."""
    until(lambda: record(client)["state"] == "login_required")
    ended = record(client)
    assert str(ended["reason"]).startswith("invalid_grant")
    until(lambda: is_saved(client))
    count = stage.provider.count(stage.provider.token_path)
    stage.agent.kill()
    stage.agent.start()
    for _ in range(3):
        with pytest.raises(LoginRequired) as caught:
            client.token("work")
        assert caught.value.reason == ended["reason"]
    assert stage.provider.count(stage.provider.token_path) == count
    log_in(stage.provider, client)
    assert_session_works(stage, client)


# ---- a login


@moments(*BROWSER, *REVOKING)
def test_a_killed_login_leaves_the_new_session_or_the_old_one(moment: Moment, stage: Stage) -> None:
    old = log_in_and_save(stage)
    result = stage.call_and_kill(moment, partial(log_in, stage.provider, user=user_of(moment)))
    has_result = got_result(result, moment)
    stage.restart()
    with stage.agent.client() as client:
        is_the_old_one = assert_session_works(stage, client) == old
        assert is_the_old_one is (moment.reach is not Reach.KEYRING)
        assert not (has_result and is_the_old_one) or is_unsaved(result)
        log_in(stage.provider, client)
        assert_session_works(stage, client)
    assert set(stage.ledger().values()) == {Presented(1, 1)}


def user_of(moment: Moment) -> str:
    """Return whose session replaces Alice's: only another user's session is revoked."""
    return BOB if moment in REVOKING else ALICE


@moments(*BROWSER)
def test_a_killed_first_login_is_saved_or_can_be_repeated(moment: Moment, stage: Stage) -> None:
    log_in_and_save(stage, NEIGHBOUR)
    result = stage.call_and_kill(moment, partial(log_in, stage.provider))
    has_result = got_result(result, moment)
    stage.restart()
    assert_saved_or_repeatable(stage, moment, has_result=has_result and not is_unsaved(result))


@moments(*DEVICE)
def test_a_killed_login_on_another_device_is_saved_or_can_be_repeated(moment: Moment, stage: Stage) -> None:
    result = stage.call_and_kill(moment, partial(log_in_on_a_device, stage.provider))
    has_result = got_result(result, moment)
    stage.restart()
    assert_saved_or_repeatable(stage, moment, has_result=has_result and not is_unsaved(result))


def is_unsaved(result: object) -> bool:
    """Return whether the result says that the session isn't saved."""
    return isinstance(result, dict) and result["saved"] is False


def assert_saved_or_repeatable(stage: Stage, moment: Moment, *, has_result: bool) -> None:
    """Check that the login is saved if the keyring or the client got it, and can be repeated otherwise."""
    with stage.agent.client() as client:
        until(lambda: record(client)["state"] != "locked")
        state = record(client)["state"]
        assert state == ("ready" if moment.reach is Reach.KEYRING else "logged_out")
        assert not has_result or state == "ready"
        if state == "logged_out":
            log_in(stage.provider, client)
        assert_session_works(stage, client)
    assert set(stage.ledger().values()) == {Presented(1, 1)}


# ---- an import


@each_overlap_that_matters(*IMPORT, *REVOKING)
def test_a_killed_import_leaves_the_new_session_or_the_old_one(moment: Moment, overlap: bool, stage: Stage) -> None:
    old = log_in_and_save(stage)
    has_result, imported = import_and_kill(stage, moment)
    stage.restart()
    with stage.agent.client() as client:
        served = client.token("work", timeout=PATIENCE).access_token
        is_the_old_one = served == old
        assert is_the_old_one is (moment.reach is not Reach.KEYRING)
        assert is_accepted(stage.provider, served)
        assert not (has_result and is_the_old_one)
        repeat_import(client, moment, imported, overlap=overlap)
        assert_session_works(stage, client)
    assert other_tokens(stage, fingerprint(imported)) == {Presented(1, 1)}


def import_and_kill(stage: Stage, moment: Moment) -> tuple[bool, str]:
    """Import a refresh token, and kill the agent; return whether the result says that it is saved, and the token."""
    imported = stage.provider.login(user_of(moment)).refresh_token
    assert imported is not None
    result = stage.call_and_kill(moment, lambda client: client.import_refresh_token(imported, "work", switch_user=True))
    return got_result(result, moment) and not is_unsaved(result), imported


def repeat_import(client: Agent, moment: Moment, imported: str, *, overlap: bool) -> None:
    """Check that the import can be repeated if its token was not used, or the provider has an overlap."""
    if moment.reach is Reach.KEYRING:
        with pytest.raises(InvalidRequest) as caught:
            client.import_refresh_token(imported, "work")
        assert caught.value.parameter == "refresh_token"
    elif moment.reach is Reach.NOWHERE or overlap:
        client.import_refresh_token(imported, "work")
    else:
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.import_refresh_token(imported, "work")


# ---- at any moment


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("overlap", [True], ids=["with an overlap"])
def test_an_agent_killed_at_random_moments_keeps_the_session(stage: Stage, request: pytest.FixtureRequest) -> None:
    rounds = 200 if request.config.getoption("--soak") else 3
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    log_in_and_save(stage)
    stage.agent.kill()
    stage.restart()
    for number in range(rounds):
        stage.provider.reset()
        call = refresh if chance.random() < 0.5 else partial(log_in, stage.provider)
        workers = stage.workers() if chance.random() < 0.5 else []
        with stage.agent.client() as client, ThreadPoolExecutor(1) as clients:
            future = clients.submit(call, client)
            time.sleep(chance.uniform(0, 0.5))
            stage.agent.kill()
            for worker in workers:
                with suppress(ProcessLookupError):  # an idle worker has ended with its agent
                    os.kill(worker, signal.SIGKILL)
            assert isinstance(future.exception(PATIENCE), AgentError | None)
        stage.agent.start()
        with stage.agent.client() as client:
            assert_session_works(stage, client)
        assert max(row.presented for row in stage.ledger().values()) <= 2, f"seed {seed}, round {number}"


# ---- the worker and the keyring, while the agent lives


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the worker or the keyring, until the client has its result.

    `gets`: the signal that the worker gets before the call; SIGKILL in the middle of its work.
    """

    name: str
    keyring: Literal["works", "hangs", "is locked"] = "works"
    gets: signal.Signals | None = None
    recovers: bool = False


FAULTS = [
    Fault("its worker is killed", "hangs", signal.SIGKILL),
    Fault("its worker hangs", gets=signal.SIGSTOP),
    Fault("its worker is late", gets=signal.SIGSTOP, recovers=True),
    Fault("the keyring hangs", "hangs"),
    Fault("the keyring is locked", "is locked"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
@pytest.mark.parametrize("action", ["refresh", "login"])
def test_new_tokens_are_served_within_a_second_and_saved_once_the_keyring_works(
    action: str, fault: Fault, stage: Stage
) -> None:
    old = log_in_and_save(stage)
    stage.provider.reset()
    call = refresh if action == "refresh" else partial(log_in, stage.provider, user=BOB)
    with stage.agent.client() as client:
        with stage.broken_keyring(fault.keyring):
            seconds = seconds_with_fault(stage, client, fault, call)
            assert seconds < WORKER_LIMIT
            token = client.token("work").access_token
            assert token != old
            assert is_accepted(stage.provider, token)
            if fault.keyring != "works":
                assert record(client)["saved"] is False
                assert is_accepted(stage.provider, old)  # it is the only one in the keyring
        until(lambda: is_saved(client), 2 * PATIENCE)
        # Alice's replaced session is revoked; after a refresh the token from before stays valid.
        until(lambda: is_accepted(stage.provider, old) is (action == "refresh"))
    stage.agent.kill()
    stage.restart()
    with stage.agent.client() as client:
        assert assert_session_works(stage, client) == token
    assert set(stage.ledger().values()) == {Presented(1, 1)}


def seconds_with_fault(stage: Stage, client: Agent, fault: Fault, call: Callable[[Agent], object]) -> float:
    """Make the call with that fault; return the seconds from the provider's request to the result."""
    workers = stage.workers()
    with ThreadPoolExecutor(1) as clients:
        if fault.gets is signal.SIGKILL:
            stage.trap.set(Trap("write:middle", "hold"))
        elif fault.gets is not None:
            send_signal(workers, fault.gets)
        future = clients.submit(call, client)
        if fault.gets is signal.SIGKILL:
            until(stage.trap.is_reached)
            send_signal(workers, fault.gets)
            stage.trap.remove()
        future.result(PATIENCE)
        seconds = time.time() - stage.provider.requests(stage.provider.token_path)[-1].at
        if fault.recovers:
            send_signal(workers, signal.SIGCONT)
    return seconds


def send_signal(workers: list[int], signum: signal.Signals) -> None:
    assert workers != []
    for worker in workers:
        os.kill(worker, signum)


@pytest.mark.parametrize("executed", [True])
def test_a_login_whose_signature_cannot_be_checked_leaves_the_old_session(stage: Stage) -> None:
    old = log_in_and_save(stage)
    stage.provider.reset()
    agent = stage.agent.process.pid
    children = Path(f"/proc/{agent}/task/{agent}/children")
    known = list(map(int, children.read_text().split()))
    stage.trap.set(Trap("keys:after", "hold"))
    with stage.agent.client() as client, ThreadPoolExecutor(1) as clients:
        future = clients.submit(log_in, stage.provider, client)
        until(stage.trap.is_reached)
        stage.trap.remove()
        send_signal(
            until(lambda: [pid for pid in map(int, children.read_text().split()) if pid not in known]), signal.SIGKILL
        )
        with pytest.raises(Unavailable, match="signature"):
            future.result(PATIENCE)
        assert stage.provider.count(stage.provider.paths["revocation"]) == 0
        assert assert_session_works(stage, client) == old
        log_in(stage.provider, client)
        assert assert_session_works(stage, client) != old
