"""One account's session: its state, and what follows from it. Synchronous, in memory, told the time.

It decides; `Refresher` and `Admission` act. The *epoch* changes at login, import and logout only: a refresh's result of
an older epoch is never stored. The *revision* changes whenever the record does.
"""

import logging
from dataclasses import dataclass
from typing import Final

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Defect, Failure, TokenResponse, Transient
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.advice import (
    ACCOUNT_CHANGED,
    ACCOUNT_REMOVED,
    LOGGED_OUT,
    failure_word,
    locked,
    login_failure,
    login_remedy,
    login_required,
    retry_remedy,
)
from auth_agent.sessions.decision import Decision, Demand, decide
from auth_agent.sessions.entry import StoredSession
from auth_agent.sessions.interest import Interest
from auth_agent.sessions.profile import Profile, said_of_the_user
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent.sessions.schedule import ASSUMED_LIFETIME, PERMANENT_RETRY_CAP
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
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

_log = logging.getLogger(__name__)

# Tokens of a session besides the main one: more than a user's programs have APIs, and each is a refresh in its time.
MOST_TOKENS: Final = 32
# A token that young and rejected tells of an API that expects another one.
_YOUNG: Final = 60.0
_YOUNG_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Effects:
    """What a refresh that began in that epoch comes to: `save` has to be stored before `then` holds."""

    epoch: int
    save: StoredSession | None
    then: StoredSession
    chance: float


