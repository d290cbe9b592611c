"""What to do for a client that wants a token of a session that is logged in: pure, told the time."""

from dataclasses import dataclass
from typing import Final

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import PermanentFailure, SessionInDoubt
from auth_agent.sessions.advice import NO_REFRESH_TOKEN, asked_too_often, failed, login_required, too_short
from auth_agent.sessions.state import MAIN, AccessToken, Active, Retrying, Running, TokenKey
from auth_agent_client import errors

# A client without a `min_ttl` waits that long for a better token while one is still good.
_WISH_PATIENCE: Final = 1.0
# Clients that wait in an outage bring the next attempt forward to one in so many seconds.
_HASTE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What a client asks for: good for `min_ttl` seconds (None: no demand, a wish), newer than that serial."""

    key: TokenKey = MAIN
    min_ttl: float | None = None
    newer_than: int | None = None


@dataclass(frozen=True, slots=True)
class Serve:
    """Here is the token."""

    token: AccessToken


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for the refresh in flight, for `patience` seconds at most (None: as long as the client does)."""

    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start the refresh of that token and wait for it; a `driven` one counts against the connection's rate limit."""

    driven: bool
    key: TokenKey = MAIN


Decision = Serve | Join | Start | errors.AgentError


def decide(
    account: Account,
    state: Active,
    demand: Demand,
    now: Moment,
    *,
    waited: bool,
    is_named: bool,
    main_is_due: bool,
    limit: float,
) -> tuple[Decision, Active]:
    """Return what to do for a client, and the session's state, new where the next attempt is brought forward.

    Args:
        account: whose session it is.
        state: the session's.
        demand: what the client wants.
        now: the time.
        waited: whether the client joined its token's refresh already, which is over.
        is_named: whether the configuration names the API: its first token doesn't count against the rate limit.
        main_is_due: whether the main token's refresh is: it must not wait for others.
        limit: for how many seconds clients may drive no more refreshes of this session; 0 when they may.

    """
    token, min_ttl = state.tokens.get(demand.key), demand.min_ttl
    left = 0.0 if token is None else token.remaining(now)
    is_new = token is not None and (demand.newer_than is None or token.serial > demand.newer_than)
    if token is not None and is_new and _is_served(state, token, demand, now, waited=waited):
        return Serve(token), state
    if token is not None and min_ttl is not None and min_ttl > token.longest:
        return too_short(token.longest), state
    if not state.credentials.refreshable:
        return login_required(account.name, NO_REFRESH_TOKEN), state
    renewal = state.refresh_of(demand.key)
    start = Start(driven=False, key=MAIN if main_is_due else demand.key)
    if isinstance(renewal, Retrying):
        return _while_retrying(
            account, state, renewal, demand.key, now, is_good=left > 0, retry=None if waited else start
        )
    patient = left <= 0 or min_ttl is not None or not is_new
    if isinstance(renewal, Running):
        return Join(None if patient else _WISH_PATIENCE - (now.boot - renewal.since.boot)), state
    if waited:  # a refresh succeeded, and what it brought is still not enough
        if min_ttl is not None:
            return too_short(left), state
        text = f"{account.name}: the token that came is of no use by now"
        return errors.Unavailable(text, retry_after=1.0, failure="unreachable"), state
    driven = patient and (left > 0 or (token is None and not is_named))
    if driven and limit > 0:
        return asked_too_often(limit), state
    return Start(driven=driven and start.key == demand.key, key=start.key), state


def _is_served(state: Active, token: AccessToken, demand: Demand, now: Moment, *, waited: bool) -> bool:
    """Whether a token is good enough; or, to a wish, as good as can be had without making anybody wait."""
    if token.is_good_for(demand.min_ttl, now):
        return True
    if demand.min_ttl is not None or token.remaining(now) <= 0:
        return False
    renewal = state.refresh_of(demand.key)
    if waited or not state.credentials.refreshable or isinstance(renewal, Retrying):
        return True
    return isinstance(renewal, Running) and (
        renewal.after is not None or now.boot - renewal.since.boot >= _WISH_PATIENCE
    )


def _while_retrying(
    account: Account,
    state: Active,
    renewal: Retrying,
    key: TokenKey,
    now: Moment,
    *,
    is_good: bool,
    retry: Start | None,
) -> tuple[Decision, Active]:
    """Return what to do while that token's refresh fails; `retry` is what may be started, once its time has come."""
    is_stuck, main = isinstance(renewal.failure, PermanentFailure), state.refresh
    if isinstance(main, Retrying) and isinstance(main.failure, SessionInDoubt) and now.until(main.at) <= 0:
        return Start(driven=False), state  # whether the session is over is known first
    if is_good or (is_stuck and key == MAIN):
        return failed(account, renewal, now, key), state
    if not is_stuck:
        state = state.hasten(renewal.last.after(_HASTE), key)
    hastened = state.refresh_of(key)
    assert isinstance(hastened, Retrying)  # noqa: S101 -- for the type checker: `hasten` moves a date
    if retry is not None and now.until(hastened.at) <= 0:
        return retry, state
    return failed(account, hastened, now, key), state
