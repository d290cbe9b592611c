"""The states of a session, and the moves between them: all of them, and nothing else.

    LoggedOut ──log_in──▶ Active ──end──▶ LoginRequired ──log_in──▶ Active
        ▲                   │                  │
        └─────log_out───────┴──────────────────┘

Before any of them, Locked: the store has not told yet which it is.

Within Active, the renewal:

    Idle ──start──▶ Running ──renew──▶ Idle
                    ▲  │
              start │  │ fail
                    │  ▼
                  Retrying

One refresh token gets all tokens of a session, the main one and those for other APIs, one after the other: there is
one Running. What fails of another token is a setback of that token, and nothing to the session.

Every state is a value that holds only what means something in it; a move makes a new one. A move that a state
doesn't have raises `IllegalMoveError`: that is a defect of the agent, never a provider's or a client's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from auth_agent.grant_type import AUTHORIZATION_CODE, GrantType
from auth_agent.host.clock import Moment
from auth_agent.oauth.client import Client
from auth_agent.oauth.outcome import (
    AnotherUser,
    Busy,
    Failure,
    InvalidGrant,
    PermanentFailure,
    ReauthenticationRequired,
    Refusal,
    SessionInDoubt,
    Transient,
    UnexplainedRefusal,
)
from auth_agent.secret import Secret
from auth_agent.sessions.schedule import (
    PERMANENT_RETRY_CAP,
    RETRY_CAP,
    refresh_at,
    remaining,
    retry_delay,
    served_until,
    wish,
)
from auth_agent_client.remedy import Remedy

_Value = TypeVar("_Value")

# Why a session is over, by the protocol's `FAILURES`.
REAUTHENTICATION_REQUIRED: Final = "reauthentication_required"
WRONG_USER: Final = "wrong_user"

# A refusal without a reason is believed when it came that often in a row, over that many seconds.
UNEXPLAINED_TIMES: Final = 3
UNEXPLAINED_SECONDS: Final = 60.0


class IllegalMoveError(RuntimeError):
    """A state was asked to do what can't happen in it."""


class TokenKey(NamedTuple):
    """What an access token is kept under: the audience and the scopes, sorted, that were asked for at its refresh."""

    audience: str | None
    scope: str


# A refresh without audience and scope grants what the login did.
MAIN: Final = TokenKey(None, "")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and what its provider said of it.

    `serial` grows with each token of a session; `assumed` tells that the provider gave no lifetime.
    """

    value: Secret
    token_type: str
    scope: str | None
    audience: str | None
    sent: Moment
    lifetime: float
    assumed: bool
    serial: int
    served_until: Moment = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "served_until", served_until(self.sent, self.lifetime))

    def remaining(self, now: Moment) -> float:
        """For how many seconds it may still be handed out; 0 when it may not."""
        return remaining(self.sent, self.served_until, now)

    def is_good_for(self, min_ttl: float | None, now: Moment) -> bool:
        """Whether it may be handed out for so many seconds; None: for as long as one may wish without a demand."""
        left = self.remaining(now)
        return left > 0 and left >= (wish(self.lifetime) if min_ttl is None else min_ttl)

    @property
    def longest(self) -> float:
        """The largest `min_ttl` that such a token can satisfy, when it is new."""
        return self.sent.until(self.served_until)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logged in where: what a session is bound to, and what it is renewed with.

    `audience` is the API that the login was made for, as the configuration had it then. `refresh_token` is None
    where the provider gave none, and the session lasts as long as its access token; or where it is dead.
    `client_secret` is what the client authenticates with, unless it is a public one. `grant_type` tells whether there
    is a user, and what the session is renewed with. `ends_at` is when the provider ends the session whatever is
    refreshed, as Unix time in seconds, if it said so.
    """

    issuer: str
    client_id: str
    audience: str | None
    subject: str | None
    name: str | None
    refresh_token: Secret | None
    id_token: Secret | None
    client_secret: Secret | None = None
    grant_type: GrantType = AUTHORIZATION_CODE
    ends_at: float | None = None

    @property
    def refreshable(self) -> bool:
        """Whether there is something to get the next token with."""
        if self.grant_type.has_refresh_token:
            return self.refresh_token is not None
        return self.client_secret is not None or not self.grant_type.needs_secret

    def client(self, method: str | None) -> Client:
        """Whom its provider gives tokens to; `method` is the configuration's way of authentication."""
        return Client(self.client_id, self.client_secret, method)

    def is_bound_to(self, issuer: str, client_id: str) -> bool:
        """Whether it came from that issuer and client: to no others is its refresh token ever sent."""
        return self.issuer == issuer and self.client_id == client_id


