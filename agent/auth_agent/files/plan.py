"""Decides what a token file must hold, until when, and which token to ask for. Pure; the caller provides the time."""

import math
from dataclasses import dataclass
from typing import Final

from auth_agent import remedies
from auth_agent.files.problem import FileProblem
from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.secret import Secret
from auth_agent.sessions.advice import locked
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.identity import id_token_unavailable, usable_id_token
from auth_agent.sessions.schedule import LEAD, lead
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Locked, TokenKey
from auth_agent.token_files import ID, TokenFile
from auth_agent_client import errors

# Seconds. An ID token is gone from its file so long before its end: clocks differ, and times are rounded.
_MARGIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file must hold.

    `token` None: the file must not be there, because of `problem`, or until `demand` is met. `until`: when the token
    must be gone from it; None if it has no known end. `key` is that of an access token, None for an ID token.
    """

    token: Secret | None = None
    until: Moment | None = None
    key: TokenKey | None = None
    # What to ask the refresher for; for an ID token, once while the file has the same one.
    demand: Demand | None = None
    problem: FileProblem | None = None

    @property
    def expires_at(self) -> float | None:
        """Until when the token may be used, as Unix time in seconds; None if that is not known."""
        return None if self.until is None or self.token is None else self.until.wall

    def seconds(self, now: Moment) -> float:
        """Return the seconds until the file must be another one, by the clock that is ahead; infinity if never."""
        return math.inf if self.until is None else now.until(self.until)


def plan(file: TokenFile, session: Session | None, now: Moment, lock: Locked | None = None) -> Plan:
    """Return what the file must hold.

    Args:
        file: the file.
        session: its account's; None if there is no such account.
        now: the time.
        lock: why the whole agent is locked; None if it isn't.

    """
    try:
        active = _active(file, session, lock, now)
        return _id_token_plan(active, now) if file.kind == ID else _access_token_plan(file, active, now)
    except errors.AgentError as error:
        return Plan(problem=FileProblem.of(error))


def _active(file: TokenFile, session: Session | None, lock: Locked | None, now: Moment) -> Session:
    """Return a session that is served. Raises an `AgentError` for any other."""
    if lock is not None:
        raise locked(file.account, lock)
    if session is None:
        raise errors.UnknownAccount(f"there is no account {file.account}")
    if isinstance(session.state, Locked):
        raise locked(file.account, session.state)
    session.look(now)
    if not isinstance(session.state, Active) or session.blocked is not None:
        raise session.login_required()
    return session


def _access_token_plan(file: TokenFile, session: Session, now: Moment) -> Plan:
    key = session.token_key(file.audience, file.scope)
    if key != MAIN and session.ends_access_tokens:
        raise _not_beside_another(file, session)
    token = session.current(key)
    if token is not None and token.remaining(now) > 0:
        return Plan(token.value, _end(token), key)
    # The main token is refreshed without a demand, unless another one took its place.
    demand = Demand(key) if key != MAIN or session.ends_access_tokens else None
    problem = None if session.reason is None else FileProblem(session.reason, *session.remedy, failure=session.failure)
    if not session.refreshable:
        problem = FileProblem.of(session.login_required())
    return Plan(key=key, demand=demand, problem=problem)


def _end(token: AccessToken) -> Moment | None:
    return None if token.lifetime is None else token.served_until


def _id_token_plan(session: Session, now: Moment) -> Plan:
    token = usable_id_token(session, _MARGIN, now)
    demand = session.demand_newer(is_patient=True) if session.refreshable else None
    if token is None:
        problem = None if demand is not None else FileProblem.of(id_token_unavailable(session, now))
        return Plan(demand=demand, problem=problem)
    claims = id_token.claims(token.value) or {}
    issued_at = claims.get("iat")
    lifetime = token.expires_at - issued_at if isinstance(issued_at, int | float) else LEAD
    is_due = token.expires_at - now.wall <= lead(max(0.0, lifetime))
    return Plan(token.value, Moment(token.expires_at - _MARGIN, math.inf), demand=demand if is_due else None)


def _not_beside_another(file: TokenFile, session: Session) -> errors.Unsupported:
    account = session.account
    remedy = remedies.account_of_its_own(account.name, account.issuer, account.client_id, file.audience, file.scope)
    return errors.Unsupported(
        f"{account.name}: its provider ends the other access tokens of a session at each refresh, so a file can have "
        "only the login's own",
        failure="unsupported",
        remedy=(remedy,),
    )
