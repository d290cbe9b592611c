"""How an account's session is doing, in words: what state it is in, what is wrong with it, and what helps."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from auth_agent.cli.terminal import Piece, duration
from auth_agent.printable import printable

_REASON: Final = 300  # characters; a store's reason with its remedy is the longest there is

# What the records' reasons mean that aren't a provider's or the agent's own sentences.
_REASONS: Final = {
    "account_changed": "its issuer, client_id or grant was changed in the configuration since the login",
    "account_removed": "it is no longer in the configuration",
    "no_refresh_token": "the token expired, and the provider had given no refresh token",
}
_LAST_TOKEN: Final = "the provider gave no refresh token: the session ends with the token"  # noqa: S105 -- a text
_UNSAVED: Final = "not saved yet: it would end with the agent"
_UNDELETED: Final = "its old session is not deleted from the store yet"
# A person who looks once a day is warned of a session's end in time.
_NEAR: Final = 86_400  # s
_SEE_STORE: Final = "the store, see below"

# The error codes of a provider (RFC 6749, section 5.2, and others') that a reason begins with, by what helps: another
# configuration, or another login. The agent goes on trying meanwhile.
_OF_THE_CONFIGURATION: Final = (
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_request",
    "invalid_dpop_proof",
)
_OF_THE_LOGIN: Final = ("invalid_target", "invalid_scope", "access_denied")
# As the agent has it in its own sentences.
_TELLS_TO_CORRECT: Final = "correct the account"
_TELLS_TO_LOG_IN: Final = ("log in for it", "was replaced by another one")

Help = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """How a session is doing: `kind` is `good`, `warning`, `bad` or `off`; `words` say the same, for its `state`.

    `more` goes on where the words end; `problem` is what is wrong, and `help` what a person can do about it.
    """

    kind: str
    words: str
    more: str = ""
    problem: str = ""
    help: Help = ()


def condition(record: Mapping[str, object], now: float, *, store_fails: bool = False) -> Condition:
    """How the session of that record is doing.

    Args:
        record: as the agent gives it.
        now: Unix time in seconds.
        store_fails: the store's trouble is told elsewhere, and needs no repetition.

    """
    name, state = printable(record.get("account")), record.get("state")
    if state == "ready":
        found = _ready(record, name, now)
    elif state == "expired":
        found = _expired(record, name, now)
    elif state == "login_required":
        found = Condition("bad", "login required", problem=reason(record), help=_login_help(record, name))
    elif state == "locked":
        problem = _SEE_STORE if store_fails else reason(record)
        found = Condition("bad" if store_fails else "warning", "locked", problem=problem)
    elif state == "logged_out":
        found = Condition("off", "not logged in", help=_command("auth-agent login", name))
    else:
        found = Condition("warning", printable(state) or "unknown", problem=reason(record))
    return _with_saving(found, record)


def reason(record: Mapping[str, object]) -> str:
    """What is wrong, as a sentence for a person; "" when nothing is."""
    said = printable(record.get("reason"), _REASON)
    return _REASONS.get(said, said)


def session_end(record: Mapping[str, object], now: float) -> str:
    """Until when a person has to log in again, whatever is refreshed meanwhile; "" where no such end is known."""
    end = number(record.get("session_ends_at"))
    if end is None or record.get("state") in ("login_required", "logged_out"):
        return ""
    try:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
    except (OverflowError, ValueError, OSError):
        return ""
    if end <= now:
        return f"log in again: the provider ends the session, {date} was its time"
    return f"log in again before {date}, in {duration(end - now)}"


def number(value: object) -> float | None:
    """A record's number, None where it is none that means something."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def command(words: str, text: str) -> Help:
    """A command, and words that say what it is for."""
    return (*([Piece(words)] if words else []), Piece(text, "strong", whole=True))


def _ready(record: Mapping[str, object], name: str, now: float) -> Condition:
    until = number(record.get("expires_at"))
    more = "" if until is None else f"token good for {duration(until - now)}"
    renewal = record.get("renewal")
    if renewal == "none":
        return Condition("warning", "ready", more, _LAST_TOKEN, command("then:", _line("auth-agent login", name)))
    if not reason(record):
        end = number(record.get("session_ends_at"))
        if end is None or end - now > _NEAR:
            return Condition("good", "ready", more)
        return Condition("warning", "ready", more, session_end(record, now), _command("auth-agent login", name))
    return Condition("warning", "ready, but refreshes fail", more, reason(record), _retry_help(record, name))


def _expired(record: Mapping[str, object], name: str, now: float) -> Condition:
    until = number(record.get("expires_at"))
    more = "" if until is None or until > now else f"token expired {ago(now - until)}"
    if not reason(record):
        return Condition("warning", "expired", more)
    return Condition("warning", "expired, and refreshes fail", more, reason(record), _retry_help(record, name))


def ago(seconds: float) -> str:
    """How long ago that was, in words."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def _retry_help(record: Mapping[str, object], name: str) -> Help:
    said = printable(record.get("reason"), _REASON)
    code = said.partition(":")[0]
    if code in _OF_THE_CONFIGURATION or _TELLS_TO_CORRECT in said:
        return command("correct the account in the configuration, then:", "auth-agent reload")
    if code in _OF_THE_LOGIN or any(words in said for words in _TELLS_TO_LOG_IN):
        return _command("auth-agent login", name)
    return command("it is tried again by itself; or now:", _line("auth-agent refresh", name))


def _login_help(record: Mapping[str, object], name: str) -> Help:
    if record.get("reason") == "account_removed":
        return command("put it back, then:", "auth-agent reload")
    return _command("auth-agent login", name)


def _command(words: str, name: str) -> Help:
    return command("", _line(words, name))


def _line(words: str, name: str) -> str:
    return f"{words} {name}".rstrip()


def _with_saving(found: Condition, record: Mapping[str, object]) -> Condition:
    if record.get("saved") is not False:
        return found
    text = _UNDELETED if record.get("state") == "logged_out" else _UNSAVED
    problem = f"{found.problem}; {text}" if found.problem else text
    return replace(found, kind="warning" if found.kind in ("good", "off") else found.kind, problem=problem)