@dataclass(frozen=True, slots=True)
class Idle:
    """The next refresh is due by the token's age."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """The last attempt failed, `failures` in a row; the next is due `at`, never before `not_before`."""

    failure: Failure
    failures: int
    last: Moment
    at: Moment
    not_before: Moment
    unexplained: int = 0
    unexplained_since: Moment | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A refresh for the token of that key is in flight; `after` is what failed before it of the main one."""

    since: Moment
    after: Retrying | None = None
    key: TokenKey = MAIN


RefreshState = Idle | Running | Retrying


@dataclass(frozen=True, slots=True)
class Locked:
    """What the store has of it isn't known yet: whatever it is must not be replaced.

    `reason` says why, printable, and `remedy` what helps.
    """

    reason: str
    remedy: tuple[Remedy, ...] = ()

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":  # noqa: ARG002 -- as the other states have it
        """Not before it is known whose session that would replace."""
        raise IllegalMoveError("the session is locked")

    def log_out(self) -> "LoggedOut":
        """Asked to leave, unseen."""
        return LoggedOut()


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Never logged in, or asked to leave."""

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """A login or import was proved."""
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> "LoggedOut":
        """Asked to leave, again."""
        return self


@dataclass(frozen=True, slots=True)
class LoginRequired:
    """The session is over, for that reason, printable; whose it was is remembered.

    A dead refresh token is erased from `login`. One that may be good again can be tried by `revive`, unless the
    session is `quarantined`: the provider gave it another user's tokens. `failure` is one of the protocol's `FAILURES`.
    """

    reason: str
    credentials: Credentials
    quarantined: bool = False
    failure: str = REAUTHENTICATION_REQUIRED

    @property
    def can_retry(self) -> bool:
        """Whether there is something that may be tried."""
        return self.credentials.refreshable and not self.quarantined

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """A login or import was proved."""
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> LoggedOut:
        """Asked to leave."""
        return LoggedOut()

    def retry(self) -> "Active":
        """A person wants a refresh tried once more."""
        if not self.can_retry:
            raise IllegalMoveError("there is nothing to try")
        return Active(self.credentials, MappingProxyType({}))


def _no_setbacks() -> Mapping[TokenKey, Retrying]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Active:
    """Logged in. `tokens` may be expired, or not there; MAIN is the one that is always kept fresh.

    `renewal` is that of MAIN; `setbacks` are what failed last of other tokens, whether or not there is one.
    """

    credentials: Credentials
    tokens: Mapping[TokenKey, AccessToken]
    refresh: RefreshState = field(default_factory=Idle)
    setbacks: Mapping[TokenKey, Retrying] = field(default_factory=_no_setbacks)

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """Another login was proved; it takes this one's place."""
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> LoggedOut:
        """Asked to leave."""
        return LoggedOut()

    def start(self, now: Moment, key: TokenKey = MAIN) -> "Active":
        """A refresh begins, for the token of that key."""
        if isinstance(self.refresh, Running):
            raise IllegalMoveError("a refresh is in flight already")
        if not self.credentials.refreshable:
            raise IllegalMoveError("there is nothing to refresh with")
        after = self.refresh if isinstance(self.refresh, Retrying) else None
        return replace(self, refresh=Running(now, after, key))

    def keep(self, refresh_token: Secret) -> "Active":
        """The provider replaced the refresh token: kept before anything else in its reply is judged."""
        self.running()
        return replace(self, credentials=replace(self.credentials, refresh_token=refresh_token))

    def complete_refresh(self, credentials: Credentials, token: AccessToken) -> "Active":
        """The refresh succeeded."""
        running = self.running()
        return Active(
            credentials,
            MappingProxyType({**self.tokens, running.key: token}),
            Idle() if running.key == MAIN else _relieved(running.after),
            _without(self.setbacks, running.key),
        )

    def fail(self, failure: Failure, now: Moment, chance: float) -> "Active | LoginRequired":
        """The refresh failed: try again later, or see that it is over.

        `chance`, in [0, 1), is for the backoff's jitter.
        """
        running = self.running()
        if isinstance(failure, AnotherUser):
            return LoginRequired(failure.reason, self.credentials, quarantined=True, failure=WRONG_USER)
        if running.key != MAIN:
            return self._set_back(running, failure, now, chance)
        if isinstance(failure, InvalidGrant):
            return LoginRequired(failure.reason, replace(self.credentials, refresh_token=None))
        if isinstance(failure, ReauthenticationRequired):
            return LoginRequired(failure.reason, self.credentials)
        retrying = _retrying(failure, running.after, now, chance)
        if _is_believed(retrying, now) and not any(token.remaining(now) > 0 for token in self.tokens.values()):
            return LoginRequired(failure.reason, self.credentials)
        return replace(self, refresh=retrying)

    def _set_back(self, running: Running, failure: Failure, now: Moment, chance: float) -> "Active":
        """The refresh for another token than the main one failed: that ends no session."""
        renewal: RefreshState = running.after or Idle()
        if isinstance(failure, InvalidGrant):
            at = now if running.after is None else _later(now, running.after.not_before)
            renewal = Retrying(SessionInDoubt(failure.reason), failures=1, last=now, at=at, not_before=at)
        if isinstance(
            failure, ReauthenticationRequired
        ):  # a person may have to do something for this token; the others are as they were
            failure = Refusal(failure.reason)
        setback = _retrying(failure, self.setbacks.get(running.key), now, chance)
        return replace(self, refresh=renewal, setbacks=MappingProxyType({**self.setbacks, running.key: setback}))

    def hasten(self, at: Moment, key: TokenKey = MAIN) -> "Active":
        """Bring the next attempt for a token forward, yet never before the provider's `Retry-After`."""
        retrying = self.refresh_of(key)
        if not isinstance(retrying, Retrying):
            raise IllegalMoveError("there is no attempt to bring forward")
        at = _later(at, retrying.not_before)
        if at.until(retrying.at) <= 0:
            return self
        hastened = replace(retrying, at=at)
        if key == MAIN:
            return replace(self, refresh=hastened)
        return replace(self, setbacks=MappingProxyType({**self.setbacks, key: hastened}))

    def forget_failures(self) -> "Active":
        """Forget that attempts failed: the world may have changed (a resume, a person, another configuration)."""
        renewal = Idle() if isinstance(self.refresh, Retrying) else self.refresh
        if renewal is self.refresh and not self.setbacks:
            return self
        return replace(self, refresh=renewal, setbacks=_no_setbacks())

    def forget(self, *keys: TokenKey) -> "Active":
        """Drop tokens that nobody wants any more, and what failed of them."""
        return replace(self, tokens=_without(self.tokens, *keys), setbacks=_without(self.setbacks, *keys))

    def refresh_of(self, key: TokenKey) -> RefreshState:
        """What the renewal of that token does: whatever is in flight is every token's."""
        if isinstance(self.refresh, Running) or key == MAIN:
            return self.refresh
        return self.setbacks.get(key) or Idle()

    def next_refresh(self, chance: float, min_ttl: float, key: TokenKey = MAIN) -> Moment | None:
        """When the next refresh is due; None: not by time (one is in flight, or there is nothing to refresh)."""
        renewal, token = self.refresh_of(key), self.tokens.get(key)
        if isinstance(renewal, Running) or not self.credentials.refreshable or (key != MAIN and token is None):
            return None
        if isinstance(renewal, Retrying):
            return renewal.at
        # No token, and nothing in flight: a kept login that is to be tried again. Long past is now.
        return Moment(0, 0) if token is None else refresh_at(token.sent, token.lifetime, chance, min_ttl)

    def running(self) -> Running:
        """The refresh in flight; without one it is an illegal move to ask."""
        if not isinstance(self.refresh, Running):
            raise IllegalMoveError("no refresh is in flight")
        return self.refresh


