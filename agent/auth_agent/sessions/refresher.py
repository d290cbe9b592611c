"""Acts on what sessions decide: runs their refreshes, ahead of time and on demand, each at most once at a time."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Failure, InvalidGrant, TokenResponse, Transient
from auth_agent.printable import printable
from auth_agent.promise import Promise
from auth_agent.sessions.advice import agent_ending
from auth_agent.sessions.background import Background, deadline
from auth_agent.sessions.decision import Decision, Demand, Join, Serve, Start
from auth_agent.sessions.rate_limit import RateLimit, charge
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, Idle, Retrying, TokenKey
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
    """A refresh in flight: of that login, for the token of that key. Its result belongs to that epoch."""

    def __init__(self, session: Session, credentials: Credentials, key: TokenKey) -> None:
        self.account = session.account
        self.epoch = session.epoch
        self.login = credentials
        self.key = key
        # For clients: over when it is done, or its login has gone. Whether it says something of the session as it is.
        self.over = Promise[bool]()
        self.done = anyio.Event()
        # What came after the login had gone is to be revoked, not stored; unless a logout wanted to keep it. And also
        # where another session may end with it, if a logout wanted that.
        self.to_be_revoked = True
        self.revoke_shared = False
        # What came of what came after the login had gone; None: nothing did.
        self.late: Revocation | None = None


class Refresher:
    """Runs the refreshes of a table's sessions."""

    def __init__(
        self,
        table: Table,
        tokens: TokenClient,
        saver: Saver,
        background: Background,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._table = table
        self._clock = table.clock
        self._tokens = tokens
        self._saver = saver
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
                self._forget_all_failures()
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

    def _forget_all_failures(self) -> None:
        for name, session in self._table.sessions.items():
            if session.forget_failures():
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
        flight = self._flight(session)
        if flight is not None:
            return flight
        if not self._background.accepts_work:
            return None
        login = session.start(self._clock.now(), key)
        flight = self._flights[session, session.epoch] = Flight(session, login, key)
        name = flight.account.name
        self._table.publish(name)
        self._background.begin(lambda: self._fly(session, flight), f"refresh {name}")
        return flight

    def _flight(self, session: Session) -> Flight | None:
        """The refresh in flight for the session's current login."""
        return self._flights.get((session, session.epoch))

    async def _fly(self, session: Session, flight: Flight) -> None:
        try:
            response, sent = await self._present(session, flight)
            await self._finish(session, flight, response, sent)
            if isinstance(response, TokenResponse) and not session.is_current(flight.epoch):
                flight.late = Revocation()
                if flight.to_be_revoked:
                    granted = response.refresh_token or flight.login.refresh_token
                    login = replace(flight.login, refresh_token=granted)
                    flight.late = await self._tokens.revoke(flight.account, login, shared=flight.revoke_shared)
        finally:
            del self._flights[session, flight.epoch]
            flight.done.set()
            flight.over.resolve(True)
            self._table.publish(flight.account.name)
            self.reschedule()

    async def _present(self, session: Session, flight: Flight) -> tuple[TokenResponse | Failure, Moment]:
        """Present the session's refresh token, and where the provider calls that dead, one that another put there.

        What came of the last one, and when that was sent.
        """

        def is_wanted() -> bool:
            return session.epoch == flight.epoch and session.blocked_by_config is None

        while True:
            if flight.login.refresh_token is not None:
                await self._saver.record_sent(session, flight.login.refresh_token)
            if not is_wanted():
                return Transient("its login has gone"), self._clock.now()
            response, sent = await self._tokens.refresh(flight.account, flight.login, is_wanted, flight.key)
            # Only a refresh that asks for no token in particular can end a session.
            can_end = flight.key == MAIN and flight.login.refresh_token is not None and is_wanted()
            if not isinstance(response, InvalidGrant) or not can_end:
                return response, sent
            try:
                found = await self._saver.reload(session)
            except StoreError as error:
                reason = f"{response.reason}, and the store can't tell whether another one took its place: {error}"
                return Transient(printable(reason)), sent
            other = session.successor(found)
            if other is None or not self._saver.fingerprints.is_new(other) or not session.is_current(flight.epoch):
                return response, sent
            name = flight.account.name
            _log.info("refresh account=%s outcome=ended found='another refresh token in the store'", name)
            session.replace_refresh_token(other)
            flight.login = replace(flight.login, refresh_token=other)

    async def _finish(self, session: Session, flight: Flight, response: TokenResponse | Failure, sent: Moment) -> None:
        """Save what came of a refresh before it takes effect, and let it; unless its login has gone."""
        effects = session.finish(flight.epoch, response, sent, self._clock.now(), self._chance())
        if effects.save is not None:
            await self._saver.save(session, effects.save)
        if session.settle(effects):
            self._report(session, flight.key)
            ended = isinstance(response, Failure) and not isinstance(session.state, Active)
            if ended or session.profile is not effects.result.profile:  # one may have come meanwhile
                self._saver.save_soon(session)
            # It failed, and the account was changed meanwhile: that says nothing of the account as it is now.
            if session.account != flight.account and session.forget_failures():
                flight.over.resolve(False)

    def _report(self, session: Session, key: TokenKey) -> None:
        name, state = session.account.name, session.state
        what = f" audience={printable(key.audience)!r} scope={printable(key.scope)!r}" if key != MAIN else ""
        renewal = state.retries.get(key) or Idle() if isinstance(state, Active) and key != MAIN else None
        if isinstance(state, Active) and isinstance(renewal or state.refresh, Idle):
            _log.info("refresh account=%s%s outcome=ok refreshes=%d", name, what, session.refreshes)
        else:
            reason = renewal.failure.reason if isinstance(renewal, Retrying) else session.reason
            _log.warning("refresh account=%s%s outcome=failed reason=%r", name, what, reason)

    # ---- clients that wait

    async def token(self, session: Session, demand: Demand, rate_limit: RateLimit, timeout: float) -> AccessToken:
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
                if isinstance(decision, Start) and decision.rate_limited:
                    charge(self._clock.now().boot, session.rate_limit, rate_limit)
                flight = self.start(session, decision.key if isinstance(decision, Start) else demand.key)
                if flight is None:
                    raise agent_ending()
                waited = False
                with anyio.move_on_after(decision.patience if isinstance(decision, Join) else None):
                    waited = await flight.over.wait() and flight.key == demand.key

    async def refresh(self, session: Session, rate_limit: RateLimit, timeout: float) -> AccessToken:
        """A token from a refresh that a person asked for: past failures and the backoff don't count.

        Raises:
            AgentError: there is none; `Timeout` when it takes longer than `timeout` seconds.

        """
        demand = session.demand_newer()
        if session.can_retry and self._flight(session) is None:
            charge(self._clock.now().boot, session.rate_limit, rate_limit)
            session.retry()
            self.start(session)
        return await self.token(session, demand, rate_limit, timeout)

    def _decide(self, session: Session, demand: Demand, *, waited: bool) -> Decision:
        revision = session.revision
        decision = session.decide(demand, self._clock.now(), waited=waited)
        if session.revision != revision:  # the next attempt was brought forward
            self._table.publish(session.account.name)
            self.reschedule()
        return decision

    def leave_login(self, session: Session, *, revoke: bool = True, shared: bool = False) -> Flight | None:
        """Let no client wait any longer for the refresh of a login that is about to go; return the one in flight."""
        flight = self._flight(session)
        if flight is not None:
            flight.to_be_revoked, flight.revoke_shared = revoke, shared
            flight.over.resolve(False)
        return flight
