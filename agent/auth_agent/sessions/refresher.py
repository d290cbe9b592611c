"""Acts on what sessions decide: runs their refreshes, ahead of time and on demand, each at most once at a time."""

import logging
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeVar

import anyio
from anyio.abc import TaskGroup

from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth.client import Client
from auth_agent.oauth.outcome import Defect, Ended, Failure, Lost, Spent, TokenReply, Transient
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.token_request import TokenRequest, client_credentials_request, refresh_request
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.advice import asked_too_often, ending
from auth_agent.sessions.allowance import Allowance
from auth_agent.sessions.decision import Decision, Demand, Job, Join, Serve, Start
from auth_agent.sessions.entry import Kept
from auth_agent.sessions.keeper import Keeper
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Idle, Login, Retrying, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.storage.store import StoreError
from auth_agent_client import errors

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# A timer sleeps no longer, so that a suspended machine or a clock that was set is noticed.
TICK: Final = 30.0
# When the clock since boot gained that much on the one that stands still in suspend, the machine was suspended.
_SUSPENDED: Final = 5.0
# With a rotation overlap the provider answers again; without one the session was lost with the reply.
LOST_RETRIES: Final = 2
# How long a logout waits for a refresh in flight, and an ending agent for all of them.
FLIGHT_PATIENCE: Final = 10.0
# How long an ending agent waits besides, for what the last refreshes left to be saved.
LAST_SAVES: Final = 2.0


class Flight:
    """A refresh in flight, for those who wait for it; `key` is that of the token which it is for."""

    def __init__(self, key: TokenKey = MAIN) -> None:
        self.key = key
        self.done = anyio.Event()
        # Set when it is done, or when its session's login has gone: then it is of no more use to clients.
        self.over = anyio.Event()
        # What came after the login had gone is to be revoked, not stored; unless a logout wanted to keep it. And also
        # where another session may end with it, if a logout wanted that.
        self.to_be_revoked = True
        self.revoke_shared = False
        self.superseded = False
        # It failed, and the account was changed meanwhile: that says nothing of the account as it is now.
        self.outdated = False
        self.revocation = Revocation()


