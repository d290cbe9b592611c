"""Acts on what sessions decide: runs their refreshes, ahead of time and on demand, each at most once at a time."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Defect, Ended, Failure, TokenReply, Transient
from auth_agent.printable import printable
from auth_agent.sessions.advice import ending
from auth_agent.sessions.allowance import Allowance, charge
from auth_agent.sessions.background import PATIENCE, Background, deadline
from auth_agent.sessions.decision import Decision, Demand, Job, Join, Serve, Start
from auth_agent.sessions.entry import Kept
from auth_agent.sessions.keeper import Keeper
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Idle, Retrying, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.sessions.token_client import TokenClient
from auth_agent.storage.store import StoreError
from auth_agent_client import errors

_log = logging.getLogger(__name__)

# A timer sleeps no longer, so that a suspended machine or a clock that was set is noticed.
TICK: Final = 30.0
# When the clock since boot gained that much on the one that stands still in suspend, the machine was suspended.
_SUSPENDED: Final = 5.0


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
        tokens: TokenClient,
        keeper: Keeper,
        background: Background,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._table = table
        self._clock = table.clock
        self._tokens = tokens
        self._keeper = keeper
        self._background = background
        self._chance = chance
        self._flights: dict[tuple[Session, int], Flight] = {}
        self._wake = anyio.Event()
        self._asleep_until = 0.0

    def now(self) -> Moment:
        """The present moment."""
        return self._clock.now()

    # ---- the timer

    async def run(self) -> None:
        """Refresh sessions ahead of time, until cancelled; a refresh that has begun comes to its end."""
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
        if not self._background.accepts_work:
            return None
        job = session.start(self._clock.now(), key)
        flight = self._flights[session, job.epoch] = Flight(key)
        self._table.publish(job.account.name)
        self._background.begin(lambda: self._fly(session, job, flight), f"refresh {job.account.name}")
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
                    flight.revocation = await self._tokens.revoke(job.account, login, shared=flight.revoke_shared)
        finally:
            del self._flights[session, job.epoch]
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
            outcome, sent = await self._tokens.refresh(job.account, job.login, is_wanted, job.key)
            # Only a refresh that asks for no token in particular can end a session.
            if not isinstance(outcome, Ended) or job.key != MAIN or job.login.refresh_token is None or not is_wanted():
                return job, outcome, sent
            try:
                found = await self._keeper.look(session)
            except StoreError as error:
                reason = f"{outcome.reason}, and the store can't tell whether another one took its place: {error}"
                return job, Transient(printable(reason)), sent
            other = session.successor(found)
            if other is None or not self._keeper.fingerprints.is_new(other) or not session.is_current(job):
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

    # ---- clients that wait

    async def token(self, session: Session, demand: Demand, allowance: Allowance, timeout: float) -> AccessToken:
        """The token that the demand is for, from a refresh if need be.

        Raises:
            AgentError: there is none; `Timeout` when it takes longer than `timeout` seconds.

        """
        waited = False
        session.used_at = self._clock.now().wall
        with deadline(timeout):
            while True:
                decision = self._decide(session, demand, waited=waited)
                if isinstance(decision, Serve):
                    return decision.token
                if isinstance(decision, errors.AgentError):
                    raise decision
                if isinstance(decision, Start) and decision.driven:
                    charge(self._clock.now().boot, session.allowance, allowance)
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
            charge(self._clock.now().boot, session.allowance, allowance)
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
            with anyio.move_on_after(PATIENCE):
                await flight.done.wait()
            if flight.superseded:
                return flight.revocation
        return await self._tokens.revoke(account, login, shared=shared)
