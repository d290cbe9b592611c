"""Decides how to answer a client's request for a token of an active session. Pure; the caller provides the time."""

from dataclasses import dataclass
from typing import Final

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import PermanentFailure, SessionInDoubt
from auth_agent.sessions.advice import (
    NO_REFRESH_TOKEN,
    lifetime_too_short,
    login_required,
    refresh_failed,
)
from auth_agent.sessions.state import MAIN, AccessToken, Active, Retrying, Running, TokenKey
from auth_agent_client import errors

# Seconds that a client without `min_ttl` waits for a refresh while the current token is still valid.
_PREFERENCE_PATIENCE: Final = 1.0
# In an outage, requests of clients bring the next attempt forward to so many seconds after the last.
_RETRY_INTERVAL: Final = 2.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What a client requests: a token valid for `min_ttl` seconds (None: no requirement) and newer than that serial.

    `is_patient`: it may wait a little for others who were promised a token that a refresh ends. Who needs no newer one
    always does.
    """

    key: TokenKey = MAIN
    min_ttl: float | None = None
    newer_than: int | None = None
    is_patient: bool = False


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer with this token."""

    token: AccessToken


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for the refresh in flight, for at most `patience` seconds (None: until the client's timeout)."""

    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start the refresh of that token and wait for it; `rate_limited`: it counts against the rate limit."""

    rate_limited: bool
    key: TokenKey = MAIN


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait so many seconds, since others were promised the token that a refresh would end; then decide again."""

    seconds: float


Decision = Serve | Join | Start | Hold | errors.AgentError


def decide(
    account: Account,
    state: Active,
    demand: Demand,
    now: Moment,
    *,
    waited: bool,
    is_configured: bool,
    main_is_due: bool,
    is_spared: bool = True,
    is_promised: bool = False,
    patience: float = 0.0,
) -> tuple[Decision, Active]:
    """Return what to do for a client, and the session's state, in which the next attempt may be brought forward.

    Args:
        account: the session's account.
        state: the session's state.
        demand: what the client requests.
        now: the time.
        waited: whether the client has already waited for a refresh of its token.
        is_configured: whether the configuration names the API: its first token doesn't count against the rate limit.
        main_is_due: whether the main token's refresh is due: it must not wait for others.
        is_spared: whether no refresh will end the token within `min_ttl`.
        is_promised: whether a refresh would end a token that others were promised.
        patience: for how many seconds to wait then.

    """
    token, min_ttl = state.tokens.get(demand.key), demand.min_ttl
    left = 0.0 if token is None else token.remaining(now)
    is_new = token is not None and (demand.newer_than is None or token.serial > demand.newer_than)
    is_good = token is not None and token.is_good_for(min_ttl, now)
    is_usable = is_good or (min_ttl is None and left > 0)
    is_best = is_spared if is_good else is_promised
    if (
        token is not None
        and is_new
        and is_usable
        and (is_best or _would_take_long(state, demand.key, now, waited=waited))
    ):
        return Serve(token), state
    if token is not None and min_ttl is not None and min_ttl > token.longest:
        return lifetime_too_short(token.longest), state
    if not state.credentials.refreshable:
        return login_required(account.name, NO_REFRESH_TOKEN), state
    main = state.refresh
    if isinstance(main, Retrying) and main.is_believed and left <= 0 and now.until(main.retry_at) > 0:
        return refresh_failed(account, main, now), state
    refresh = state.refresh_of(demand.key)
    start = Start(rate_limited=False, key=MAIN if main_is_due else demand.key)
    if isinstance(refresh, Retrying):
        return _while_retrying(
            account, state, refresh, demand.key, now, is_valid=left > 0, retry=None if waited else start
        )
    patient = left <= 0 or (min_ttl is not None and not is_good) or not is_new
    if isinstance(refresh, Running):
        return Join(None if patient else _PREFERENCE_PATIENCE - (now.boot - refresh.since.boot)), state
    if waited:  # the refresh succeeded, and its token still isn't good enough
        if min_ttl is not None:
            return lifetime_too_short(left), state
        message = f"{account.name}: the new token has already expired"
        return errors.Unavailable(message, retry_after=1.0, failure="unreachable"), state
    if patience > 0 and (demand.newer_than is None or demand.is_patient):
        return Hold(patience), state
    rate_limited = patient and (left > 0 or (token is None and not is_configured))
    return Start(rate_limited=rate_limited and start.key == demand.key, key=start.key), state


def _would_take_long(state: Active, key: TokenKey, now: Moment, *, waited: bool) -> bool:
    """Return whether a better token than one that can be used would take long."""
    refresh = state.refresh_of(key)
    if waited or not state.credentials.refreshable or isinstance(refresh, Retrying):
        return True
    return isinstance(refresh, Running) and (
        refresh.previous is not None or now.boot - refresh.since.boot >= _PREFERENCE_PATIENCE
    )


def _while_retrying(
    account: Account,
    state: Active,
    retrying: Retrying,
    key: TokenKey,
    now: Moment,
    *,
    is_valid: bool,
    retry: Start | None,
) -> tuple[Decision, Active]:
    """Return what to do after that token's refresh failed; `retry` is the refresh to start if the next one is due."""
    is_permanent, main = isinstance(retrying.failure, PermanentFailure), state.refresh
    if isinstance(main, Retrying) and isinstance(main.failure, SessionInDoubt) and now.until(main.retry_at) <= 0:
        return Start(rate_limited=False), state  # first learn whether the session has ended
    if is_valid or (is_permanent and key == MAIN):
        return refresh_failed(account, retrying, now, key), state
    if not is_permanent:
        state = state.bring_forward(retrying.failed_at.after(_RETRY_INTERVAL), key)
    refresh = state.refresh_of(key)
    assert isinstance(refresh, Retrying)  # noqa: S101 -- for the type checker: `bring_forward` changes a time alone
    if retry is not None and now.until(refresh.retry_at) <= 0:
        return retry, state
    return refresh_failed(account, refresh, now, key), state
