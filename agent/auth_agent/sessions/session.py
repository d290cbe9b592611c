"""One account's session: its state, and every decision about it. Synchronous, in memory, told the time.

It decides; `Refresher` acts. The *epoch* changes at login, import and logout only: a refresh's result of an older
epoch is never stored. The *revision* changes whenever the record does.
"""

import math
from typing import Final

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Failure, Stuck, TokenReply, Transient
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.allowance import Allowance
from auth_agent.sessions.decision import Decision, Demand, Job, Join, Serve, Start
from auth_agent.sessions.entry import Kept
from auth_agent.sessions.refusal import (
    ACCOUNT_CHANGED,
    ACCOUNT_REMOVED,
    LOGGED_OUT,
    NO_REFRESH_TOKEN,
    asked_too_often,
    failed,
    locked,
    login_required,
    too_short,
)
from auth_agent.sessions.schedule import ASSUMED_LIFETIME, wish
from auth_agent.sessions.state import (
    MAIN,
    AccessToken,
    Active,
    Idle,
    IllegalMoveError,
    Locked,
    LoggedOut,
    Login,
    LoginRequired,
    Retrying,
    Running,
    State,
    TokenKey,
)
from auth_agent_client import errors

# A client without a `min_ttl` waits that long for a better token while one is still good.
_WISH_PATIENCE: Final = 1.0
# Clients that wait in an outage bring the next attempt forward to one in so many seconds.
_HASTE: Final = 2.0
# A token that young and rejected tells of an API that expects another one.
_YOUNG: Final = 60.0
_YOUNG_SHARE: Final = 0.1


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
        self.allowance = Allowance()
        self.import_allowance = Allowance()
        self._chance = chance
        # The largest `min_ttl` asked for in the current token's lifetime, and in the one before.
        self._asked = 0.0
        self._asked_before = 0.0
        self._serial = 0

    # ---- what is asked

    def token(self, key: TokenKey, min_ttl: float | None, now: Moment) -> AccessToken | None:
        """The token at hand, when it satisfies the demand, or the wish: the way of nearly every request."""
        self.used_at = now.wall
        state = self.state
        if type(state) is not Active or self.suspended is not None:
            return None
        token = state.tokens.get(key)
        if token is None:
            return None
        enough = wish(token.lifetime) if min_ttl is None else min_ttl
        left = token.remaining(now)
        return token if left > 0 and left >= enough else None

    def ask(self, min_ttl: float | None) -> bool:
        """Remember what clients need; whether that moves the next refresh."""
        if min_ttl is None or min_ttl <= self._asked:
            return False
        before = self.refresh_at()
        self._asked = float(math.ceil(min_ttl))  # whole seconds: watchers are told of no smaller ones
        if self.refresh_at() == before:
            return False
        self.revision += 1
        return True

    def decide(self, demand: Demand, now: Moment, *, waited: bool = False) -> Decision:
        """What to do for a client; `waited`: it joined a refresh already, which is over."""
        state = self.state
        if isinstance(state, Locked):
            return locked(self.account.name, state.reason)
        if not isinstance(state, Active) or self.suspended is not None:
            return self._login_required()
        token = state.tokens.get(demand.key)
        left = 0.0 if token is None else token.remaining(now)
        new_enough = token is not None and (demand.newer_than is None or token.serial > demand.newer_than)
        if token is not None and new_enough and left > 0:
            enough = wish(token.lifetime) if demand.min_ttl is None else demand.min_ttl
            if left >= enough or (demand.min_ttl is None and self._wish_is_waived(state, now, waited=waited)):
                return Serve(token)
        if token is not None and demand.min_ttl is not None and demand.min_ttl > token.longest:
            return too_short(token.longest)
        patient = token is None or left <= 0 or demand.min_ttl is not None or not new_enough
        return self._renewal_decision(state, demand, now, waited=waited, left=left, patient=patient)

    def _wish_is_waived(self, state: Active, now: Moment, *, waited: bool) -> bool:
        """Whether a token that is good, if not for long, is as much as can be had without making anybody wait."""
        if waited or not state.login.renewable or isinstance(state.renewal, Retrying):
            return True
        running = state.renewal
        return isinstance(running, Running) and (
            running.after is not None or now.boot - running.since.boot >= _WISH_PATIENCE
        )

    def _renewal_decision(
        self, state: Active, demand: Demand, now: Moment, *, waited: bool, left: float, patient: bool
    ) -> Decision:
        if not state.login.renewable:
            return login_required(self.account.name, NO_REFRESH_TOKEN)
        renewal = state.renewal
        if isinstance(renewal, Running):
            return Join(None if patient else _WISH_PATIENCE - (now.boot - renewal.since.boot))
        if isinstance(renewal, Retrying):
            return self._retrying_decision(state, renewal, now, waited=waited, left=left)
        if waited:  # a refresh succeeded, and what it brought is still not enough
            if demand.min_ttl is not None:
                return too_short(left)
            return errors.Unavailable(f"{self.account.name}: the token that came is of no use by now", retry_after=1.0)
        driven = left > 0 and patient
        wait = self.allowance.wait(now.boot) if driven else 0.0
        return Start(driven) if wait == 0 else asked_too_often(wait)

    def _retrying_decision(
        self, state: Active, renewal: Retrying, now: Moment, *, waited: bool, left: float
    ) -> Decision:
        if left > 0 or isinstance(renewal.failure, Stuck):
            return failed(self.account.name, renewal, now)
        hastened = state.hasten(renewal.last.after(_HASTE))
        if hastened is not state:
            self._move(hastened)
        assert isinstance(hastened.renewal, Retrying)  # noqa: S101 -- for the type checker: `hasten` moves a date
        if not waited and now.until(hastened.renewal.at) <= 0:
            return Start(driven=False)
        return failed(self.account.name, hastened.renewal, now)

    def reject(self, key: TokenKey, access_token: str, now: Moment) -> Demand | errors.AgentError:
        """What a client should get whose API answered that token with 401."""
        current = self.current(key)
        if current is None or current.value.reveal() != access_token:
            return Demand(key)  # an older one, or an unknown one: the current one is the answer
        if now.boot - current.sent.boot < min(_YOUNG, _YOUNG_SHARE * current.lifetime):
            return errors.Denied(
                "the token is as good as new: the API rejects it for another reason; check the audience and scope "
                "that the API expects"
            )
        return Demand(key, newer_than=current.serial)

    def key(self, audience: str | None, scope: str | None) -> TokenKey:
        """What a token for that audience and those scopes is kept under.

        Raises:
            Denied: it is the account's own by now, and not what the login was for.
            Unsupported: it is not the account's own.

        """
        own = self.account
        wanted = own.audience if audience is None else audience
        granted = own.audience if self.login is None else self.login.audience
        same_scope = not scope or set(scope.split()) == set(own.scope.split())
        if same_scope and wanted == granted:
            return MAIN
        if same_scope and wanted == own.audience:
            raise errors.Denied(
                f"{own.name}'s audience was changed in the configuration since the login, and its token is still for "
                f"the other one; log in again: auth-agent login {own.name}"
            )
        raise errors.Unsupported(
            f"this agent serves {own.name}'s own audience and scope only; leave them out, or make another account"
        )

    def force(self, key: TokenKey = MAIN) -> Demand:
        """The demand for a token newer than the current one."""
        token = self.current(key)
        return Demand(key, newer_than=None if token is None else token.serial)

    # ---- what happens

    def start(self, now: Moment) -> Job:
        """A refresh begins: what to do for it."""
        if not isinstance(self.state, Active):
            raise RuntimeError("only a session that is logged in is refreshed")  # noqa: TRY004 -- its state, not its type
        self._move(self.state.start(now))
        return Job(self.account, self.epoch, self.state.login)

    def is_current(self, job: Job) -> bool:
        """Whether what comes of that refresh still belongs to this session; what doesn't has to be revoked."""
        return job.epoch == self.epoch and isinstance(self.state, Active)

    def keep(self, refresh_token: Secret) -> None:
        """The refresh token was replaced, by the provider or in the store: held before anything else is judged."""
        assert isinstance(self.state, Active)  # noqa: S101 -- for the type checker: a current job's session
        self._move(self.state.keep(refresh_token))

    def judge(self, outcome: TokenReply | Failure, sent: Moment, now: Moment, chance: float) -> Kept:
        """What a refresh leaves of the session: to be saved, and then to be settled on. Changes nothing yet.

        Args:
            outcome: what came of it.
            sent: when the request that was answered was sent.
            now: the time.
            chance: in [0, 1), for the backoff's jitter.

        """
        active = self.state
        assert isinstance(active, Active)  # noqa: S101 -- for the type checker: a current job's session
        if isinstance(outcome, Failure):
            return self.kept(active.fail(outcome, now, chance))
        login = accept(active.login, outcome)
        if isinstance(login, Failure):
            return self.kept(active.fail(login, now, chance))
        token = self.access_token(outcome, login, sent)
        if token.remaining(now) <= 0:  # the provider took longer than its tokens live, or a clock was set meanwhile
            return self.kept(active.fail(Transient("the provider's token had expired when it came"), now, chance))
        return Kept(active.renew(login, token), self.epoch, self.refreshes + 1, now.wall)

    def settle(self, kept: Kept, chance: float) -> None:
        """A refresh came to its end, and left that.

        `chance`, in [0, 1), is for the schedule's spread.
        """
        if kept.refreshes > self.refreshes:
            self._chance = chance
            self._asked_before, self._asked = self._asked, 0.0
        self.refreshes = kept.refreshes
        self.last_refresh_at = kept.last_refresh_at
        self._move(kept.state)

    def successor(self, found: Kept | None) -> Secret | None:
        """The refresh token of what the store has, where that is this very session as another process left it."""
        mine, theirs = self.login, None if found is None or not isinstance(found.state, Active) else found.state.login
        if mine is None or theirs is None or not theirs.is_bound_to(mine.issuer, mine.client_id):
            return None
        return theirs.refresh_token if theirs.subject == mine.subject else None

    def kept(self, state: State | None = None) -> Kept:
        """What is to be kept of the session, as it is or would be in that state."""
        return Kept(state or self.state, self.epoch, self.refreshes, self.last_refresh_at)

    def restore(self, kept: Kept) -> None:
        """The store told what it has."""
        if not isinstance(self.state, Locked):
            raise IllegalMoveError("only a locked session is restored")
        self.epoch = max(self.epoch, kept.epoch)
        self.refreshes = kept.refreshes
        self.last_refresh_at = kept.last_refresh_at
        self._move(kept.state)

    def lock(self, reason: str) -> bool:
        """What the store has of it can't be told, for that reason, printable; whether that is news."""
        if not isinstance(self.state, Locked) or self.state.reason == reason:
            return False
        self._move(Locked(reason))
        return True

    def mark(self, *, saved: bool) -> bool:
        """Whether the store has what it should have; whether that is news."""
        if self.saved == saved:
            return False
        self.saved = saved
        self.revision += 1
        return True

    def log_in(self, login: Login, token: AccessToken, now: Moment) -> None:
        """A login or import was proved: it takes the place of what was there."""
        self.epoch += 1
        self.refreshes = 0
        self.last_refresh_at = now.wall
        self._asked = self._asked_before = 0.0
        self._move(self.state.log_in(login, token))

    def log_out(self) -> Login | None:
        """Forget everything; the login there was, for whoever revokes its refresh token."""
        login = self.login
        self.epoch += 1
        self.refreshes = 0
        self.last_refresh_at = None
        self._move(self.state.log_out())
        return login

    def start_afresh(self) -> bool:
        """Forget past failures; whether there were any."""
        if not isinstance(self.state, Active):
            return False
        afresh = self.state.start_afresh()
        if afresh is self.state:
            return False
        self._move(afresh)
        return True

    def revive(self) -> None:
        """A person wants a refresh: neither past failures count, nor that a person was needed."""
        if isinstance(self.state, LoginRequired) and self.state.revivable:
            self._move(self.state.revive())
        self.start_afresh()

    def configure(self, account: Account | None) -> None:
        """The configuration changed; None: it has no such account any more."""
        self.removed = account is None
        self.account = account or self.account
        self.revision += 1

    # ---- what is known

    @property
    def login(self) -> Login | None:
        """Whose session it is, where there is one or was."""
        return self.state.login if isinstance(self.state, Active | LoginRequired) else None

    @property
    def is_locked(self) -> bool:
        """Whether it isn't known yet what the store has of it."""
        return isinstance(self.state, Locked)

    @property
    def renewable(self) -> bool:
        """Whether there is something to refresh with, which is used when its time comes."""
        state = self.state
        return isinstance(state, Active) and state.login.renewable and self.suspended is None

    @property
    def revivable(self) -> bool:
        """Whether there is something to refresh with that a person may have tried."""
        state = self.state
        return self.renewable or (isinstance(state, LoginRequired) and state.revivable and self.suspended is None)

    @property
    def suspended(self) -> str | None:
        """Why nothing of this session may be sent or served, though it is there; None when it may."""
        if self.removed:
            return ACCOUNT_REMOVED
        login = self.login
        account = self.account
        if login is None:
            return None
        if not login.is_bound_to(account.issuer, account.client_id) or login.grant != account.grant:
            return ACCOUNT_CHANGED
        return None

    @property
    def reason(self) -> str | None:
        """What is wrong, printable; None when nothing is."""
        if self.suspended is not None:
            return self.suspended
        if isinstance(self.state, Locked | LoginRequired):
            return self.state.reason
        if isinstance(self.state, Active):
            renewal = self.state.renewal
            last = renewal.after if isinstance(renewal, Running) else renewal
            if isinstance(last, Retrying):
                return last.failure.reason
        return None

    def refresh_at(self) -> Moment | None:
        """When the next refresh is due by time; None: it isn't."""
        if not isinstance(self.state, Active) or self.suspended is not None:
            return None
        return self.state.next_refresh(self._chance, max(self._asked, self._asked_before))

    def refresh_due(self, now: Moment) -> Moment | None:
        """When to start the next refresh, or try to; also at once, where clocks made the token useless before."""
        due = self.refresh_at()
        idle = isinstance(self.state, Active) and isinstance(self.state.renewal, Idle)
        return now if due is not None and idle and self.remaining(now) <= 0 else due

    def current(self, key: TokenKey = MAIN) -> AccessToken | None:
        """The token that is kept under that key, good or not; None when there is none."""
        return self.state.tokens.get(key) if isinstance(self.state, Active) else None

    def remaining(self, now: Moment) -> float:
        """For how many seconds the main token can be served; 0 when there is none."""
        token = self.current()
        return 0.0 if token is None else token.remaining(now)

    def access_token(self, reply: TokenReply, login: Login, sent: Moment) -> AccessToken:
        """The token of a reply that was accepted for that login."""
        if reply.access_token is None:
            raise RuntimeError("only a reply with an access token is accepted")
        self._serial += 1
        return AccessToken(
            value=reply.access_token,
            token_type=reply.token_type,
            scope=reply.scope,
            audience=login.audience,
            sent=sent,
            lifetime=ASSUMED_LIFETIME if reply.lifetime is None else reply.lifetime,
            assumed=reply.lifetime is None,
            serial=self._serial,
        )

    def _login_required(self) -> errors.LoginRequired:
        return login_required(self.account.name, self.reason or LOGGED_OUT)

    def _move(self, state: State) -> None:
        self.state = state
        self.revision += 1