State = Locked | LoggedOut | Active | LoginRequired


def _relieved(before: Retrying | None) -> RefreshState:
    """The renewal that failed before, when the provider has granted another token: what passes by itself has."""
    return Idle() if before is None or isinstance(before.failure, Transient) else before


def _without(mapping: Mapping[TokenKey, _Value], *keys: TokenKey) -> Mapping[TokenKey, _Value]:
    return MappingProxyType({key: value for key, value in mapping.items() if key not in keys})


def _retrying(failure: Failure, before: Retrying | None, now: Moment, chance: float) -> Retrying:
    failures = 1 if before is None else before.failures + 1
    unclear, since = 0, None
    if isinstance(failure, UnexplainedRefusal):
        unclear = 1 if before is None else before.unexplained + 1
        since = before.unexplained_since if before is not None and before.unexplained_since is not None else now
    asked = failure.retry_after if isinstance(failure, Busy) and failure.retry_after is not None else 0.0
    delay = retry_delay(failures, chance, PERMANENT_RETRY_CAP if isinstance(failure, PermanentFailure) else RETRY_CAP)
    return Retrying(
        failure=failure,
        failures=failures,
        last=now,
        at=now.after(max(delay, asked)),
        not_before=now.after(asked),
        unexplained=unclear,
        unexplained_since=since,
    )


def _is_believed(retrying: Retrying, now: Moment) -> bool:
    """Whether refusals without a reason came often enough, for long enough, to be taken for one."""
    since = retrying.unexplained_since
    return (
        since is not None and retrying.unexplained >= UNEXPLAINED_TIMES and now.boot - since.boot >= UNEXPLAINED_SECONDS
    )


def _later(one: Moment, other: Moment) -> Moment:
    return one if other.until(one) > 0 else other
