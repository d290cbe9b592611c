"""What to do for a client that wants a token of a session that is logged in: pure, told the time."""

from typing import Final

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Doubted, Stuck
from auth_agent.sessions.advice import NO_REFRESH_TOKEN, asked_too_often, failed, login_required, too_short
from auth_agent.sessions.decision import Decision, Demand, Join, Serve, Start
from auth_agent.sessions.schedule import wish
from auth_agent.sessions.state import MAIN, Active, Retrying, Running
from auth_agent_client import errors

# A client without a `min_ttl` waits that long for a better token while one is still good.
_WISH_PATIENCE: Final = 1.0
# Clients that wait in an outage bring the next attempt forward to one in so many seconds.
_HASTE: Final = 2.0


class Choice:
    """The choice for one client. `state` is the session's, and afterwards, where an attempt was brought forward, new.

    Args:
        account: whose session it is.
        state: the session's.
        demand: what the client wants.
        now: the time.
        waited: whether the client joined its token's refresh already, which is over.
        is_named: whether the configuration says that such tokens are needed: the first is then no client's caprice.
        main_is_due: whether the main token's refresh is: it must not wait for others.
        limit: for how many seconds clients may drive no more refreshes of this session; 0 when they may.

    """

    def __init__(
        self,
        account: Account,
        state: Active,
        demand: Demand,
        now: Moment,
        *,
        waited: bool,
        is_named: bool,
        main_is_due: bool,
        limit: float,
    ) -> None:
        self.state = state
        self._account = account
        self._demand = demand
        self._now = now
        self._waited = waited
        self._is_named = is_named
        self._main_is_due = main_is_due
        self._limit = limit
        self._token = state.tokens.get(demand.key)
        self._left = 0.0 if self._token is None else self._token.remaining(now)
        self._new_enough = self._token is not None and (
            demand.newer_than is None or self._token.serial > demand.newer_than
        )

    def decision(self) -> Decision:
        """What to do."""
        token, demand = self._token, self._demand
        if token is not None and self._new_enough and self._left > 0:
            enough = wish(token.lifetime) if demand.min_ttl is None else demand.min_ttl
            if self._left >= enough or (demand.min_ttl is None and self._wish_is_waived()):
                return Serve(token)
        if token is not None and demand.min_ttl is not None and demand.min_ttl > token.longest:
            return too_short(token.longest)
        if not self.state.login.renewable:
            return login_required(self._account.name, NO_REFRESH_TOKEN)
        renewal = self.state.renewal_of(demand.key)
        patient = token is None or self._left <= 0 or demand.min_ttl is not None or not self._new_enough
        if isinstance(renewal, Running):
            return Join(None if patient else _WISH_PATIENCE - (self._now.boot - renewal.since.boot))
        if isinstance(renewal, Retrying):
            return self._while_retrying(renewal)
        if self._waited:  # a refresh succeeded, and what it brought is still not enough
            if demand.min_ttl is not None:
                return too_short(self._left)
            return errors.Unavailable(
                f"{self._account.name}: the token that came is of no use by now", retry_after=1.0, failure="unreachable"
            )
        driven = patient and (self._left > 0 or (token is None and not self._is_named))
        return asked_too_often(self._limit) if driven and self._limit > 0 else self._start(driven=driven)

    def _wish_is_waived(self) -> bool:
        """Whether a token that is good, if not for long, is as much as can be had without making anybody wait."""
        renewal = self.state.renewal_of(self._demand.key)
        if self._waited or not self.state.login.renewable or isinstance(renewal, Retrying):
            return True
        return isinstance(renewal, Running) and (
            renewal.after is not None or self._now.boot - renewal.since.boot >= _WISH_PATIENCE
        )

    def _while_retrying(self, renewal: Retrying) -> Decision:
        key, stuck, main = self._demand.key, isinstance(renewal.failure, Stuck), self.state.renewal
        if isinstance(main, Retrying) and isinstance(main.failure, Doubted) and self._is_past(main.at):
            return Start(driven=False)  # whether the session is over is known first
        if self._left > 0 or (stuck and key == MAIN):
            return failed(self._account, renewal, self._now, key)
        if not stuck:
            self.state = self.state.hasten(renewal.last.after(_HASTE), key)
        hastened = self.state.renewal_of(key)
        assert isinstance(hastened, Retrying)  # noqa: S101 -- for the type checker: `hasten` moves a date
        if not self._waited and self._is_past(hastened.at):
            return self._start(driven=False)
        return failed(self._account, hastened, self._now, key)

    def _start(self, *, driven: bool) -> Start:
        """Start that token's refresh; or the main one's, where that is due."""
        if self._demand.key != MAIN and self._main_is_due:
            return Start(driven=False)
        return Start(driven=driven, key=self._demand.key)

    def _is_past(self, moment: Moment) -> bool:
        return self._now.until(moment) <= 0
