"""The states of a session and the transitions between them.

    LoggedOut ──log_in──▶ Active ──end──▶ LoginRequired ──log_in──▶ Active
        ▲                   │                  │
        └─────log_out───────┴──────────────────┘

A session is Locked until its entry has been read from the store.

Within Active, the refresh of the main token:

    Idle ──start──▶ Running ──complete_refresh──▶ Idle
                    ▲  │
              start │  │ fail
                    │  ▼
                  Retrying

Theory of operation. One refresh token gets all access tokens of a session: the main one and those for other APIs. A
provider that rotates refresh tokens invalidates the old one at each refresh, so refreshes of a session run one after
the other: at most one is Running, whichever token it is for. Only the refresh of the main token can end a session. If
the refresh of another token fails, that token alone is retried later; if the provider answers it with `invalid_grant`,
the main token is refreshed at once to learn whether the session has ended. A failed refresh keeps the refresh token,
unless the provider has said that it is dead.

Each state is an immutable value with only the fields that have a meaning in it; a transition returns a new one. A
transition that a state doesn't allow raises `IllegalMoveError`, which is a defect of the agent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from auth_agent.grant_type import AUTHORIZATION_CODE, GrantType
from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.oauth.asked import Required, no_claims
from auth_agent.oauth.client import CERTIFICATE_METHODS, Client
from auth_agent.oauth.entra import Tenant
from auth_agent.oauth.outcome import (
    AnotherUser,
    Busy,
    DoubtfulRefusal,
    Failure,
    InvalidGrant,
    PermanentFailure,
    ReauthenticationRequired,
    Refusal,
    RefusedForNow,
    SessionInDoubt,
    Transient,
)
from auth_agent.oauth.scope import without
from auth_agent.secret import Secret
from auth_agent.sessions.schedule import (
    PERMANENT_RETRY_CAP,
    RETRY_CAP,
    preferred_ttl,
    refresh_at,
    refused_delay,
    remaining,
    retry_delay,
    served_from,
    served_until,
)
from auth_agent.sessions.session_end import RefreshTokenEnd, lower_ceiling
from auth_agent.sessions.term import Term
from auth_agent.urls import is_same_issuer
from auth_agent_client.remedy import Remedy

_Value = TypeVar("_Value")

# Values of the protocol's `FAILURES` for a session that has ended.
REAUTHENTICATION_REQUIRED: Final = "reauthentication_required"
WRONG_USER: Final = "wrong_user"

# Doubtful refusals are believed after so many in a row, over at least so many seconds.
DOUBTFUL_TIMES: Final = 3
DOUBTFUL_SECONDS: Final = 60.0


class IllegalMoveError(RuntimeError):
    """The state doesn't allow this transition."""


class TokenKey(NamedTuple):
    """Identifies an access token of a session by the audience and the (sorted) scopes that its refresh requests.

    `only`: it must have no other scopes.
    """

    audience: str | None
    scope: str
    only: bool = False


