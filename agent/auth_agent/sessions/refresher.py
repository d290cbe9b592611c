"""Runs the refreshes of sessions, ahead of time and on demand, one at a time for each session.

Theory of operation. `Session.decide` says what a client's request needs; this module acts on it. All who need a token
join the refresh in flight, since a rotated refresh token must not be sent twice. A refresh is never cancelled: its
response may hold the only valid refresh token. If the session was replaced or logged out meanwhile (its epoch changed),
the result is discarded, and the new refresh token revoked. A result is saved before it takes effect. A defect of the
agent in one session's refresh is that refresh's failure, `defect`: it is logged by its place and tried again with
backoff, with the newest refresh token, and the other sessions go on.

The timer doesn't look at all sessions, but at those whose time in the agenda has come, whose record changed, or for
which `reschedule` was called. The agenda's times are by the clock since boot. What depends on the wall clock stays
right because all sessions are looked at once that clock was set.
"""

import logging
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Defect, Failure, InvalidGrant, TokenResponse, Transient, Unconfirmed
from auth_agent.printable import printable
from auth_agent.promise import Promise
from auth_agent.secret import Secret
from auth_agent.sessions.advice import agent_ending, side_request_refused
from auth_agent.sessions.agenda import Agenda
from auth_agent.sessions.background import Background, deadline, no_answer
from auth_agent.sessions.decision import Decision, Demand, Hold, Join, Serve, Start
from auth_agent.sessions.rate_limit import Asker, charge
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, Idle, Retrying, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.sessions.token_client import TokenClient
from auth_agent.storage.store import StoreError
from auth_agent_client import errors

_log = logging.getLogger(__name__)

# Seconds; the timer sleeps no longer, to notice a suspended machine or a changed clock. A session that has to be looked
# at from time to time is looked at as often.
TICK: Final = 30.0
# Seconds by which the wall clock must have been set to count. Smaller changes move nothing by more than that.
_MIN_CLOCK_CHANGE: Final = 0.5
# Seconds by which the boot clock must gain on the clock that stops in suspend, to count as a suspension.
_MIN_SUSPENSION: Final = 5.0


class Flight:
    """A refresh in flight, for the token of that key. Its result is valid for one epoch only."""

    def __init__(self, session: Session, credentials: Credentials, key: TokenKey) -> None:
        self.account = session.account
        self.epoch = session.epoch
        self.credentials = credentials
        self.key = key
        # For clients: kept when it is done, or its login has gone; True if the result is about the current session.
        self.over = Promise[bool]()
        self.done = anyio.Event()
        # Whether to revoke a token that arrives after the login has gone (a logout may say no), and whether to do so
        # even if another session may end with it.
        self.to_be_revoked = True
        self.revoke_shared = False
        # The new refresh token that it brought, if any.
        self.refresh_token: Secret | None = None
        # A token for the one client that began this refresh.
        self.single_use: AccessToken | None = None
        # The revocation of a token that arrived after the login had gone; None if none arrived.
        self.late: Revocation | None = None


