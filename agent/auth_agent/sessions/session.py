"""One account's session: its state and what follows from it. Synchronous, in memory; the caller provides the time.

Theory of operation. A session decides; `Refresher` and `Admission` do the I/O. A refresh takes several steps, between
which a logout, another login or a change of the configuration may happen: `start`; the request; `finish`, which holds a
new refresh token and computes the next state; the save; `settle`, which makes that state take effect. It is saved
before it takes effect, so that a client never gets a token of a session that a crash would lose. The *epoch* changes at
login, import and logout alone, and the result of a refresh that began in an older epoch is discarded. The *revision*
changes whenever the record does.
"""

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.oauth.asked import ORGANIZATION, lacks, no_claims
from auth_agent.oauth.challenge import wanted_login
from auth_agent.oauth.outcome import Busy, Defect, Failure, Lost, TokenResponse, Unusable
from auth_agent.oauth.scope import coverage, further, normalized
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.advice import (
    ACCOUNT_CHANGED,
    ACCOUNT_REMOVED,
    CLAIMS_MISSING,
    LOGGED_OUT,
    SESSION_EXPIRED,
    TOKEN_REJECTED,
    another_login_required,
    failure_word,
    locked,
    login_failure,
    login_remedy,
    login_required,
    rejected_otherwise,
    retry_remedy,
)
from auth_agent.sessions.decision import Decision, Demand, Hold, Serve, decide
from auth_agent.sessions.entry import StoredSession
from auth_agent.sessions.interest import Interest
from auth_agent.sessions.profile import Profile, digest_of_user
from auth_agent.sessions.promises import Promises, keeps
from auth_agent.sessions.rate_limit import CALL_INTERVAL, CALLS, SharedLimit
from auth_agent.sessions.schedule import PERMANENT_RETRY_CAP, lifetime_of, served_from
from auth_agent.sessions.session_end import is_reached, over_at, seconds_until
from auth_agent.sessions.side_requests import after_refresh
from auth_agent.sessions.state import (
    MAIN,
    AccessToken,
    Active,
    Credentials,
    Idle,
    IllegalMoveError,
    Locked,
    LoggedOut,
    LoginRequired,
    Retrying,
    Running,
    State,
    TokenKey,
)
from auth_agent.sessions.superseded import Superseded
from auth_agent.sessions.term import Term
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

_log = logging.getLogger(__name__)