class Refresher:
    """Runs the refreshes of a table's sessions."""

    def __init__(
        self,
        table: Table,
        provider_for: Callable[[Account], Provider],
        keeper: Keeper,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._fingerprints = keeper.fingerprints
        self._keeper = keeper
        self._table = table
        self._clock = table.clock
        self._provider_for = provider_for
        self._chance = chance
        self._flights: dict[tuple[Session, int], Flight] = {}
        # The fingerprints of refresh tokens that are with their providers at this moment.
        self._presented: set[str] = set()
        self._unfinished: set[anyio.Event] = set()
        self._tasks: TaskGroup | None = None
        self._wake = anyio.Event()
        self._asleep_until = 0.0
        self._stopping = False

    def now(self) -> Moment:
        """The present moment."""
        return self._clock.now()

    # ---- the timer

    async def run(self, tasks: TaskGroup) -> None:
        """Refresh sessions ahead of time, until cancelled; the refreshes themselves run in `tasks`."""
        self._tasks = tasks
        asleep = self._asleep()
        while True:
            self._wake = anyio.Event()
            was_asleep, asleep = asleep, self._asleep()
            if asleep - was_asleep > _SUSPENDED:
                _log.info("resumed suspended_for=%.0fs", asleep - was_asleep)
                self._start_all_afresh()
            self._table.publish_expiries()
            delay = self._start_what_is_due()
            self._asleep_until = anyio.current_time() + delay
            with anyio.move_on_after(delay):
                await self._wake.wait()

    def reschedule(self) -> None:
        """Something moved a session's next refresh."""
        self._wake.set()

    def attend_to(self, session: Session) -> None:
        """A session was read from the store: refresh it, if that is due, or in time; the others are as they were."""
        if anyio.current_time() + self._start_if_due(session) < self._asleep_until:
            self._wake.set()

    async def drain(self) -> None:
        """Start nothing more, and wait for what is in flight, for ten seconds at most, and for what is to be saved."""
        self._stopping = True
        limit = anyio.move_on_after(FLIGHT_PATIENCE)
        async with anyio.create_task_group() as saving:
            saving.start_soon(self._keeper.drain, FLIGHT_PATIENCE)
            with limit:
                for done in tuple(self._unfinished):
                    await done.wait()
        if limit.cancelled_caught:
            _log.warning("stopping unfinished=%d", len(self._unfinished))
        await self._keeper.drain(LAST_SAVES)

    def _asleep(self) -> float:
        """For how long the machine has been suspended, give or take a constant: only differences count."""
        return self._clock.now().boot - self._clock.awake()

    def _start_all_afresh(self) -> None:
        for name, session in self._table.sessions.items():
            if session.start_afresh():
                self._table.publish(name)

    def _start_what_is_due(self) -> float:
        """Start the refreshes that are due; for how many seconds there is nothing to do."""
        return min((TICK, *map(self._start_if_due, self._table.sessions.values())))

    def _start_if_due(self, session: Session) -> float:
        """Start a session's refresh if it is due; for how many seconds there is nothing to do about it."""
        now, delay = self._clock.now(), TICK
        session.forget_unused(now)
        due = session.next_due(now)
        if due is not None and now.until(due[0]) <= 0:
            self.start(session, due[1])
        elif due is not None:
            delay = min(delay, now.until(due[0]))
        left = session.remaining(now)
        return min(delay, left) if left > 0 else delay

    # ---- refreshes

    def start(self, session: Session, key: TokenKey = MAIN) -> Flight | None:
        """Start a refresh for that token, or find the one in flight, for whichever; None when the agent is ending."""
        flight = self.flight(session)
        if flight is not None:
            return flight
        if self._tasks is None or self._stopping:
            return None
        job = session.start(self._clock.now(), key)
        flight = self._flights[session, job.epoch] = Flight(key)
        self._unfinished.add(flight.done)
        self._table.publish(job.account.name)
        self._tasks.start_soon(self._fly, session, job, flight, name=f"refresh {job.account.name}")
        return flight

    def flight(self, session: Session) -> Flight | None:
        """The refresh in flight for the session's current login."""
        return self._flights.get((session, session.epoch))

    async def _fly(self, session: Session, job: Job, flight: Flight) -> None:
        name = job.account.name

        def is_wanted() -> bool:
            return session.epoch == job.epoch and session.suspended is None

        try:
            job, outcome, sent = await self._renew(session, job, is_wanted)
            if session.is_current(job):
                await self._conclude(session, job, outcome, sent)
                if session.account != job.account:
                    flight.outdated = session.start_afresh()
            if isinstance(outcome, TokenReply) and not session.is_current(job):
                flight.superseded = True
                if flight.to_be_revoked:
                    granted = outcome.refresh_token or job.login.refresh_token
                    login = replace(job.login, refresh_token=granted)
                    flight.revocation = await self.revoke(job.account, login, shared=flight.revoke_shared)
        finally:
            del self._flights[session, job.epoch]
            self._unfinished.discard(flight.done)
            flight.done.set()
            flight.over.set()
            self._table.publish(name)
            self.reschedule()

    async def _renew(
        self, session: Session, job: Job, is_wanted: Callable[[], bool]
    ) -> tuple[Job, TokenReply | Failure, Moment]:
        """Present the session's refresh token, and where the provider calls that dead, one that another put there.

        What was presented at last, what came of it, and when that was sent.
        """
        while True:
            if job.login.refresh_token is not None:
                await self._keeper.intend(session, job.login.refresh_token)
            if not is_wanted():
                return job, Transient("its login has gone"), self._clock.now()
            outcome, sent = await self.present(job.account, job.login, is_wanted, job.key)
            # Only a refresh that asks for no token in particular can end a session.
            if not isinstance(outcome, Ended) or job.key != MAIN or job.login.refresh_token is None or not is_wanted():
                return job, outcome, sent
            try:
                found = await self._keeper.look(session)
            except StoreError as error:
                reason = f"{outcome.reason}, and the store can't tell whether another one took its place: {error}"
                return job, Transient(printable(reason)), sent
            other = session.successor(found)
            if other is None or not self._fingerprints.is_new(other) or not session.is_current(job):
                return job, outcome, sent
            _log.info("refresh account=%s outcome=ended found='another refresh token in the store'", job.account.name)
            session.keep(other)
            job = replace(job, login=replace(job.login, refresh_token=other))

    async def _conclude(self, session: Session, job: Job, outcome: TokenReply | Failure, sent: Moment) -> None:
        """Hold and save what the provider gave, before what it is worth takes effect; then let that take effect."""
        if isinstance(outcome, TokenReply) and outcome.refresh_token is not None:
            session.keep(outcome.refresh_token)
        kept = self._judge(session, job, outcome, sent)
        if isinstance(outcome, TokenReply):
            await self._keeper.save(session, kept)
        if session.is_current(job):
            session.settle(kept, self._chance())
            self._report(session, job.key)
            ended = isinstance(outcome, Failure) and not isinstance(session.state, Active)
            if ended or session.profile is not kept.profile:  # one may have come meanwhile
                self._keeper.save_soon(session)

    def _judge(self, session: Session, job: Job, outcome: TokenReply | Failure, sent: Moment) -> Kept:
        now, chance = self._clock.now(), self._chance()
        try:
            return session.judge(outcome, sent, now, chance)
        except Exception as error:  # noqa: BLE001 -- a reply that nobody foresaw must not end all sessions, nor this one
            _log.error("defect account=%s in=judge error=%s", job.account.name, place(error))
            return session.judge(Defect("a defect of the agent; its log says more"), sent, now, chance)

    def _report(self, session: Session, key: TokenKey) -> None:
        name, state = session.account.name, session.state
        what = f" audience={printable(key.audience)!r} scope={printable(key.scope)!r}" if key != MAIN else ""
        renewal = state.setbacks.get(key) or Idle() if isinstance(state, Active) and key != MAIN else None
        if isinstance(state, Active) and isinstance(renewal or state.renewal, Idle):
            _log.info("refresh account=%s%s outcome=ok refreshes=%d", name, what, session.refreshes)
        else:
            reason = renewal.failure.reason if isinstance(renewal, Retrying) else session.reason
            _log.warning("refresh account=%s%s outcome=failed reason=%r", name, what, reason)

    async def present(
        self, account: Account, login: Login, is_wanted: Callable[[], bool], key: TokenKey = MAIN
    ) -> tuple[TokenReply | Failure, Moment]:
        """Present a login's refresh token, or its client's credentials, again where the reply was lost.

        It is for the token of that key. What came of it, and when the request was sent that was answered. A refresh
        token is not sent where it is known to be replaced, or is with the provider already; nothing is sent again, once
        it is no longer wanted.
        """
        client, refresh_token = login.client(account.token_endpoint_auth_method), login.refresh_token
        if not login.grant_type.has_refresh_token:
            request = client_credentials_request(key.scope or account.scope, key.audience or login.audience)
            outcome, sent = await self._persist(account, client, request, is_wanted)
            # The secret gets the next one: a refresh token would be one more to lose (RFC 6749, section 4.4.3).
            return (replace(outcome, refresh_token=None) if isinstance(outcome, TokenReply) else outcome), sent
        assert refresh_token is not None  # noqa: S101 -- for the type checker: what is presented can be renewed
        if self.is_spent(refresh_token):
            return Spent("this refresh token is in use, or was replaced by another one"), self._clock.now()
        fingerprint = refresh_token.fingerprint()
        self._presented.add(fingerprint)
        self._fingerprints.sent(refresh_token)
        try:
            request = refresh_request(refresh_token, key.audience, key.scope)
            outcome, sent = await self._persist(account, client, request, is_wanted)
            if isinstance(outcome, TokenReply) and outcome.refresh_token is not None:
                self._fingerprints.replaced(refresh_token, outcome.refresh_token)
            return outcome, sent
        finally:
            self._presented.discard(fingerprint)

    async def _persist(
        self, account: Account, client: Client, request: TokenRequest, is_wanted: Callable[[], bool]
    ) -> tuple[TokenReply | Failure, Moment]:
        """Make a request that may be made twice, again where its reply was lost; and when it was sent at last."""
        for attempts_left in range(LOST_RETRIES, -1, -1):
            outcome, sent = await self.attempt(account, client, request)
            if not isinstance(outcome, Lost) or attempts_left == 0 or not is_wanted():
                return outcome, sent
            _log.warning("refresh account=%s outcome=lost reason=%r", account.name, outcome.reason)
        raise AssertionError("the last attempt returns")

    def is_spent(self, refresh_token: Secret) -> bool:
        """Whether a refresh token must not be presented: it was replaced, or is with its provider right now."""
        return self._fingerprints.is_replaced(refresh_token) or refresh_token.fingerprint() in self._presented

    async def attempt(
        self, account: Account, client: Client, request: TokenRequest
    ) -> tuple[TokenReply | Failure, Moment]:
        """Make a request of an account's provider once; what came of it, and when it was sent."""
        sent = self._clock.now()
        try:
            provider = self._provider_for(account)
            found = await provider.discover()
            sent = self._clock.now()  # a token's life begins here, however long a look-up took
            return found if isinstance(found, Failure) else await provider.token(client, request), sent
        except Exception as error:  # noqa: BLE001 -- a defect in one account's provider must not end all sessions
            # Its type and place alone: an exception's text could hold what was being sent.
            _log.error("defect account=%s in=token error=%s", account.name, place(error))
            return Defect(f"a defect of the agent: {type(error).__name__}"), sent

    async def revoke(self, account: Account, login: Login, *, shared: bool = False) -> Revocation:
        """Revoke a login's refresh token, where there is one and no session that stays may end with it.

        `shared`: also where one may.
        """
        if login.refresh_token is None:
            return Revocation()
        client = login.client(account.token_endpoint_auth_method)
        try:
            provider = self._provider_for(account)
            await provider.discover()  # it may take a while, and another session may come meanwhile
            ending = () if shared else self._table.may_end_with(login)
            revoked = not ending and await provider.revoke(client, login.refresh_token)
        except Exception as error:  # noqa: BLE001 -- as in `attempt`
            _log.error("defect account=%s in=revoke error=%s", account.name, place(error))
            return Revocation()
        _log.info("revoke account=%s revoked=%s shared_with=%s", account.name, revoked, ",".join(ending) or "-")
        return Revocation(revoked, ending)

    def revoke_when(self, event: anyio.Event, account: Account, login: Login) -> None:
        """Revoke a login's refresh token, as `revoke` does, when that comes to pass; not if the agent ends before."""

        async def run() -> None:
            await event.wait()
            await self.revoke(account, login)

        if self._tasks is not None:
            self._tasks.start_soon(run)

    # ---- clients that wait

    async def token(self, session: Session, demand: Demand, allowance: Allowance, timeout: float) -> AccessToken:
        """The token that the demand is for, from a refresh if need be.

        Raises:
            AgentError: there is none; `Timeout` when it takes longer than `timeout` seconds.

        """
        waited = False
        session.used_at = self._clock.now().wall
        with limit(timeout):
            while True:
                decision = self._decide(session, demand, waited=waited)
                if isinstance(decision, Serve):
                    return decision.token
                if isinstance(decision, errors.AgentError):
                    raise decision
                if isinstance(decision, Start) and decision.driven:
                    self.charge(session.allowance, allowance)
                flight = self.start(session, decision.key if isinstance(decision, Start) else demand.key)
                if flight is None:
                    raise ending()
                with anyio.move_on_after(decision.patience if isinstance(decision, Join) else None):
                    await flight.over.wait()
                waited = flight.done.is_set() and flight.key == demand.key and not flight.outdated

    async def refresh(self, session: Session, allowance: Allowance, timeout: float) -> AccessToken:
        """A token from a refresh that a person asked for: past failures and the backoff don't count.

        Raises:
            AgentError: there is none; `Timeout` when it takes longer than `timeout` seconds.

        """
        demand = session.force()
        if session.revivable and self.flight(session) is None:
            self.charge(session.allowance, allowance)
            session.revive()
            self.start(session)
        return await self.token(session, demand, allowance, timeout)

    def _decide(self, session: Session, demand: Demand, *, waited: bool) -> Decision:
        revision = session.revision
        decision = session.decide(demand, self._clock.now(), waited=waited)
        if session.revision != revision:  # the next attempt was brought forward
            self._table.publish(session.account.name)
            self.reschedule()
        return decision

    def charge(self, *allowances: Allowance) -> None:
        """Count a request to the provider that a client drives.

        Raises:
            Unavailable: there were too many.

        """
        now = self._clock.now().boot
        wait = max(allowance.wait(now) for allowance in allowances)
        if wait > 0:
            raise asked_too_often(wait)
        for allowance in allowances:
            allowance.spend(now)

    # ---- ends

    def leave_login(self, session: Session, *, revoke: bool = True, shared: bool = False) -> None:
        """The session's login is about to go: clients need not wait for its refresh in flight any longer."""
        flight = self.flight(session)
        if flight is not None:
            flight.to_be_revoked, flight.revoke_shared = revoke, shared
            flight.over.set()

    async def log_out(self, session: Session, *, revoke: bool, shared: bool = False) -> Revocation:
        """Forget the session now; then revoke its newest refresh token, and say what came of that.

        Args:
            session: which one.
            revoke: whether its refresh token is to be revoked at all.
            shared: whether also where a session of another account may end with it.

        """
        await self._keeper.opened(session)  # what is not read can't be revoked
        flight, account, suspended = self.flight(session), session.account, session.suspended
        self.leave_login(session, revoke=revoke, shared=shared)
        login = session.log_out()
        self._table.publish(account.name)
        self.reschedule()
        _log.info("logout account=%s", account.name)
        await self._keeper.bury(session)
        # A token is sent to no one but the provider and client that the login was made with.
        if login is None or suspended is not None or not revoke:
            return Revocation()
        if flight is not None:
            with anyio.move_on_after(FLIGHT_PATIENCE):
                await flight.done.wait()
            if flight.superseded:
                return flight.revocation
        return await self.revoke(account, login, shared=shared)

    async def to_its_end(self, work: Callable[[], Awaitable[_Result]], timeout: float | None = None) -> _Result:
        """Do work that goes on when the client that asked for it leaves; its result, for the client that stays."""
        results: list[_Result | Exception] = []

        async def run() -> None:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001 -- raised again below, for the client
                results.append(error)

        done = self.begin(run)
        with limit(timeout):
            await done.wait()
        result = results[0]
        if isinstance(result, Exception):
            raise result
        return result

    def begin(self, work: Callable[[], Awaitable[None]]) -> anyio.Event:
        """Begin work that an ending agent waits for, and which must not raise; the event that it has ended.

        Raises:
            Unavailable: the agent is ending.

        """
        if self._tasks is None or self._stopping:
            raise ending()
        done = anyio.Event()

        async def run() -> None:
            try:
                await work()
            finally:
                self._unfinished.discard(done)
                done.set()

        self._unfinished.add(done)
        self._tasks.start_soon(run)
        return done


@contextmanager
def limit(timeout: float | None) -> Generator[None, None, None]:
    """Wait no longer than so many seconds, for what goes on. Raises `Timeout` when they are over."""
    try:
        with anyio.fail_after(timeout):
            yield
    except TimeoutError as error:
        raise errors.Timeout(f"no answer within {timeout:g} s; the work goes on") from error