class Refresher:
    """Runs the refreshes of all sessions of a table."""

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
        # When to look at each session, in seconds since boot; which to look at in the next pass, all of them or some.
        self._agenda = Agenda[Session]()
        self._are_all_stale = True
        self._stale: set[Session] = set()
        # The wall clock's lead over the one since boot at the last look at all.
        self._offset = 0.0
        # The most seconds between two passes of the timer, and what is called after each; it must not raise.
        self.longest_pause = TICK
        self.on_look: Callable[[], None] = lambda: None
        # Called with a session whose ceiling is reached; returns the seconds until it must be called again.
        self.on_over: Callable[[Session], float] = lambda _: TICK
        table.watch(self)
        # Returns why no refresh begins now, by the account's name; None: refreshes begin.
        self.paused_by: Callable[[str], errors.AgentError] | None = None

    def now(self) -> Moment:
        """Return the present moment."""
        return self._clock.now()

    # ---- the timer

    async def run(self) -> None:
        """Refresh sessions ahead of time, until cancelled; refreshes in flight go on."""
        suspended = self._suspended_seconds()
        while True:
            self._wake = anyio.Event()
            previously_suspended, suspended = suspended, self._suspended_seconds()
            if suspended - previously_suspended > _MIN_SUSPENSION:
                _log.info("resumed suspended_for=%.0fs", suspended - previously_suspended)
                self.forget_all_failures()
            self._look_at_what_is_due()
            self.on_look()
            with anyio.move_on_after(min(self.longest_pause, self._agenda.next_at - self._clock.now().boot)):
                await self._wake.wait()

    def reschedule(self, session: Session | None = None) -> None:
        """Wake the timer: the time of that session's next refresh has changed, or that of any (None)."""
        if session is None:
            self._are_all_stale = True
        else:
            self._stale.add(session)
        self._wake.set()

    def attend_to(self, session: Session) -> None:
        """Refresh a session that was just read from the store if it is due, or schedule its refresh."""
        before = self._agenda.next_at
        self._look_at(session)
        if self._agenda.next_at < before:
            self._wake.set()

    def changed(self, account: str) -> None:
        """Look at an account whose record changed, in the next pass: whoever needs that soon wakes the timer."""
        session = self._table.sessions.get(account)
        if session is not None:
            self._stale.add(session)

    def _suspended_seconds(self) -> float:
        """Return the seconds that the machine was suspended since boot, plus a constant: only differences count."""
        return self._clock.now().boot - self._clock.awake()

    def forget_all_failures(self) -> None:
        """Try all that failed again now, as after a suspension."""
        self._forget_failures(None)

    def note_new_network(self) -> None:
        """Try all that failed again now, but not before a provider's `Retry-After` allows it: networks may flap."""
        self._forget_failures(self._clock.now())

    def _forget_failures(self, now: Moment | None) -> None:
        for name, session in self._table.sessions.items():
            if session.forget_failures(now):
                self._table.publish(name)
        self.reschedule()

    def _look_at_what_is_due(self) -> None:
        """Look at the sessions whose time has come, or that changed; at all of them if a clock was set."""
        now = self._clock.now()
        if abs(now.wall - now.boot - self._offset) > _MIN_CLOCK_CHANGE:
            self._are_all_stale = True
        due = self._agenda.take_due(now.boot)
        if self._are_all_stale:
            self._are_all_stale, self._offset = False, now.wall - now.boot
            self._agenda.clear()
            sessions = list(self._table.sessions.values())
        else:
            sessions = list(dict.fromkeys([*due, *self._stale]))
        for session in sessions:
            # One that was removed is not refreshed.
            if self._table.sessions.get(session.account.name) is session:
                self._look_at(session)
        self._stale.clear()

    def _look_at(self, session: Session) -> None:
        """Refresh a session if it is due, and plan the next look at it."""
        try:
            seconds = self._seconds_until_next_look(session)
        except Exception as error:  # noqa: BLE001 -- a defect with one session must not end all
            _log_defect(session.account.name, error)
            seconds = TICK
        self._agenda.put(session, self._clock.now().boot + seconds)

    def _seconds_until_next_look(self, session: Session) -> float:
        """Start the session's refresh if it is due; return when it must be looked at again, unless it changes."""
        now = self._clock.now()
        self._table.look(session, now)
        seconds = min(TICK, self.on_over(session)) if session.is_over and session.has_erasable else math.inf
        revision = session.revision
        seconds = min(seconds, session.forget_unused(now))
        if session.revision != revision:
            self._table.publish(session.account.name)
        due = session.next_due(now)
        if due is not None and now.until(due[0]) > 0:
            seconds = min(seconds, now.until(due[0]))
        elif due is not None and self.start(session, due[1]) is None:
            seconds = min(seconds, TICK)  # none may begin now
        return min(seconds, session.until_change(now))

    # ---- refreshes

    def start(self, session: Session, key: TokenKey = MAIN) -> Flight | None:
        """Start a refresh for that token, or return the one in flight, for any token; None if none may begin."""
        flight = self._flight(session)
        if flight is not None:
            return flight
        if self.paused_by is not None or not self._background.accepts_work:
            return None
        credentials = session.start(self._clock.now(), key)
        flight = self._flights[session, session.epoch] = Flight(session, credentials, key)
        name = flight.account.name
        self._table.publish(name)
        self._background.begin(lambda: self._run_flight(session, flight), f"refresh {name}")
        return flight

    @property
    def is_idle(self) -> bool:
        """Whether no refresh is in flight."""
        return not self._flights

    def _flight(self, session: Session) -> Flight | None:
        """Return the refresh in flight for the session's current login, if any."""
        return self._flights.get((session, session.epoch))

    async def _run_flight(self, session: Session, flight: Flight) -> None:
        try:
            await self._refresh(session, flight)
        except Exception as error:  # noqa: BLE001 -- a defect in one session's refresh must not end all sessions
            _log_defect(flight.account.name, error)
            self._fail_by_defect(session, flight)
        finally:
            del self._flights[session, flight.epoch]
            flight.done.set()
            flight.over.resolve(True)
            self._table.publish(flight.account.name)
            self.reschedule(session)

    async def _refresh(self, session: Session, flight: Flight) -> None:
        response, sent = await self._present(session, flight)
        flight.refresh_token = response.refresh_token
        await self._finish(session, flight, response, sent)
        brought_tokens = isinstance(response, TokenResponse) or response.refresh_token is not None
        if brought_tokens and not session.is_current(flight.epoch):
            # Not only after the request that follows.
            self._table.publish(flight.account.name)
            flight.over.resolve(True)
            flight.late = Revocation()
            if flight.to_be_revoked and not session.is_over:
                refresh_token = response.refresh_token or flight.credentials.refresh_token
                credentials = replace(flight.credentials, refresh_token=refresh_token)
                flight.late = await self._tokens.revoke(flight.account, credentials, shared=flight.revoke_shared)

    def _fail_by_defect(self, session: Session, flight: Flight) -> None:
        """End a refresh that a defect interrupted; the refresh token that it brought is held and saved all the same."""
        if not session.is_current(flight.epoch) or not session.is_refreshing:
            return
        now = self._clock.now()
        failure = Defect("the agent has a defect; its log has details", refresh_token=flight.refresh_token)
        try:
            session.settle(session.finish(flight.epoch, failure, now, now, self._chance()))
            self._saver.save_soon(session)
        except Exception as error:  # noqa: BLE001 -- as above; then this session is not refreshed any more
            _log_defect(flight.account.name, error)

    async def _present(self, session: Session, flight: Flight) -> tuple[TokenResponse | Failure, Moment]:
        """Send the session's refresh token; on invalid_grant, try a newer one that another process put in the store.

        Return the last response, and when its request was sent.
        """

        def is_wanted() -> bool:
            session.look(self._clock.now())
            return session.epoch == flight.epoch and session.blocked is None

        while True:
            refusal = await self._tokens.side_refusal(flight.account, flight.credentials, flight.key)
            if refusal is not None:  # nothing is sent, so nothing is noted
                return refusal, self._clock.now()
            if flight.credentials.refresh_token is not None:
                await self._saver.record_sent(session, flight.credentials.refresh_token)
            if not is_wanted():
                return Transient("its login has gone"), self._clock.now()
            response, sent = await self._tokens.refresh(flight.account, flight.credentials, is_wanted, flight.key)
            # Only a refresh of the main token can end a session.
            can_end = flight.key == MAIN and flight.credentials.refresh_token is not None and is_wanted()
            if not isinstance(response, InvalidGrant) or response.refresh_token is not None or not can_end:
                return response, sent
            try:
                stored = await self._saver.reload(session)
            except StoreError as error:
                reason = f"{response.reason}, and the store can't be checked for a newer refresh token: {error}"
                return Unconfirmed(printable(reason)), sent
            successor = session.successor(stored)
            if (
                successor is None
                or not self._saver.fingerprints.is_new(successor)
                or not session.is_current(flight.epoch)
            ):
                return response, sent
            name = flight.account.name
            _log.info("refresh account=%s outcome=ended found='another refresh token in the store'", name)
            session.replace_refresh_token(successor)
            flight.credentials = replace(flight.credentials, refresh_token=successor)

    async def _finish(self, session: Session, flight: Flight, response: TokenResponse | Failure, sent: Moment) -> None:
        """Save the result of a refresh, and then apply it, unless its login has gone."""
        was_refused = session.is_refused
        effects = session.finish(flight.epoch, response, sent, self._clock.now(), self._chance())
        if effects.save is not None:
            await self._saver.save(session, effects.save)
        if session.settle(effects):
            flight.single_use = effects.single_use
            self._report(session, flight.key)
            ended = isinstance(response, Failure) and not isinstance(session.state, Active)
            # A profile, or a proof of what a refresh does, may have arrived meanwhile.
            is_newer = session.profile is not effects.result.profile or session.state is not effects.result.state
            if ended or is_newer or (session.is_refused and not was_refused):
                self._saver.save_soon(session)
            # It failed with a configuration that has changed since: the failure says nothing about the new one.
            if session.account != flight.account and session.forget_failures():
                flight.over.resolve(False)

    def _report(self, session: Session, key: TokenKey) -> None:
        name, state = session.account.name, session.state
        what = f" audience={printable(key.audience)!r} scope={printable(key.scope)!r}" if key != MAIN else ""
        key_state = state.retries.get(key) or Idle() if isinstance(state, Active) and key != MAIN else None
        if isinstance(state, Active) and isinstance(key_state or state.refresh, Idle):
            _log.info("refresh account=%s%s outcome=ok refreshes=%d", name, what, session.refreshes)
            if state.credentials.id_token_problem:
                _log.warning("refresh account=%s problem=%r", name, state.credentials.id_token_problem)
        else:
            reason = key_state.failure.reason if isinstance(key_state, Retrying) else session.reason
            _log.warning("refresh account=%s%s outcome=failed reason=%r", name, what, reason)

    # ---- clients that wait

    async def token(self, session: Session, demand: Demand, asker: Asker, timeout: float) -> AccessToken:
        """Return the token that the demand is for, refreshing it if needed.

        Raises:
            AgentError: there is no such token. `Timeout` if it takes longer than `timeout` seconds.

        """
        waited = held = is_allowed = False
        session.used_at = self._clock.now().wall
        with deadline(timeout, no_answer(session.account)):
            while True:
                decision = self._decide(session, demand, waited=waited, held=held)
                if isinstance(decision, Serve):
                    return decision.token
                if isinstance(decision, errors.AgentError):
                    raise decision
                if isinstance(decision, Hold):
                    await anyio.sleep(decision.seconds)
                    held = True
                    continue
                if isinstance(decision, Start) and decision.key != MAIN and not is_allowed:
                    # Before it counts: nothing is sent for a token that is not asked for.
                    await self._check_side_request(session, decision.key)
                    is_allowed = True
                    continue
                if isinstance(decision, Start) and decision.rate_limited:
                    charge(self._clock.now().boot, session.rate_limit, asker)
                began = isinstance(decision, Start) and self._flight(session) is None
                flight = self.start(session, decision.key if isinstance(decision, Start) else demand.key)
                if flight is None:
                    raise self._refusal(session)
                waited = False
                with anyio.move_on_after(decision.patience if isinstance(decision, Join) else None):
                    waited = await flight.over.wait() and flight.key == demand.key
                    if began and waited and flight.single_use is not None:
                        return flight.single_use
                    waited = waited and flight.single_use is None

    async def _check_side_request(self, session: Session, key: TokenKey) -> None:
        """Raise `Denied` if no refresh is sent for the token of that key."""
        account, credentials = session.account, session.credentials
        refusal = None if credentials is None else await self._tokens.side_refusal(account, credentials, key)
        if refusal is not None:
            raise side_request_refused(account, refusal, key)

    def _refusal(self, session: Session) -> errors.AgentError:
        """Return why no refresh may begin."""
        return agent_ending() if self.paused_by is None else self.paused_by(session.account.name)

    async def refresh(self, session: Session, asker: Asker, timeout: float) -> AccessToken:
        """Refresh for a user who asked for it, ignoring past failures and the backoff; return the token.

        Raises:
            AgentError: there is no token. `Timeout` if it takes longer than `timeout` seconds.

        """
        demand = session.demand_newer()
        if session.can_retry and self._flight(session) is None:
            charge(self._clock.now().boot, session.rate_limit, asker)
            session.retry()
            self._tokens.look_again(session.account)
            self.start(session)
        return await self.token(session, demand, asker, timeout)

    def _decide(self, session: Session, demand: Demand, *, waited: bool, held: bool) -> Decision:
        revision = session.revision
        decision = session.decide(demand, self._clock.now(), waited=waited, held=held)
        if session.revision != revision:  # the next attempt was brought forward
            self._table.publish(session.account.name)
            self.reschedule(session)
        return decision

    def leave_login(self, session: Session, *, revoke: bool = True, shared: bool = False) -> Flight | None:
        """Release the clients that wait for the refresh of a login that is about to go; return that refresh, if any."""
        flight = self._flight(session)
        if flight is not None:
            flight.to_be_revoked, flight.revoke_shared = revoke, shared
            flight.over.resolve(False)
        return flight


def _log_defect(name: str, error: Exception) -> None:
    # Its type and place alone: an exception's text could hold what was being sent.
    _log.error("defect account=%s in=refresh error=%s", name, place(error))