# A refresh without audience and scope grants what the login granted (RFC 6749, section 6).
MAIN: Final = TokenKey(None, "")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token with what its provider said about it.

    `lifetime` is in seconds from `sent`, when its request was sent, None if it has no known end; `assumed` is True if
    the provider gave none. `lifetime_by_claim` is that by the token's own claim `exp`, None if it has none. `serial`
    increases with each token of a session.
    """

    value: Secret
    token_type: str
    scope: str | None
    audience: str | None
    sent: Moment
    lifetime: float | None
    assumed: bool
    serial: int
    lifetime_by_claim: float | None = None
    served_until: Moment = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "served_until", served_until(self.sent, self.lifetime))

    @property
    def audience_verified(self) -> bool:
        """Whether the token can be read, and names its audience."""
        claims = None if self.audience is None else id_token.claims(self.value)
        return claims is not None and id_token.names_audience(claims, self.audience or "")

    def remaining(self, now: Moment) -> float:
        """Return for how many more seconds the token may be served; 0 if it may not, infinity without a known end."""
        return math.inf if self.lifetime is None else remaining(self.sent, self.served_until, now)

    def is_good_for(self, min_ttl: float | None, now: Moment) -> bool:
        """Return whether the token may be served for `min_ttl` more seconds; None: for the preferred TTL."""
        left = self.remaining(now)
        return left > 0 and left >= (preferred_ttl(self.lifetime) if min_ttl is None else min_ttl)

    def term(self, min_ttl: float | None) -> Term:
        """Return the term in which `is_good_for` is true for that `min_ttl`."""
        wanted = preferred_ttl(self.lifetime) if min_ttl is None else min_ttl
        return Term(served_from(self.sent), self.served_until.after(-wanted))

    @property
    def longest(self) -> float:
        """The largest `min_ttl`, in seconds, that such a token satisfies when it is new."""
        return self.sent.until(self.served_until)

    @property
    def expires_at(self) -> float | None:
        """Until when it is served, as Unix time in seconds; None if it has no known end."""
        return None if self.lifetime is None else self.served_until.wall

    def has_ended_by_claim(self, now: Moment) -> bool:
        """Return whether the token says of itself that it has ended."""
        return self.lifetime_by_claim is not None and now.boot - self.sent.boot >= self.lifetime_by_claim


def _no_claims() -> Mapping[str, str | float]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Credentials:
    """The issuer, client and user that a session is bound to, and the secrets that it is refreshed with.

    `audience` is the API that the login was made for, as configured then. `refresh_token` is None if the provider gave
    none (the session then ends with its access token) or if it is dead. `client_secret` is None for a public client.
    `grant_type` determines whether there is a user and how the session is refreshed. `ceiling` is when the provider
    will end the session in spite of refreshes, as Unix time in seconds, and `refresh_token_end` when the refresh token
    ends; None if it didn't say. `resource` is the API as the login named it by RFC 8707's parameter, which a refresh
    repeats; None if it didn't. `tenant` is that of the user at Entra, where the issuer is for all tenants.

    `organization` is the one that the login asked for, and got; `acr` is how the person logged in, by the ID token.
    `met_claims` are those that the account required at the login or the last refresh, and were met.
    `id_token_problem` says why the newest ID token was not kept; "" if it was. `bound_claims` are those that no refresh
    must change, from all ID tokens of the session: the one that is kept may leave them out.
    `requested_scope` is what the login asked for ("" if that is not known), `granted_scope` what its response listed
    (None if nothing), and `lost_scope` what the newest response for the same doesn't list any more.
    `auth_method` is how the client authenticated at the login; None if it has no secret, or it is not known.
    `same_refresh_tokens` counts refreshes that brought no other refresh token: see side_requests.py.
    `ends_access_token`: whether a refresh ends the access token from before, as its provider is known or proven to do.
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
    resource: str | None = None
    organization: str | None = None
    acr: str | None = None
    met_claims: Required = field(default_factory=no_claims)
    id_token_problem: str = ""
    bound_claims: Mapping[str, str | float] = field(default_factory=_no_claims)
    requested_scope: str = ""
    granted_scope: str | None = None
    lost_scope: str = ""
    same_refresh_tokens: int = 0
    ends_access_token: bool = False
    tenant: Tenant | None = None
    ceiling: float | None = None
    refresh_token_end: RefreshTokenEnd | None = None
    auth_method: str | None = None

    @property
    def user(self) -> tuple[str | None, str | None]:
        """What identifies the user: a subject is one only together with its issuer."""
        return None if self.tenant is None else self.tenant.issuer, self.subject

    @property
    def refreshable(self) -> bool:
        """Whether there is a refresh token or client secret to get the next access token with."""
        if self.grant_type.has_refresh_token:
            return self.refresh_token is not None
        is_authenticated = self.client_secret is not None or self.auth_method in CERTIFICATE_METHODS
        return is_authenticated or not self.grant_type.needs_secret

    @property
    def held_scope(self) -> str | None:
        """The scopes that the login's response listed and the provider has not taken since; None if it listed none."""
        return None if self.granted_scope is None else without(self.granted_scope, self.lost_scope)

    @property
    def ends_at(self) -> float | None:
        """When the provider ends the session, as Unix time in seconds: at its ceiling or with the refresh token."""
        return lower_ceiling(self.ceiling, None if self.refresh_token_end is None else self.refresh_token_end.at)

    @property
    def end_moves(self) -> bool:
        """Whether the next refresh moves `ends_at`, as far as is known: it is the refresh token's, and others did."""
        end = self.refresh_token_end
        return end is not None and end.refresh_by is not None and end.at == self.ends_at

    def without_secrets(self) -> "Credentials":
        """Return them as they are after the provider has ended the session; the client's own secret stays."""
        return replace(self, refresh_token=None, id_token=None, refresh_token_end=None)

    def client(self, method: str | None) -> Client:
        """Return the OAuth client of these credentials; `method` is the configured authentication method."""
        return Client(self.client_id, self.client_secret, method or (self.auth_method if self.client_secret else None))

    def is_bound_to(self, issuer: str, client_id: str) -> bool:
        """Return whether they came from that issuer and client; the refresh token is sent to no others."""
        return self.client_id == client_id and is_same_issuer(self.issuer, issuer)