NARROWED: Final = "narrowed"
# Tokens of a session besides the main one. Enough for a user's programs; each costs a refresh per lifetime.
MAX_TOKENS: Final = 32
# An API that rejects a token of at most this age would also reject a new one.
_YOUNG: Final = 60.0
_YOUNG_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of a refresh that began in `epoch`: `save` must be stored before `result` takes effect.

    `single_use` is a token that is not kept, for the one client whose request brought it.
    """

    epoch: int
    save: StoredSession | None
    result: StoredSession
    chance: float
    at: Moment
    single_use: AccessToken | None = None


class Session:
    """One account's session."""

    def __init__(self, account: Account, chance: float) -> None:
        self.account = account
        self.removed = False
        self.state: State = LoggedOut()
        self.epoch = 0
        self.revision = 0
        # Whether its ceiling was reached at the last look at the clock.
        self.is_over = False
        # Whether the store has the current state.
        self.saved = True
        # When a client last requested a token, in Unix time.
        self.used_at = 0.0
        self.refreshes = 0
        self.last_refresh_at: float | None = None
        self.profile: Profile | None = None
        # What follows from the ID token, and at which revision; without the token, which a lock or logout forgets.
        self._user_digest = (-1, "")
        self._claims_checked = (-1, False)
        self._chance = chance
        # By the keys of the session's tokens, including the one whose first refresh is in flight.
        self._interests: dict[TokenKey, Interest] = {MAIN: Interest()}
        self._promises = Promises()
        self._superseded = Superseded()
        self._serial = 0

    # ---- limits, made when they are needed: they take 1 KB

    @cached_property
    def rate_limit(self) -> SharedLimit:
        """That of refreshes that clients cause."""
        return SharedLimit()

    @cached_property
    def login_limit(self) -> SharedLimit:
        """That of logins and imports."""
        return SharedLimit()

    @cached_property
    def call_limit(self) -> SharedLimit:
        """That of calls about the user."""
        return SharedLimit(CALLS, CALL_INTERVAL)

    # ---- requests of clients

    def token(self, key: TokenKey, min_ttl: float | None, now: Moment) -> AccessToken | None:
        """Return the current token if it is valid for `min_ttl` seconds, else None. Nearly every request ends here."""
        self.used_at = now.wall
        state = self.state
        if type(state) is not Active:
            return None
        self.look(now)
        if self.blocked is not None:
            return None
        token = state.tokens.get(key)
        if token is None or not token.is_good_for(min_ttl, now):
            return None
        if self.ends_access_tokens:
            if not self._spares(token, min_ttl, now):
                return None
            self._promises.make(token, min_ttl, now)
        return token

    def term(self, token: AccessToken, min_ttl: float | None) -> Term | None:
        """Return for how long further requests with that `min_ttl` get that token, as one just did.

        It holds while the revision stays as it is. None if each request must be decided by itself, because it is
        promised something.
        """
        if self.ends_access_tokens:
            return None
        return token.term(min_ttl).not_after(over_at(self.ceiling))

    def interest(self, key: TokenKey) -> Interest | None:
        """Return what notes the requests for that token; None for the main one, which is refreshed without any."""
        return None if key == MAIN else self._interests.get(key)

    def record_demand(self, key: TokenKey, min_ttl: float | None, now: Moment) -> bool:
        """Record a client's request; return whether the next refresh may have to be earlier."""
        if key == MAIN and min_ttl is None:  # as in nearly every request
            return False
        interest = self._interests.get(key)
        if interest is None:  # its first refresh will add it
            return False
        if key != MAIN:
            was_requested = interest.requested
            interest.touch(now.boot)
            return interest.demand(min_ttl) or not was_requested
        before = self.refresh_at()
        if not interest.demand(min_ttl) or self.refresh_at() == before:
            return False
        self.revision += 1
        return True

    def decide(self, demand: Demand, now: Moment, *, waited: bool = False, held: bool = False) -> Decision:
        """Return what to do for a client.

        `waited`: it has already waited for a refresh of its token; `held`: for what others were promised.
        """
        state = self.state
        if isinstance(state, Locked):
            return locked(self.account.name, state)
        self.look(now)
        if not isinstance(state, Active) or self.blocked is not None:
            return self.login_required()
        due, ends, token = self.refresh_starts(now), self.ends_access_tokens, state.tokens.get(demand.key)
        decision, decided = decide(
            self.account,
            state,
            demand,
            now,
            waited=waited,
            is_configured=self._is_configured(demand.key),
            main_is_due=due is not None and now.until(due) <= 0,
            is_spared=not ends or token is None or self._spares(token, demand.min_ttl, now),
            is_promised=ends and self._promises.are_open(now),
            patience=self._promises.patience(now) if ends and not held else 0.0,
        )
        if ends and isinstance(decision, Serve):
            self._promises.make(decision.token, demand.min_ttl, now)
        if isinstance(decision, Hold):
            self._promises.plan(decision.seconds, now)
        if decided is not state:
            self._set_state(decided)
        return decision

    @property
    def ends_access_tokens(self) -> bool:
        """Whether a refresh ends the access tokens from before."""
        return self._ends_access_tokens(self.credentials)

    def _ends_access_tokens(self, credentials: Credentials | None) -> bool:
        configured = self.account.refresh_ends_access_token
        return (credentials is not None and credentials.ends_access_token) if configured is None else configured

    def _spares(self, token: AccessToken, min_ttl: float | None, now: Moment) -> bool:
        """Return whether no refresh will end that token within `min_ttl`, as far as the agent can help it."""
        can_make = not self.is_refreshing and self._promises.can_make(min_ttl, now)
        return can_make and keeps(token, min_ttl, self.refresh_at(), now)

    def suspect(self, access_token: Secret, now: Moment) -> AccessToken | None:
        """Return the newer token if that one, which an API rejected, may have been ended by the refresh for it.

        Its end by the clock has not come, and nothing else tells whether the provider does that.
        """
        if self.account.refresh_ends_access_token is not None or self.ends_access_tokens:
            return None
        state = self.state
        tokens = [] if not isinstance(state, Active) else [one for key, one in state.tokens.items() if not key.audience]
        newest = max(tokens, key=lambda one: one.serial, default=None)
        if newest is None or newest.value == access_token or self.blocked is not None:
            return None
        older = any(one.value == access_token and one.remaining(now) > 0 for one in tokens)
        return newest if older or self._superseded.has(access_token, now) else None

    def prove_ending(self, epoch: int) -> bool:
        """Remember, until the next login, that a refresh ends the access tokens from before; return if it is news."""
        if not self.is_current(epoch) or self.ends_access_tokens:
            return False
        assert isinstance(self.state, Active)  # noqa: S101 -- for the type checker: that of a current epoch
        self._set_state(self.state.prove_ending())
        return True

    def identify(self, subject: str, name: str | None) -> bool:
        """Remember whose session this is, which was not known yet; return whether that is news."""
        state = self.state
        if not isinstance(state, Active) or state.credentials.subject is not None:
            return False
        self._set_state(state.identify(subject, name))
        return True

    def _is_configured(self, key: TokenKey) -> bool:
        """Return whether the configuration names that API: its first token doesn't count against the rate limit."""
        return key == MAIN or (key.audience is not None and key.audience == self.account.management_audience)

    def reject(
        self, key: TokenKey, access_token: Secret, now: Moment, challenge: str = ""
    ) -> Demand | errors.AgentError:
        """Return the demand of a client whose API rejected that token, or an error if a new one won't help.

        `challenge` is the API's WWW-Authenticate, "" if it is not known.
        """
        current = self.current(key)
        if current is None or current.value != access_token:
            return Demand(key)  # an older one, or an unknown one: return the current one
        wanted = wanted_login(challenge)
        if wanted is not None:
            return another_login_required(self.account, wanted)
        young = _YOUNG if current.lifetime is None else min(_YOUNG, _YOUNG_SHARE * current.lifetime)
        if now.boot - current.sent.boot < young and not current.has_ended_by_claim(now):
            return rejected_otherwise("the token was issued only recently")
        if current.lifetime is None:
            return login_required(self.account.name, TOKEN_REJECTED)
        return Demand(key, newer_than=current.serial)

    def end_by_rejection(self) -> bool:
        """End a session whose token has no known end, and was rejected; return False if it has another one."""
        token = self.current()
        if token is None or token.lifetime is not None or not isinstance(self.state, Active):
            return False
        self._set_state(LoginRequired(TOKEN_REJECTED, self.state.credentials))
        return True

    def token_key(self, audience: str | None, scope: str | None, *, only: bool = False) -> TokenKey:
        """Return the key of the token for that audience and at least those scopes (space-separated).

        That is the main one if it has them. `only`: and for no more than these.

        Raises:
            Denied: the account's audience was changed since the login, and the request is for the new one.

        """
        account = self.account
        requested = account.audience if audience is None else audience
        granted = account.audience if self.credentials is None else self.credentials.audience
        scopes = normalized(scope or "")
        if requested == granted and (not scopes or self._main_has(frozenset(scopes.split()), only=only)):
            return MAIN
        is_configured = not scopes or scopes == normalized(self._requested_scope)
        if is_configured and requested == account.audience != granted:
            raise errors.Denied(
                f"{account.name}'s audience was changed in the configuration since the login, and its tokens are still "
                "for the old one",
                failure="account_changed",
                remedy=(remedies.log_in_again(account.name),),
            )
        return TokenKey(None if requested == granted else requested, scopes, only and bool(scopes))

    @property
    def _requested_scope(self) -> str:
        """What the login asked for, or the next one will."""
        requested = "" if self.credentials is None else self.credentials.requested_scope
        return requested or self.account.scope

    def _main_has(self, scopes: frozenset[str], *, only: bool) -> bool:
        """Whether the main token is for these scopes; `only`: and for no others."""
        credentials, token = self.credentials, self.current()
        listed = token.scope if token is not None else None if credentials is None else credentials.held_scope
        has_more = only and further(scopes, listed if listed is not None else self._requested_scope)
        return not has_more and scopes <= coverage(self._requested_scope, listed)

    def demand_newer(self, key: TokenKey = MAIN, *, is_patient: bool = False) -> Demand:
        """Return a demand for a token that is newer than the current one."""
        token = self.current(key)
        return Demand(key, newer_than=None if token is None else token.serial, is_patient=is_patient)

    # ---- events

    def look(self, now: Moment) -> bool:
        """Look at the clock whether the session's ceiling is reached; return whether that is a change.

        It is none for good: the clock may be wrong, and be set.
        """
        state = self.state
        is_over = isinstance(state, Active | LoginRequired) and is_reached(state.credentials.ceiling, now.wall)
        if is_over == self.is_over:
            return False
        self.is_over = is_over
        self.revision += 1
        return True

    def end_at_ceiling(self) -> None:
        """Erase the secrets of a session whose ceiling is reached."""
        if not isinstance(self.state, Active | LoginRequired):
            raise IllegalMoveError("there is no session")
        failure = login_failure(SESSION_EXPIRED)
        self._set_state(LoginRequired(SESSION_EXPIRED, self.state.credentials.without_secrets(), failure=failure))

    def start(self, now: Moment, key: TokenKey = MAIN) -> Credentials:
        """Begin a refresh of the token of that key; return the credentials to refresh it with.

        Its result belongs to the current epoch: see `finish`.
        """
        if not isinstance(self.state, Active):
            raise IllegalMoveError("only an active session is refreshed")
        self._make_room(self.state, key, now)
        self._set_state(self.state.start(now, key))
        return self.state.credentials

    def _make_room(self, state: Active, key: TokenKey, now: Moment) -> None:
        """Add the key to the session's, if need be instead of the one that was requested the longest time ago."""
        if key not in self._interests:
            others = [other for other in self._interests if other != MAIN]
            if len(others) >= MAX_TOKENS:
                oldest = min(others, key=lambda other: self._interests[other].requested_at)
                del self._interests[oldest]
                self._set_state(state.forget(oldest))
            self._interests[key] = Interest()
            self._interests[key].touch(now.boot)

    def is_current(self, epoch: int) -> bool:
        """Return whether the result of a refresh that began in that epoch is still of use; else it is never stored."""
        return epoch == self.epoch and isinstance(self.state, Active)

    def replace_refresh_token(self, refresh_token: Secret) -> None:
        """Hold a new refresh token, from the provider or the store, before the rest of the response is checked."""
        assert isinstance(self.state, Active)  # noqa: S101 -- for the type checker: that of a current refresh
        self._set_state(self.state.replace_refresh_token(refresh_token))

    def finish(
        self, epoch: int, response: TokenResponse | Failure, sent: Moment, now: Moment, chance: float
    ) -> Effects:
        """Hold the refresh token that a refresh brought, and return the refresh's effects.

        Nothing else changes until they are stored and `settle` is called.

        Args:
            epoch: the session's epoch when the refresh began.
            response: the provider's response, or the failure.
            sent: when the request was sent.
            now: the time.
            chance: in [0, 1), for the jitter of the backoff or of the next refresh.

        """
        if not self.is_current(epoch):
            return Effects(epoch, None, self.snapshot(), chance, now)
        is_result = isinstance(response, TokenResponse) or response.refresh_token is not None
        rotated = False
        if response.refresh_token is not None:
            rotated = self.credentials is None or response.refresh_token != self.credentials.refresh_token
            self.replace_refresh_token(response.refresh_token)
        try:
            result = self._judge(response, sent, now, chance, rotated=rotated)
        except Exception as error:  # noqa: BLE001 -- a defect that one response reveals must not end all sessions, nor this one
            _log.error("defect account=%s in=judge error=%s", self.account.name, place(error))
            result = self._judge(Defect("the agent has a defect; its log has details"), sent, now, chance)
        single_use = self._single_use(response, sent) if result.refreshes > self.refreshes else None
        return Effects(epoch, result if is_result else None, result, chance, now, single_use)

    def _judge(
        self, response: TokenResponse | Failure, sent: Moment, now: Moment, chance: float, *, rotated: bool = False
    ) -> StoredSession:
        """Return the session as it will be after the refresh; change nothing."""
        active = self.state
        assert isinstance(active, Active)  # noqa: S101 -- for the type checker: that of a current refresh
        if isinstance(response, Failure):
            return self.snapshot(active.fail(response, now, chance))
        key = active.running().key
        # While the session is blocked, nothing of it is served, and its end would be for good.
        required = no_claims() if self._lacks_claims else self.account.require_claims
        organization = self.account.authorize.get(ORGANIZATION)
        credentials = accept(active.credentials, response, sent, key, required, organization)
        if isinstance(credentials, Failure):
            return self.snapshot(active.fail(credentials, now, chance))
        credentials = replace(credentials, met_claims=required)
        credentials = after_refresh(credentials, response, key, rotated=rotated)
        token = self.access_token(response, credentials, sent, key, now.boot - sent.boot)
        if token.remaining(now) <= 0:  # the provider took longer than its tokens live, or a clock was set meanwhile
            failure = Busy("the provider's token had already expired when it arrived")
            return self.snapshot(active.fail(failure, now, chance))
        kept, ends_others = None if response.is_single_use else token, self._ends_access_tokens(credentials)
        completed = active.complete_refresh(credentials, kept, ends_others=ends_others)
        return StoredSession(completed, self.epoch, self.refreshes + 1, now.wall, profile=self.profile)

    def _single_use(self, response: TokenResponse | Failure, sent: Moment) -> AccessToken | None:
        """Return the token of an accepted response to the running refresh if it serves one use."""
        state = self.state
        if isinstance(response, Failure) or not response.is_single_use or not isinstance(state, Active):
            return None
        return self.access_token(response, state.credentials, sent, state.running().key)

    def settle(self, effects: Effects) -> bool:
        """Make a refresh's stored effects take effect; return False if they are of an older epoch and discarded."""
        if not self.is_current(effects.epoch):
            return False
        result = effects.result
        if result.refreshes > self.refreshes and isinstance(self.state, Active):
            key = self.state.running().key
            self._interests[key].token_replaced()
            self._promises = Promises()
            old = self.state.tokens.get(key)
            if old is not None and key.audience is None:
                self._superseded.add(old, effects.at)
            if key == MAIN:
                self._chance = effects.chance
            elif effects.single_use is not None:
                del self._interests[key]
        self.refreshes = result.refreshes
        self.last_refresh_at = result.last_refresh_at
        state, before = result.state, self.credentials
        if before is not None and before.ends_access_token and isinstance(state, Active):
            state = state.prove_ending()  # the proof may have come while the result was saved
        if before is not None and before.subject is not None and isinstance(state, Active | LoginRequired):
            state = state.identify(before.subject, before.name)  # so may UserInfo
        self._set_state(state)
        return True

    def successor(self, other: StoredSession | None) -> Secret | None:
        """Return the refresh token of a stored session if that is this session as another process saved it."""
        mine, theirs = (
            self.credentials,
            None if other is None or not isinstance(other.state, Active) else other.state.credentials,
        )
        if mine is None or theirs is None or not theirs.is_bound_to(mine.issuer, mine.client_id):
            return None
        return theirs.refresh_token if theirs.user == mine.user else None

    def snapshot(self, state: State | None = None) -> StoredSession:
        """Return the session for the store, as it is or as it would be in that state."""
        return StoredSession(
            state or self.state, self.epoch, self.refreshes, self.last_refresh_at, profile=self.profile
        )

    def restore(self, stored: StoredSession, now: Moment) -> None:
        """Take the state that was read from the store."""
        if not isinstance(self.state, Locked):
            raise IllegalMoveError("only a locked session is restored")
        self.epoch = max(self.epoch, stored.epoch)
        self.refreshes = stored.refreshes
        self.last_refresh_at = stored.last_refresh_at
        self.profile = stored.profile
        self._set_state(stored.state)
        token = self.current()
        if token is not None:
            self._promises.assume(token, now)

    def put_away(self, reason: str, remedy: tuple[Remedy, ...] = ()) -> None:
        """Forget the session until it is restored; `reason` says why it is locked (printable).

        What began before, such as a login, is of an older epoch. The state of a session that has ended stays.
        """
        self.epoch += 1
        self.profile = None
        self._interests = {MAIN: Interest()}
        self._promises, self._superseded = Promises(), Superseded()
        if not isinstance(self.state, LoggedOut):
            self._set_state(Locked(reason, remedy))

    def lock(self, reason: str, remedy: tuple[Remedy, ...] = ()) -> bool:
        """Set why a locked session can't be read from the store (printable); return whether that is a change.

        A login that began while the store did not have its entry may still replace it.
        """
        return self.doubt(Locked(reason, remedy, is_replaceable=self.is_replaceable))

    def doubt(self, state: Locked) -> bool:
        """Set what is doubtful about a locked session; return whether that is a change."""
        if not isinstance(self.state, Locked) or self.state == state:
            return False
        self._set_state(state)
        return True

    def set_saved(self, *, saved: bool) -> bool:
        """Set whether the store has the current state; return whether that is a change."""
        if self.saved == saved:
            return False
        self.saved = saved
        self.revision += 1
        return True

    def log_in(self, credentials: Credentials, token: AccessToken, now: Moment) -> None:
        """Replace the session by that of a new login or import."""
        self.epoch += 1
        self.refreshes = 0
        self.last_refresh_at = now.wall
        self._interests = {MAIN: Interest()}
        self._promises, self._superseded = Promises(), Superseded()
        self.profile = None
        self._set_state(self.state.log_in(credentials, token))
        self.look(now)

    def log_out(self) -> Credentials | None:
        """End the session; return its credentials, whose refresh token the caller may revoke."""
        credentials = self.credentials
        self.epoch += 1
        self.refreshes = 0
        self.last_refresh_at = None
        self.profile = None
        self.is_over = False
        self._set_state(self.state.log_out())
        return credentials

    def forget_failures(self, now: Moment | None = None) -> bool:
        """Forget past failures and their backoff; return whether that is a change.

        With `now`, a `Retry-After` that has not passed yet is obeyed.
        """
        if not isinstance(self.state, Active):
            return False
        state = self.state.forget_failures(now)
        if state is self.state:
            return False
        self._set_state(state)
        return True

    def retry(self) -> None:
        """Prepare a refresh that a person asked for: forget failures, and make an ended session active if possible."""
        if isinstance(self.state, LoginRequired) and self.state.can_retry:
            self._set_state(self.state.retry())
        self.forget_failures()

    def configure(self, account: Account | None) -> None:
        """Take the account of a new configuration; None: it was removed there."""
        self.removed = account is None
        self.account = account or self.account
        self.revision += 1

    # ---- queries

    @property
    def credentials(self) -> Credentials | None:
        """The credentials of an active or ended session; None if nobody is logged in, or the session is locked."""
        return self.state.credentials if isinstance(self.state, Active | LoginRequired) else None

    @property
    def has_erasable(self) -> bool:
        """Whether it has secrets that are erased at its ceiling."""
        credentials = self.credentials
        return isinstance(self.state, Active) or (
            credentials is not None and credentials != credentials.without_secrets()
        )

    @property
    def ceiling(self) -> float | None:
        """When the provider ends the session, whatever is refreshed, as Unix time; None if that is not known."""
        credentials = self.credentials
        return None if credentials is None else credentials.ceiling

    @property
    def is_locked(self) -> bool:
        """Whether its entry has not been read from the store yet."""
        return isinstance(self.state, Locked)

    @property
    def is_replaceable(self) -> bool:
        """Whether it is locked because the store does not have its entry any more: a login may replace it."""
        return isinstance(self.state, Locked) and self.state.is_replaceable

    @property
    def is_refreshing(self) -> bool:
        """Whether a refresh is in flight."""
        return isinstance(self.state, Active) and isinstance(self.state.refresh, Running)

    @property
    def is_refused(self) -> bool:
        """Whether the provider refuses the refresh token, which it may take again."""
        return isinstance(self.state, Active) and self.state.is_refused

    @property
    def refreshable(self) -> bool:
        """Whether the agent refreshes the session by itself."""
        state = self.state
        return isinstance(state, Active) and state.credentials.refreshable and self.blocked is None

    def is_live(self, now: Moment) -> bool:
        """Whether it has a valid token, or will have one without a login."""
        return self.refreshable or self.remaining(now) > 0

    @property
    def can_retry(self) -> bool:
        """Whether a person may have a refresh tried."""
        state = self.state
        return self.refreshable or (isinstance(state, LoginRequired) and state.can_retry and self.blocked is None)

    @property
    def blocked(self) -> str | None:
        """Why nothing of the session may be served or sent: `blocked_by_config`, or SESSION_EXPIRED; None if it may."""
        return self.blocked_by_config or (SESSION_EXPIRED if self.is_over else None)

    @property
    def blocked_by_config(self) -> str | None:
        """Why the configuration forbids to use this session; None if it doesn't.

        ACCOUNT_REMOVED, ACCOUNT_CHANGED or CLAIMS_MISSING.
        """
        if self.removed:
            return ACCOUNT_REMOVED
        if not self.is_of_account:
            return ACCOUNT_CHANGED
        return CLAIMS_MISSING if self.account.require_claims and self._lacks_claims else None

    @property
    def is_of_account(self) -> bool:
        """Whether its issuer, client and grant are those of the account, which is in the configuration."""
        account, credentials = self.account, self.credentials
        if self.removed or credentials is None:
            return not self.removed
        is_bound = credentials.is_bound_to(account.issuer, account.client_id)
        return is_bound and credentials.grant_type == account.grant_type

    @property
    def _lacks_claims(self) -> bool:
        """Whether the configuration requires claims that neither the login nor a refresh had; it is cached."""
        credentials, account = self.credentials, self.account
        if credentials is None or not account.require_claims:
            return False
        if self._claims_checked[0] != self.revision:
            token = credentials.id_token
            claims = None if token is None else id_token.claims(token)
            self._claims_checked = self.revision, lacks(account.require_claims, credentials.met_claims, claims)
        return self._claims_checked[1]

    @property
    def reason(self) -> str | None:
        """Why the session can't be used or refreshed (printable); None if it can."""
        if self.blocked_by_config is not None:
            return self.blocked_by_config
        if isinstance(self.state, Locked | LoginRequired):
            return self.state.reason
        if self.is_over:
            return SESSION_EXPIRED
        failure = self._last_failure
        return self._flaw[1] if failure is None else failure.reason

    @property
    def failure(self) -> str | None:
        """The failure, one of the protocol's `FAILURES`; None if there is none."""
        if self.blocked_by_config is not None:
            return login_failure(self.blocked_by_config)
        if isinstance(self.state, Locked | LoginRequired):
            return self.state.failure
        if self.is_over:
            return login_failure(SESSION_EXPIRED)
        failure = self._last_failure
        if failure is None:
            return self._flaw[0]
        return failure_word(failure)

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What the user can do about a failure, or to log in."""
        name = self.account.name
        if self.blocked_by_config is not None:
            return login_remedy(name, self.blocked_by_config)
        if isinstance(self.state, Locked):
            return self.state.remedy
        if isinstance(self.state, LoginRequired | LoggedOut):
            further = self.state.remedy if isinstance(self.state, LoginRequired) else ()
            return (*login_remedy(name, self.reason or LOGGED_OUT), *further)
        if self.is_over:
            return login_remedy(name, SESSION_EXPIRED)
        failure = self._last_failure
        if failure is not None:
            return retry_remedy(self.account, failure)
        if self._flaw[0] == NARROWED:
            return (remedies.log_in_again(name),)
        token = self.current()
        has_end = not self.state.credentials.refreshable and (token is None or token.lifetime is not None)
        return (remedies.log_in_before_end(name),) if has_end else ()

    @property
    def _flaw(self) -> tuple[str | None, str | None]:
        """The failure and reason of what the provider changed about a session that goes on; None if it is as it was."""
        credentials = self.credentials
        if credentials is not None and credentials.lost_scope:
            return NARROWED, f"the provider took a scope from the session: {printable(credentials.lost_scope)}"
        if credentials is not None and credentials.id_token_problem:
            return failure_word(Unusable(credentials.id_token_problem)), credentials.id_token_problem
        return None, None

    @property
    def _last_failure(self) -> Failure | None:
        """Why the last refresh of the main token failed; None if it succeeded."""
        if not isinstance(self.state, Active):
            return None
        refresh = self.state.refresh
        last = refresh.previous if isinstance(refresh, Running) else refresh
        return last.failure if isinstance(last, Retrying) else None

    def login_required(self) -> errors.LoginRequired:
        """Return the error for a request that needs an active session."""
        remedy = self.remedy if isinstance(self.state, LoginRequired) else ()
        return login_required(self.account.name, self.reason or LOGGED_OUT, self.failure, remedy)

    def refresh_at(self) -> Moment | None:
        """Return when the next refresh of the main token is due; None if none is scheduled."""
        if not isinstance(self.state, Active) or self.blocked is not None:
            return None
        return self._next_refresh(self.state, MAIN)

    def _next_refresh(self, state: Active, key: TokenKey) -> Moment | None:
        # Where it would end the tokens that others have, a demand that they don't meet has it early enough.
        ends = self.ends_access_tokens
        return state.next_refresh(self._chance, 0.0 if ends else self._interests[key].min_ttl, key, ends_others=ends)

    def refresh_due(self, now: Moment) -> Moment | None:
        """Return when to start that refresh: at once if clocks were set and the token can't be served any more."""
        due = self.refresh_at()
        state = self.state
        if due is None or not isinstance(state, Active) or not isinstance(state.refresh, Idle):
            return due
        has_substitute = self.ends_access_tokens and MAIN not in state.tokens and state.tokens
        return now if self.remaining(now) <= 0 and not has_substitute else due

    def refresh_starts(self, now: Moment) -> Moment | None:
        """Return when that refresh will start, after what clients were promised."""
        return self._held(self.refresh_due(now))

    def _held(self, due: Moment | None) -> Moment | None:
        if due is None or not self.ends_access_tokens or self._is_lost:
            return due
        return self._promises.hold(due)

    @property
    def _is_lost(self) -> bool:
        """Whether a response was lost: the access token may have ended, and a rotation overlap is short."""
        state = self.state
        last = () if not isinstance(state, Active) else (state.refresh, *state.retries.values())
        return any(isinstance(one, Retrying) and isinstance(one.failure, Lost) for one in last)

    def next_due(self, now: Moment) -> tuple[Moment, TokenKey] | None:
        """Return when to start which token's refresh next; None if none is scheduled.

        An overdue refresh of the main token comes first. Another token is refreshed only if it has been requested since
        its last refresh.
        """
        main = self.refresh_starts(now)
        if main is not None and now.until(main) <= 0:
            return main, MAIN
        earliest = None if main is None else (main, MAIN)
        if not isinstance(self.state, Active) or self.blocked is not None:
            return earliest
        for key, interest in self._interests.items():
            due = self._held(self._next_refresh(self.state, key)) if interest.requested and key != MAIN else None
            if due is not None and (earliest is None or due.until(earliest[0]) > 0):
                earliest = due, key
        return earliest

    def forget_unused(self, now: Moment) -> float:
        """Drop other tokens that have expired because no client requested them, and their old failures.

        Return the seconds until the next may be dropped; infinity if there is none, or a refresh is in flight.
        """
        state, next_end = self.state, math.inf
        if not isinstance(state, Active) or isinstance(state.refresh, Running) or len(self._interests) == 1:
            return next_end
        for key in [key for key in self._interests if key != MAIN]:
            token, retrying = state.tokens.get(key), state.retries.get(key)
            expires_in = 0.0 if token is None else token.remaining(now)
            retried_for = 0.0 if retrying is None else now.until(retrying.retry_at.after(PERMANENT_RETRY_CAP))
            end = max(expires_in, retried_for)
            if end <= 0:
                del self._interests[key]
                state = state.forget(key)
            else:
                next_end = min(next_end, end)
        if state is not self.state:
            self._set_state(state)
        return next_end

    def current(self, key: TokenKey = MAIN) -> AccessToken | None:
        """Return the token of that key, valid or not; None if there is none."""
        return self.state.tokens.get(key) if isinstance(self.state, Active) else None

    @property
    def user_digest(self) -> str:
        """A digest of the ID token's claims about the user; it is cached."""
        credentials = self.credentials
        if credentials is None:
            return ""
        if self._user_digest[0] != self.revision:
            self._user_digest = self.revision, digest_of_user(credentials)
        return self._user_digest[1]

    def remaining(self, now: Moment) -> float:
        """Return for how many seconds the main token may be served; 0 if there is none."""
        token = self.current()
        return 0.0 if token is None else token.remaining(now)

    def until_change(self, now: Moment) -> float:
        """Return the seconds until its state is another one because time passes; infinity if none of that is ahead.

        The main token ends, or may be served again after the wall clock was set back, or the ceiling is reached.
        """
        token, changes = self.current(), [seconds_until(self.ceiling, now.wall)]
        if token is not None:
            changes += [token.remaining(now), served_from(token.sent) - now.wall]
        return min((seconds for seconds in changes if seconds > 0), default=math.inf)

    def access_token(
        self,
        response: TokenResponse,
        credentials: Credentials,
        sent: Moment,
        key: TokenKey = MAIN,
        elapsed: float = 0.0,
    ) -> AccessToken:
        """Return the access token of an accepted response to a request for that key; `elapsed`: the seconds it took."""
        if response.access_token is None:
            raise RuntimeError("only a response with an access token is accepted")
        self._serial += 1
        by_claim = response.lifetime_by_claim
        lifetime = lifetime_of(response.lifetime, by_claim, elapsed, refreshable=credentials.refreshable)
        return AccessToken(
            value=response.access_token,
            token_type=response.token_type,
            scope=response.scope or key.scope or credentials.held_scope or credentials.requested_scope or None,
            audience=credentials.audience if key.audience is None else key.audience,
            sent=sent,
            lifetime=lifetime,
            assumed=response.lifetime is None and by_claim is None and lifetime is not None,
            serial=self._serial,
            lifetime_by_claim=by_claim,
        )

    def _set_state(self, state: State) -> None:
        self.state = state
        self.revision += 1
