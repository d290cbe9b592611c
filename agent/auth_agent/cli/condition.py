"""Describe an account's session for a person: its state, what is wrong, and what helps."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from auth_agent import remedies
from auth_agent.cli.terminal import duration
from auth_agent.printable import printable
from auth_agent_client.messages import EXPIRED, IDLE, LOCKED, LOGGED_OUT, LOGIN_REQUIRED, NO_RENEWAL, READY, RUNNING
from auth_agent_client.remedy import Remedy, remedies_from_wire

_REASON: Final = 300  # characters

# Sentences for the reasons that are a word, not a sentence of the provider or the agent.
_REASONS: Final = {
    "account_changed": "its issuer, client_id or grant has changed in the configuration since the login",
    "account_removed": "it is no longer in the configuration",
    "claims_missing": "the login does not have the claims that the configuration requires now (require_claims)",
    "no_refresh_token": "the token expired, and the provider issued no refresh token",
    "token_rejected": "an API rejected the token, and the provider issued no refresh token",
    "session_expired": "the session has reached the end that the provider set for it",
}
_LAST_TOKEN: Final = "the provider issued no refresh token: the session ends with the token"  # noqa: S105 -- a sentence
_ENDLESS: Final = "token without a known end"
_UNSAVED: Final = "not saved yet: the session would be lost if the agent ended"
_UNDELETED: Final = "its old session is not deleted from the store yet"
# Whoever runs `status` once a day is warned in time.
_NEAR: Final = 86_400  # s
_SEE_STORE: Final = "the store, see below"


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a session: `kind` is `good`, `warning`, `bad` or `off`, and `words` describe its state.

    `more` adds details to the words, `problem` says what is wrong, and `remedy` what a person can do about it.
    """

    kind: str
    words: str
    more: str = ""
    problem: str = ""
    remedy: tuple[Remedy, ...] = ()


def condition_of(
    record: Mapping[str, object], now: float, *, store_fails: bool = False, agent_locked: bool = False
) -> Condition:
    """Return the condition of a record's session.

    Args:
        record: as the agent sent it.
        now: Unix time in seconds.
        store_fails: whether the store's problem is shown elsewhere and is not repeated here.
        agent_locked: whether the agent is locked, which is shown elsewhere, too.

    """
    state = record.get("state")
    if state == READY:
        result = _ready(record, now)
    elif state == EXPIRED:
        result = _expired(record, now)
    elif state == LOGIN_REQUIRED:
        result = Condition("bad", "login required", problem=reason(record), remedy=_remedy(record))
    elif state == LOCKED and agent_locked:
        result = Condition("warning", "locked")
    elif state == LOCKED and record.get("failure") == "store_failed" and not store_fails:
        result = Condition("bad", "not found in the store", problem=reason(record), remedy=_remedy(record))
    elif state == LOCKED:
        result = (
            Condition("bad", "locked", problem=_SEE_STORE)
            if store_fails
            else Condition("warning", "locked", problem=reason(record), remedy=_remedy(record))
        )
    elif state == LOGGED_OUT:
        result = Condition("off", "not logged in", remedy=_remedy(record))
    else:
        result = Condition("warning", printable(state) or "unknown", problem=reason(record))
    return _with_saving(result, record)


def reason(record: Mapping[str, object]) -> str:
    """Return what is wrong, as a sentence; "" if nothing is."""
    word = printable(record.get("reason"), _REASON)
    return _REASONS.get(word, word)


def session_end(record: Mapping[str, object], now: float) -> str:
    """Return when the provider ends the session, as a sentence; "" if that is not known, or the agent prevents it."""
    end = number(record.get("session_ends_at"))
    if end is None or record.get("state") in (LOGIN_REQUIRED, LOGGED_OUT) or _is_prevented(record, end, now):
        return ""
    try:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
    except (OverflowError, ValueError, OSError):
        return ""
    if end <= now:
        return f"log in again: the provider ended the session at {date}"
    return f"log in again before {date}, in {duration(end - now)}"


def _is_prevented(record: Mapping[str, object], end: float, now: float) -> bool:
    """Return whether the next refresh moves the session's end, before it has come."""
    refresh_at = number(record.get("refresh_at"))
    is_next = record.get("renewal") == IDLE and refresh_at is not None and refresh_at < end
    is_planned = is_next or record.get("renewal") == RUNNING
    return record.get("session_end_moves") is True and is_planned and now < end


def number(value: object) -> float | None:
    """Return a field's number; None if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _remedy(record: Mapping[str, object]) -> tuple[Remedy, ...]:
    """Return the agent's remedies; those for the session's state if an older agent sent none."""
    if "remedy" in record:
        return remedies_from_wire(record["remedy"])
    name, state = printable(record.get("account")), record.get("state")
    if record.get("reason") == "account_removed":
        return (remedies.restore_account_and_reload(),)
    if state == LOGGED_OUT:
        return (remedies.log_in(name),)
    if state == LOGIN_REQUIRED:
        return (remedies.log_in_again(name),)
    if record.get("renewal") == NO_RENEWAL:
        return () if state == LOCKED else (remedies.log_in_before_end(name),)
    return (remedies.refresh(name),) if state in (READY, EXPIRED) else ()


def _ready(record: Mapping[str, object], now: float) -> Condition:
    until = number(record.get("expires_at"))
    assumed = " (assumed: the provider gave no lifetime)" if record.get("lifetime_assumed") is True else ""
    is_endless = record.get("expires_at", 0) is None
    more = _ENDLESS if is_endless else "" if until is None else f"token good for {duration(until - now)}{assumed}"
    renewal = record.get("renewal")
    if renewal == NO_RENEWAL and is_endless:
        return Condition("good", "ready", more)
    if renewal == NO_RENEWAL:
        return Condition("warning", "ready", more, _LAST_TOKEN, _remedy(record))
    if not reason(record):
        end = number(record.get("session_ends_at"))
        if end is None or end - now > _NEAR or not session_end(record, now):
            return Condition("good", "ready", more)
        in_time = (remedies.log_in_before_end(printable(record.get("account"))),)
        return Condition("warning", "ready", more, session_end(record, now), in_time)
    words = "ready" if renewal == IDLE else "ready, but refreshes fail"
    if record.get("failure") == "narrowed":
        words = "ready, but with fewer scopes"
    return Condition("warning", words, more, reason(record), _remedy(record))


def _expired(record: Mapping[str, object], now: float) -> Condition:
    until = number(record.get("expires_at"))
    more = "" if until is None or until > now else f"token expired {ago(now - until)}"
    if not reason(record):
        return Condition("warning", "expired", more)
    return Condition("warning", "expired, and refreshes fail", more, reason(record), _remedy(record))


def ago(seconds: float) -> str:
    """Return how long ago that was: "just now", "5 min ago"."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def _with_saving(condition: Condition, record: Mapping[str, object]) -> Condition:
    if record.get("saved") is not False:
        return condition
    unsaved = _UNDELETED if record.get("state") == LOGGED_OUT else _UNSAVED
    problem = f"{condition.problem}; {unsaved}" if condition.problem else unsaved
    return replace(condition, kind="warning" if condition.kind in ("good", "off") else condition.kind, problem=problem)