@dataclass(frozen=True, slots=True)
class Idle:
    """The last refresh succeeded; the next one is due by the token's age."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """The last refresh failed, at `failed_at`; the next attempt is due at `retry_at`.

    `failures` counts the failures in a row. `not_before` is the earliest time that the provider's `Retry-After` allows.
    `doubtful` counts the doubtful refusals in a row, the first of which came at `doubtful_since`. `is_believed`: the
    provider refuses the refresh token, so a login is needed; it is still tried, since the provider may take it again.
    """

    failure: Failure
    failures: int
    failed_at: Moment
    retry_at: Moment
    not_before: Moment
    doubtful: int = 0
    doubtful_since: Moment | None = None
    is_believed: bool = False

    def must_wait(self, now: Moment | None) -> bool:
        """Return whether the provider's `Retry-After` has not passed; None: nobody obeys it."""
        return now is not None and now.until(self.not_before) > 0


@dataclass(frozen=True, slots=True)
class Running:
    """A refresh of the token of that key is in flight; `previous` is the main token's state if its last one failed."""

    since: Moment
    previous: Retrying | None = None
    key: TokenKey = MAIN


RefreshState = Idle | Running | Retrying


@dataclass(frozen=True, slots=True)
class Locked:
    """The entry in the store has not been read yet, so it must not be replaced.

    `reason` says why (printable), and `remedy` what the user can do. `failure` is one of the protocol's `FAILURES`.
    `is_replaceable`: the store was read and does not have the entry, so a login may replace it.
    """

    reason: str
    remedy: tuple[Remedy, ...] = ()
    failure: str = "locked"
    is_replaceable: bool = False

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """Return the session after a login or import; raise if the one that it would replace is not known yet."""
        if not self.is_replaceable:
            raise IllegalMoveError("the session is locked")
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> "LoggedOut":
        """Return the state after a logout, which needs no look at the entry."""
        return LoggedOut()


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Nobody has logged in, or the last session was logged out."""

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """Return the session after a login or import."""
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> "LoggedOut":
        """Return this state."""
        return self


@dataclass(frozen=True, slots=True)
class LoginRequired:
    """The session has ended and a person has to log in; `reason` says why (printable).

    `credentials` still tell whose session it was; a dead refresh token is erased from them. One that may work again can
    be tried by `retry`, unless the session is `quarantined`: the provider gave it another user's tokens. `failure` is
    one of the protocol's `FAILURES`. `remedy`: what helps besides a login; it is not stored.
    """

    reason: str
    credentials: Credentials
    quarantined: bool = False
    failure: str = REAUTHENTICATION_REQUIRED
    remedy: tuple[Remedy, ...] = ()

    @property
    def can_retry(self) -> bool:
        """Whether a refresh may be tried."""
        return self.credentials.refreshable and not self.quarantined

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """Return the session after a login or import."""
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> LoggedOut:
        """Return the state after a logout."""
        return LoggedOut()

    def identify(self, subject: str, name: str | None) -> "LoginRequired":
        """Return the session as that user's, if it was not known whose it is."""
        if self.credentials.subject is not None:
            return self
        name = self.credentials.name or name
        return replace(self, credentials=replace(self.credentials, subject=subject, name=name))

    def retry(self) -> "Active":
        """Return the active session, without tokens, for a refresh that a person asked for."""
        if not self.can_retry:
            raise IllegalMoveError("there is nothing to refresh with")
        return Active(self.credentials, MappingProxyType({}))