class Session:
    """One account's session."""

    def __init__(self, account: Account, chance: float) -> None:
        self.account = account
        self.removed = False
        self.state: State = LoggedOut()
        self.epoch = 0
        self.revision = 0
        # Whether the store has what it should have.
        self.saved = True
        # When a client last asked, in Unix time.
        self.used_at = 0.0
        self.refreshes = 0
        self.last_refresh_at: float | None = None
        self.rate_limit = RateLimit()
        self.import_rate_limit = RateLimit()
        # What the provider said last of its user.
        self.profile: Profile | None = None
        self._said: tuple[Secret | None, str] = (None, "")
        self._chance = chance
        # Of tokens that there are, and of those that are being asked for.
        self._interests: dict[TokenKey, Interest] = {MAIN: Interest()}
        self._serial = 0

    # ---- what is asked

    def token(self, key: TokenKey, min_ttl: float | None, now: Moment) -> AccessToken | None:
        """The token at hand, when it satisfies the demand, or the wish: the way of nearly every request."""
        self.used_at = now.wall
        state = self.state
        if type(state) is not Active or self.blocked_by_config is not None:
            return None
        token = state.tokens.get(key)
        return token if token is not None and token.is_good_for(min_ttl, now) else None

    def ask(self, key: TokenKey, min_ttl: float | None, now: Moment) -> bool:
        """Remember what clients need; whether that moves the next refresh."""
        if key == MAIN and min_ttl is None:  # as nearly every request has it
            return False
        interest = self._interests.get(key)
        if interest is None:  # it will be asked for: its first refresh is what makes it one of the session's
            return False
        if key != MAIN:
            wanted = interest.asked
            interest.touch(now.boot)
            return interest.demand(min_ttl) or not wanted
        before = self.refresh_at()
        if not interest.demand(min_ttl) or self.refresh_at() == before:
            return False
        self.revision += 1
        return True

    def decide(self, demand: Demand, now: Moment, *, waited: bool = False) -> Decision:
        """What to do for a client; `waited`: it joined its token's refresh already, which is over."""
        state = self.state
        if isinstance(state, Locked):
            return locked(self.account.name, state.reason, state.remedy)
        if not isinstance(state, Active) or self.blocked_by_config is not None:
            return self.login_required()
        due = self.refresh_due(now)
        decision, decided = decide(
            self.account,
            state,
            demand,
            now,
            waited=waited,
            is_named=self._is_named(demand.key),
            main_is_due=due is not None and now.until(due) <= 0,
            limit=self.rate_limit.wait(now.boot),
        )
        if decided is not state:
            self._move(decided)
        return decision

    def _is_named(self, key: TokenKey) -> bool:
        """Whether the configuration names that API: its first token doesn't count against the rate limit."""
        return key == MAIN or (key.audience is not None and key.audience == self.account.management_audience)

    def reject(self, key: TokenKey, access_token: str, now: Moment) -> Demand | errors.AgentError:
        """What a client should get whose API answered that token with 401."""
        current = self.current(key)
        if current is None or current.value.reveal() != access_token:
            return Demand(key)  # an older one, or an unknown one: the current one is the answer
        if now.boot - current.sent.boot < min(_YOUNG, _YOUNG_SHARE * current.lifetime):
            return errors.Denied(
                "the token is as good as new: the API rejects it for another reason",
                failure="refused",
                remedy=(remedies.check_what_the_api_expects(),),
            )
        return Demand(key, newer_than=current.serial)

    def key(self, audience: str | None, scope: str | None) -> TokenKey:
        """What a token for that audience and those scopes is kept under.

        Raises:
            Denied: it is the account's own by now, and not what the login was for.

        """
        own = self.account
        wanted = own.audience if audience is None else audience
        granted = own.audience if self.credentials is None else self.credentials.audience
        scopes = "" if scope is None else " ".join(sorted(set(scope.split())))
        same_scope = not scopes or set(scopes.split()) == set(own.scope.split())
        if same_scope and wanted == granted:
            return MAIN
        if same_scope and wanted == own.audience:
            raise errors.Denied(
                f"{own.name}'s audience was changed in the configuration since the login, and its token is still for "
                "the other one",
                failure="account_changed",
                remedy=(remedies.log_in_again(own.name),),
            )
        return TokenKey(None if wanted == granted else wanted, "" if same_scope else scopes)

    def force(self, key: TokenKey = MAIN) -> Demand:
        """The demand for a token newer than the current one."""
        token = self.current(key)
        return Demand(key, newer_than=None if token is None else token.serial)

    # ---- what happens

    def start(self, now: Moment, key: TokenKey = MAIN) -> Credentials:
        """Begin a refresh for the token of that key; return the login that it is made with.

        What comes of it belongs to the epoch in which it began: see `finish`.
        """
        if not isinstance(self.state, Active):
            raise IllegalMoveError("only a session that is logged in is refreshed")
        self._make_room(self.state, key, now)
        self._move(self.state.start(now, key))
        return self.state.credentials

    def _make_room(self, state: Active, key: TokenKey, now: Moment) -> None:
        """Make that token one of the session's, in the place of the one that was asked for longest ago, if need be."""
        if key not in self._interests:
            others = [other for other in self._interests if other != MAIN]
            if len(others) >= MOST_TOKENS:
                oldest = min(others, key=lambda other: self._interests[other].at)
                del self._interests[oldest]
                self._move(state.forget(oldest))
            self._interests[key] = Interest()
            self._interests[key].touch(now.boot)

    def is_current(self, epoch: int) -> bool:
        """Whether what comes of a refresh that began in that epoch belongs to this session; else it is never stored."""
        return epoch == self.epoch and isinstance(self.state, Active)

    def keep(self, refresh_token: Secret) -> None:
        """The refresh token was replaced, by the provider or in the store: held before anything else is judged."""
        assert isinstance(self.state, Active)  # noqa: S101 -- for the type checker: that of a current refresh
        self._move(self.state.keep(refresh_token))

    def finish(
        self, epoch: int, response: TokenResponse | Failure, sent: Moment, now: Moment, chance: float
    ) -> Effects:
        """End the refresh that began in that epoch: hold what the provider gave, and return what that comes to.

        Nothing else changes before it is stored and settled: see `settle`.

        Args:
            epoch: the session's, when it began.
            response: what came of it.
            sent: when the request that was answered was sent.
            now: the time.
            chance: in [0, 1), for the backoff's jitter, or the schedule's spread.

        """
        if not self.is_current(epoch):
            return Effects(epoch, None, self.snapshot(), chance)
        if isinstance(response, TokenResponse) and response.refresh_token is not None:
            self.keep(response.refresh_token)
        try:
            then = self._judge(response, sent, now, chance)
        except Exception as error:  # noqa: BLE001 -- a reply that nobody foresaw must not end all sessions, nor this one
            _log.error("defect account=%s in=judge error=%s", self.account.name, place(error))
            then = self._judge(Defect("a defect of the agent; its log says more"), sent, now, chance)
        return Effects(epoch, then if isinstance(response, TokenResponse) else None, then, chance)

    def _judge(self, response: TokenResponse | Failure, sent: Moment, now: Moment, chance: float) -> StoredSession:
        """What a refresh leaves of the session. Changes nothing yet."""
        active = self.state
        assert isinstance(active, Active)  # noqa: S101 -- for the type checker: that of a current refresh
        if isinstance(response, Failure):
            return self.snapshot(active.fail(response, now, chance))
        key = active.running().key
        login = accept(active.credentials, response, sent, key)
        if isinstance(login, Failure):
            return self.snapshot(active.fail(login, now, chance))
        token = self.access_token(response, login, sent, key)
        if token.remaining(now) <= 0:  # the provider took longer than its tokens live, or a clock was set meanwhile
            return self.snapshot(active.fail(Transient("the provider's token had expired when it came"), now, chance))
        return StoredSession(
            active.complete_refresh(login, token), self.epoch, self.refreshes + 1, now.wall, profile=self.profile
        )

    def settle(self, effects: Effects) -> bool:
        """Let the end of a refresh take effect, now that it is stored; return whether it was the session's still."""
        if not self.is_current(effects.epoch):
            return False
        then = effects.then
        if then.refreshes > self.refreshes and isinstance(self.state, Active):
            key = self.state.running().key
            self._interests[key].token_replaced()
            if key == MAIN:
                self._chance = effects.chance
        self.refreshes = then.refreshes
        self.last_refresh_at = then.last_refresh_at
        self._move(then.state)
        return True

    def successor(self, found: StoredSession | None) -> Secret | None:
        """The refresh token of what the store has, where that is this very session as another process left it."""
        mine, theirs = (
            self.credentials,
            None if found is None or not isinstance(found.state, Active) else found.state.credentials,
        )
        if mine is None or theirs is None or not theirs.is_bound_to(mine.issuer, mine.client_id):
            return None
        return theirs.refresh_token if theirs.subject == mine.subject else None

    def snapshot(self, state: State | None = None) -> StoredSession:
        """What is to be kept of the session, as it is or would be in that state."""
        return StoredSession(
            state or self.state, self.epoch, self.refreshes, self.last_refresh_at, profile=self.profile
        )

    def restore(self, stored: StoredSession) -> None:
        """The store told what it has."""
        if not isinstance(self.state, Locked):
            raise IllegalMoveError("only a locked session is restored")
        self.epoch = max(self.epoch, stored.epoch)
        self.refreshes = stored.refreshes
        self.last_refresh_at = stored.last_refresh_at
        self.profile = stored.profile
        self._move(stored.state)

    def lock(self, reason: str, remedy: tuple[Remedy, ...] = ()) -> bool:
        """What the store has of it can't be told, for that reason, printable; whether that is news."""
        locked_now = Locked(reason, remedy)
        if not isinstance(self.state, Locked) or self.state == locked_now:
            return False
        self._move(locked_now)
        return True

    def mark(self, *, saved: bool) -> bool:
        """Whether the store has what it should have; whether that is news."""
        if self.saved == saved:
            return False
        self.saved = saved
        self.revision += 1
        return True

    def log_in(self, credentials: Credentials, token: AccessToken, now: Moment) -> None:
        """A login or import was proved: it takes the place of what was there."""
        self.epoch += 1
        self.refreshes = 0
        self.last_refresh_at = now.wall
        self._interests = {MAIN: Interest()}
        self.profile = None
        self._move(self.state.log_in(credentials, token))

    def log_out(self) -> Credentials | None:
        """Forget everything; the login there was, for whoever revokes its refresh token."""
        login = self.credentials
        self.epoch += 1
        self.refreshes = 0
        self.last_refresh_at = None
        self.profile = None
        self._move(self.state.log_out())
        return login

    def forget_failures(self) -> bool:
        """Forget past failures; whether there were any."""
        if not isinstance(self.state, Active):
            return False
        afresh = self.state.forget_failures()
        if afresh is self.state:
            return False
        self._move(afresh)
        return True

    def retry(self) -> None:
        """A person wants a refresh: neither past failures count, nor that a person was needed."""
        if isinstance(self.state, LoginRequired) and self.state.can_retry:
            self._move(self.state.retry())
        self.forget_failures()

    def configure(self, account: Account | None) -> None:
        """The configuration changed; None: it has no such account any more."""
        self.removed = account is None
        self.account = account or self.account
        self.revision += 1

    # ---- what is known

    @property
    def credentials(self) -> Credentials | None:
        """Whose session it is, where there is one or was."""
        return self.state.credentials if isinstance(self.state, Active | LoginRequired) else None

    @property
    def is_locked(self) -> bool:
        """Whether it isn't known yet what the store has of it."""
        return isinstance(self.state, Locked)

    @property
    def is_refreshing(self) -> bool:
        """Whether a refresh of its login is in flight."""
        return isinstance(self.state, Active) and isinstance(self.state.refresh, Running)

    @property
    def refreshable(self) -> bool:
        """Whether there is something to refresh with, which is used when its time comes."""
        state = self.state
        return isinstance(state, Active) and state.credentials.refreshable and self.blocked_by_config is None

    @property
    def can_retry(self) -> bool:
        """Whether there is something to refresh with that a person may have tried."""
        state = self.state
        return self.refreshable or (
            isinstance(state, LoginRequired) and state.can_retry and self.blocked_by_config is None
        )

    @property
    def blocked_by_config(self) -> str | None:
        """Why nothing of this session may be sent or served, though it is there; None when it may."""
        if self.removed:
            return ACCOUNT_REMOVED
        login = self.credentials
        account = self.account
        if login is None:
            return None
        if not login.is_bound_to(account.issuer, account.client_id) or login.grant_type != account.grant_type:
            return ACCOUNT_CHANGED
        return None

    @property
    def reason(self) -> str | None:
        """What is wrong, printable; None when nothing is."""
        if self.blocked_by_config is not None:
            return self.blocked_by_config
        if isinstance(self.state, Locked | LoginRequired):
            return self.state.reason
        failure = self._last_failure
        return None if failure is None else failure.reason

    @property
    def failure(self) -> str | None:
        """Which of the protocol's `FAILURES` that is; None when nothing is wrong."""
        if self.blocked_by_config is not None:
            return login_failure(self.blocked_by_config)
        if isinstance(self.state, Locked):
            return "locked"
        if isinstance(self.state, LoginRequired):
            return self.state.failure
        failure = self._last_failure
        return None if failure is None else failure_word(failure)

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What helps where something is wrong, or where nobody is logged in."""
        name = self.account.name
        if self.blocked_by_config is not None:
            return login_remedy(name, self.blocked_by_config)
        if isinstance(self.state, Locked):
            return self.state.remedy
        if isinstance(self.state, LoginRequired | LoggedOut):
            return login_remedy(name, self.reason or LOGGED_OUT)
        failure = self._last_failure
        if failure is not None:
            return retry_remedy(self.account, failure)
        return () if self.state.credentials.refreshable else (remedies.log_in_in_time(name),)

    @property
    def _last_failure(self) -> Failure | None:
        """Why the last refresh of the main token failed; None: it didn't."""
        if not isinstance(self.state, Active):
            return None
        renewal = self.state.refresh
        last = renewal.after if isinstance(renewal, Running) else renewal
        return last.failure if isinstance(last, Retrying) else None

    def login_required(self) -> errors.LoginRequired:
        """Return the error for whoever asks for what only a session that is logged in has."""
        return login_required(self.account.name, self.reason or LOGGED_OUT, self.failure)

    def refresh_at(self) -> Moment | None:
        """When the next refresh is due by time; None: it isn't."""
        if not isinstance(self.state, Active) or self.blocked_by_config is not None:
            return None
        return self.state.next_refresh(self._chance, self._interests[MAIN].min_ttl)

    def refresh_due(self, now: Moment) -> Moment | None:
        """When to start the next refresh, or try to; also at once, where clocks made the token useless before."""
        due = self.refresh_at()
        idle = isinstance(self.state, Active) and isinstance(self.state.refresh, Idle)
        return now if due is not None and idle and self.remaining(now) <= 0 else due

    def next_due(self, now: Moment) -> tuple[Moment, TokenKey] | None:
        """When to start which refresh, the main token's or that of another one in use; None: none by time."""
        main = self.refresh_due(now)
        if main is not None and now.until(main) <= 0:
            return main, MAIN
        found = None if main is None else (main, MAIN)
        if not isinstance(self.state, Active) or self.blocked_by_config is not None:
            return found
        for key, interest in self._interests.items():
            due = (
                self.state.next_refresh(self._chance, interest.min_ttl, key) if interest.asked and key != MAIN else None
            )
            if due is not None and (found is None or due.until(found[0]) > 0):
                found = due, key
        return found

    def forget_unused(self, now: Moment) -> None:
        """Drop the other tokens that have expired, since nobody asked for them in time, and old setbacks."""
        state = self.state
        if not isinstance(state, Active) or isinstance(state.refresh, Running) or len(self._interests) == 1:
            return
        for key in [key for key in self._interests if key != MAIN]:
            token, setback = state.tokens.get(key), state.setbacks.get(key)
            is_over = token is None or token.remaining(now) <= 0
            if is_over and (setback is None or now.until(setback.at.after(PERMANENT_RETRY_CAP)) <= 0):
                del self._interests[key]
                state = state.forget(key)
        if state is not self.state:
            self._move(state)

    def current(self, key: TokenKey = MAIN) -> AccessToken | None:
        """The token that is kept under that key, good or not; None when there is none."""
        return self.state.tokens.get(key) if isinstance(self.state, Active) else None

    @property
    def said(self) -> str:
        """What the ID token says of the user, as a digest."""
        login = self.credentials
        if login is None:
            return ""
        if self._said[0] is not login.id_token:
            self._said = login.id_token, said_of_the_user(login)
        return self._said[1]

    def remaining(self, now: Moment) -> float:
        """For how many seconds the main token can be served; 0 when there is none."""
        token = self.current()
        return 0.0 if token is None else token.remaining(now)

    def access_token(
        self, response: TokenResponse, credentials: Credentials, sent: Moment, key: TokenKey = MAIN
    ) -> AccessToken:
        """The token of a reply that was accepted for that login, and asked for by that key."""
        if response.access_token is None:
            raise RuntimeError("only a reply with an access token is accepted")
        self._serial += 1
        return AccessToken(
            value=response.access_token,
            token_type=response.token_type,
            scope=response.scope,
            audience=credentials.audience if key.audience is None else key.audience,
            sent=sent,
            lifetime=ASSUMED_LIFETIME if response.lifetime is None else response.lifetime,
            assumed=response.lifetime is None,
            serial=self._serial,
        )

    def _move(self, state: State) -> None:
        self.state = state
        self.revision += 1