def _no_retries() -> Mapping[TokenKey, Retrying]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Active:
    """Somebody is logged in. The tokens in `tokens` may have expired, and there may be none.

    `refresh` is the state of the main token's refresh, or a running one of any token. `retries` has the other tokens
    whose last refresh failed, whether or not `tokens` has an older token of that key.
    """

    credentials: Credentials
    tokens: Mapping[TokenKey, AccessToken]
    refresh: RefreshState = field(default_factory=Idle)
    retries: Mapping[TokenKey, Retrying] = field(default_factory=_no_retries)

    def log_in(self, credentials: Credentials, token: AccessToken) -> "Active":
        """Return the session of a new login, which replaces this one."""
        return Active(credentials, MappingProxyType({MAIN: token}))

    def log_out(self) -> LoggedOut:
        """Return the state after a logout."""
        return LoggedOut()

    def start(self, now: Moment, key: TokenKey = MAIN) -> "Active":
        """Return the session with a refresh of the token of that key in flight."""
        if isinstance(self.refresh, Running):
            raise IllegalMoveError("a refresh is already in flight")
        if not self.credentials.refreshable:
            raise IllegalMoveError("there is nothing to refresh with")
        previous = self.refresh if isinstance(self.refresh, Retrying) else None
        return replace(self, refresh=Running(now, previous, key))

    def replace_refresh_token(self, refresh_token: Secret) -> "Active":
        """Return the session with the provider's new refresh token, before the rest of the response is checked."""
        self.running()
        return replace(self, credentials=replace(self.credentials, refresh_token=refresh_token))

    def complete_refresh(
        self, credentials: Credentials, token: AccessToken | None, *, ends_others: bool = False
    ) -> "Active":
        """Return the session after a successful refresh: with these credentials and this token, if it is to be kept.

        `ends_others`: the provider has ended all other access tokens.
        """
        running = self.running()
        tokens = {} if ends_others else dict(self.tokens)
        return Active(
            credentials,
            MappingProxyType(tokens if token is None else {**tokens, running.key: token}),
            Idle() if running.key == MAIN else _main_after_success(running.previous),
            _without(self.retries, running.key),
        )

    def fail(self, failure: Failure, now: Moment, chance: float) -> "Active | LoginRequired":
        """Return the session after a failed refresh: to be retried later, or ended.

        `chance`, in [0, 1), is the backoff's jitter.
        """
        running = self.running()
        is_replaced = failure.refresh_token is not None
        failure = replace(failure, refresh_token=None)  # the credentials have it
        if isinstance(failure, AnotherUser):
            return LoginRequired(failure.reason, self.credentials, quarantined=True, failure=WRONG_USER)
        if running.key != MAIN:
            return self._fail_other(running, failure, now, chance)
        if isinstance(failure, InvalidGrant) and is_replaced:
            failure = SessionInDoubt(failure.reason)  # it says nothing about the new refresh token
        if isinstance(failure, InvalidGrant):
            return LoginRequired(failure.reason, replace(self.credentials, refresh_token=None))
        if isinstance(failure, ReauthenticationRequired):
            return LoginRequired(failure.reason, self.credentials)
        return replace(self, refresh=_retrying(failure, running.previous, now, chance))

    @property
    def is_refused(self) -> bool:
        """Whether the provider refuses the refresh token for all that is known, so that a login is needed."""
        return self.refusal is not None

    @property
    def refusal(self) -> Retrying | None:
        """The last failure if the provider refuses the refresh token, which it may take again; else None."""
        retrying = self.refresh.previous if isinstance(self.refresh, Running) else self.refresh
        return retrying if isinstance(retrying, Retrying) and retrying.is_believed else None

    def _fail_other(self, running: Running, failure: Failure, now: Moment, chance: float) -> "Active":
        """Return the session after a failed refresh of another token than the main one, which never ends it."""
        refresh: RefreshState = running.previous or Idle()
        if isinstance(failure, InvalidGrant):
            at = now if running.previous is None else _later(now, running.previous.not_before)
            refresh = Retrying(SessionInDoubt(failure.reason), failures=1, failed_at=now, retry_at=at, not_before=at)
        if isinstance(failure, ReauthenticationRequired):
            failure = Refusal(failure.reason)  # for this token alone: the session goes on
        retrying = _retrying(failure, self.retries.get(running.key), now, chance)
        return replace(self, refresh=refresh, retries=MappingProxyType({**self.retries, running.key: retrying}))

    def bring_forward(self, at: Moment, key: TokenKey = MAIN) -> "Active":
        """Return the session with a token's next attempt at `at` if that is earlier, but not before `not_before`."""
        retrying = self.refresh_of(key)
        if not isinstance(retrying, Retrying):
            raise IllegalMoveError("no refresh of that token has failed")
        at = _later(at, retrying.not_before)
        if at.until(retrying.retry_at) <= 0:
            return self
        retrying = replace(retrying, retry_at=at)
        if key == MAIN:
            return replace(self, refresh=retrying)
        return replace(self, retries=MappingProxyType({**self.retries, key: retrying}))

    def forget_failures(self, now: Moment | None = None) -> "Active":
        """Return the session without failures and backoff, as after a person's request, a reload or a resume.

        A refusal that is believed stays so until a refresh succeeds; it is tried at once.

        With `now`, as after a change of the network, which may come each minute, a `Retry-After` that has not passed
        yet is obeyed.
        """
        refresh, retries = self.refresh, {key: one for key, one in self.retries.items() if one.must_wait(now)}
        if isinstance(refresh, Retrying) and refresh.must_wait(now):
            refresh = replace(refresh, retry_at=refresh.not_before)
        elif isinstance(refresh, Retrying):
            refresh = replace(refresh, retry_at=_LONG_AGO, not_before=_LONG_AGO) if refresh.is_believed else Idle()
        retries = {key: replace(one, retry_at=one.not_before) for key, one in retries.items()}
        if refresh == self.refresh and retries == self.retries:
            return self
        return replace(self, refresh=refresh, retries=MappingProxyType(retries))

    def identify(self, subject: str, name: str | None) -> "Active":
        """Return the session as that user's, if it was not known whose it is."""
        if self.credentials.subject is not None:
            return self
        name = self.credentials.name or name
        return replace(self, credentials=replace(self.credentials, subject=subject, name=name))

    def prove_ending(self) -> "Active":
        """Return the session of a provider that ends the older access tokens at a refresh: with the newest alone."""
        if self.credentials.ends_access_token:
            return self
        newest = max(self.tokens, key=lambda key: self.tokens[key].serial, default=MAIN)
        tokens = MappingProxyType({key: token for key, token in self.tokens.items() if key == newest})
        return replace(self, credentials=replace(self.credentials, ends_access_token=True), tokens=tokens)

    def forget(self, *keys: TokenKey) -> "Active":
        """Return the session without the tokens of these keys and their failures."""
        return replace(self, tokens=_without(self.tokens, *keys), retries=_without(self.retries, *keys))

    def refresh_of(self, key: TokenKey) -> RefreshState:
        """Return the state of that token's refresh; while any refresh is running, that one, since all wait for it."""
        if isinstance(self.refresh, Running) or key == MAIN:
            return self.refresh
        return self.retries.get(key) or Idle()

    def next_refresh(
        self, chance: float, min_ttl: float, key: TokenKey = MAIN, *, ends_others: bool = False
    ) -> Moment | None:
        """Return when the next refresh is due; None if one is in flight or there is nothing to refresh.

        `ends_others`: a refresh ends all other access tokens. Then one of them takes the place of a missing main one.
        """
        refresh, token = self.refresh_of(key), self.tokens.get(key)
        if token is None and ends_others and key == MAIN:
            token = next(iter(self.tokens.values()), None)
        if isinstance(refresh, Running) or not self.credentials.refreshable or (key != MAIN and token is None):
            return None
        if isinstance(refresh, Retrying):
            return refresh.retry_at
        # Without a token the refresh is due now: a moment long past.
        if token is None or token.lifetime is None:
            return _LONG_AGO
        end, refresh_by = self.credentials.refresh_token_end, math.inf
        if key == MAIN and end is not None and end.refresh_by is not None and end.at < token.served_until.wall:
            refresh_by = end.refresh_by - token.sent.wall
        return refresh_at(token.sent, token.lifetime, chance, min_ttl, refresh_by)

    def running(self) -> Running:
        """Return the refresh in flight.

        Raises:
            IllegalMoveError: there is none.

        """
        if not isinstance(self.refresh, Running):
            raise IllegalMoveError("no refresh is in flight")
        return self.refresh


_LONG_AGO: Final = Moment(0, 0)

State = Locked | LoggedOut | Active | LoginRequired


def _main_after_success(previous: Retrying | None) -> RefreshState:
    """Return the main token's refresh state after the provider granted another token: an outage is over."""
    return Idle() if previous is None or isinstance(previous.failure, Transient) else previous


def _without(mapping: Mapping[TokenKey, _Value], *keys: TokenKey) -> Mapping[TokenKey, _Value]:
    return MappingProxyType({key: value for key, value in mapping.items() if key not in keys})


def _retrying(failure: Failure, previous: Retrying | None, now: Moment, chance: float) -> Retrying:
    failures = 1 if previous is None else previous.failures + 1
    doubtful, since, is_believed = 0, None, previous is not None and previous.is_believed
    if isinstance(failure, DoubtfulRefusal):
        doubtful = 1 if previous is None else previous.doubtful + 1
        since = now if previous is None or previous.doubtful_since is None else previous.doubtful_since
        lasts = doubtful >= DOUBTFUL_TIMES and now.boot - since.boot >= DOUBTFUL_SECONDS
        is_believed = is_believed or lasts or isinstance(failure, RefusedForNow)
    retry_after = failure.retry_after if isinstance(failure, Busy) and failure.retry_after is not None else 0.0
    delay = refused_delay(chance) if is_believed else retry_delay(failures, chance, _cap(failure))
    if is_believed and previous is not None and isinstance(failure, Transient):
        failure = failure if isinstance(failure, DoubtfulRefusal) else previous.failure  # an outage changes nothing
    return Retrying(
        failure=failure,
        failures=failures,
        failed_at=now,
        retry_at=now.after(max(delay, retry_after)),
        not_before=now.after(retry_after),
        doubtful=doubtful,
        doubtful_since=since,
        is_believed=is_believed,
    )


def _cap(failure: Failure) -> float:
    return PERMANENT_RETRY_CAP if isinstance(failure, PermanentFailure) else RETRY_CAP


def _later(first: Moment, second: Moment) -> Moment:
    return first if second.until(first) > 0 else second
