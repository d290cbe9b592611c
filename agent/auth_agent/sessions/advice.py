"""What failed, told to whoever asked: the one table that turns failures into errors, their words and what helps.

A `reason` may quote the provider, and is shown as text. The remedy is made here from what the agent itself knows.
"""

from typing import Final

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.auth0 import InsufficientScope
from auth_agent.oauth.device import CodeExpired
from auth_agent.oauth.outcome import (
    AnotherUser,
    Busy,
    ClockWrong,
    Defect,
    Failure,
    InvalidGrant,
    Misconfigured,
    PermanentFailure,
    ReauthenticationRequired,
    Refusal,
    Rejected,
    ReplacedToken,
    Transient,
    UnexplainedRefusal,
    Unusable,
)
from auth_agent.printable import printable
from auth_agent.remedies import LOGIN
from auth_agent.sessions.state import MAIN, Retrying, TokenKey
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

ACCOUNT_CHANGED: Final = "account_changed"
ACCOUNT_REMOVED: Final = "account_removed"
LOGGED_OUT: Final = "logged_out"
NO_REFRESH_TOKEN: Final = "no_refresh_token"  # noqa: S105 -- a reason, no token

_LOGIN_REQUIRED: Final = {
    ACCOUNT_CHANGED: "{name}'s issuer, client_id or grant was changed in the configuration since the login",
    ACCOUNT_REMOVED: "{name} is no longer in the configuration",
    LOGGED_OUT: "{name} is not logged in",
    NO_REFRESH_TOKEN: "{name}: the provider gave no refresh token, and the access token is too old",
}
# Of the reasons that are words, which failure each is; the others are the provider's, which ended the session.
_FAILURES_OF_REASONS: Final = {
    ACCOUNT_CHANGED: "account_changed",
    ACCOUNT_REMOVED: "account_changed",
    NO_REFRESH_TOKEN: "session_expired",
}
# The class of a failure decides, and where it has no word of its own, the class above it.
_WORDS: Final[dict[type[Failure], str]] = {
    Transient: "unreachable",
    Busy: "busy",
    UnexplainedRefusal: "refused",
    Defect: "defect",
    Misconfigured: "misconfigured",
    Refusal: "refused",
    Rejected: "refused",
    Unusable: "invalid_response",
    ClockWrong: "clock",
    ReplacedToken: "reauthentication_required",
    ReauthenticationRequired: "reauthentication_required",
    AnotherUser: "wrong_user",
    CodeExpired: "cancelled",
}
# Seconds after which a person may try again what failed for something that passes.
_SOON: Final = 2.0


def failure_word(failure: Failure) -> str:
    """Which of the protocol's `FAILURES` a failure is."""
    return next((_WORDS[kind] for kind in type(failure).__mro__ if kind in _WORDS), "defect")


# ---- sessions that a person has to begin


def login_required(name: str, reason: str, failure: str | None = None) -> errors.LoginRequired:
    """The error for a session that a person has to begin, or begin again; `reason` is printable."""
    text = _LOGIN_REQUIRED.get(reason, "{name}: the session is over ({reason})")
    return errors.LoginRequired(
        text.format(name=name, reason=reason),
        reason=reason,
        failure=failure or login_failure(reason),
        remedy=login_remedy(name, reason),
    )


def login_failure(reason: str) -> str:
    """Which of the protocol's `FAILURES` it is that a person has to log in, for that reason."""
    return _FAILURES_OF_REASONS.get(reason, "reauthentication_required")


def login_remedy(name: str, reason: str) -> tuple[Remedy, ...]:
    """What helps a session that a person has to begin, or begin again."""
    if reason == ACCOUNT_REMOVED:
        return (remedies.put_back_and_reload(),)
    return (remedies.log_in(name) if reason == LOGGED_OUT else remedies.log_in_again(name),)


def locked(name: str, reason: str, remedy: tuple[Remedy, ...]) -> errors.Locked:
    """The error for a session that the store doesn't give yet; `reason` is printable."""
    return errors.Locked(f"{name}: {reason}", reason=reason, failure="locked", remedy=remedy)


def nobody(name: str) -> errors.Unsupported:
    """The error for who asks for the user of an account that is its client's own."""
    reason = "it is its client's own account: nobody is logged in there"
    return errors.Unsupported(f"{name}: {reason}", reason=reason, failure="unsupported")


# ---- tokens that can't be had


def asked_too_often(wait: float) -> errors.Unavailable:
    """The error for a client that makes the agent ask the provider too often; `wait` in seconds."""
    return errors.Unavailable(
        f"the provider would be asked too often; try again in {wait:.0f} s",
        retry_after=round(wait, 3),
        failure="busy",
    )


def too_short(lifetime: float) -> errors.LifetimeTooShort:
    """The error for a `min_ttl` that not even a new token satisfies, good for `lifetime` seconds."""
    lifetime = round(lifetime, 3)
    return errors.LifetimeTooShort(
        f"the provider's tokens are good for {lifetime:g} s when new: ask for a shorter min_ttl", lifetime=lifetime
    )


def failed(account: Account, renewal: Retrying, now: Moment, key: TokenKey = MAIN) -> errors.AgentError:
    """The error for a client that no token of that key is good enough for, after that failure."""
    failure = renewal.failure
    text = f"{account.name}{_shown(key)}: {failure.reason}"
    told = {
        "reason": failure.reason,
        "failure": failure_word(failure),
    }
    remedy = retry_remedy(account, failure, key)
    if isinstance(failure, Misconfigured):
        return errors.Misconfigured(text, remedy=remedy, **told)
    if isinstance(failure, Refusal):
        return errors.Denied(text, remedy=remedy, **told)
    if isinstance(failure, PermanentFailure):
        return errors.ProviderError(text, remedy=remedy, **told)
    wait = max(0.0, now.until(renewal.at))
    when = f"; the next attempt is in {wait:.0f} s" if wait >= 1 else ""
    return errors.Unavailable(f"{text}{when}", remedy=remedy, retry_after=round(wait, 3), **told)


def retry_remedy(account: Account, failure: Failure, key: TokenKey = MAIN) -> tuple[Remedy, ...]:
    """What helps a session whose refresh failed so, for the token of that key; it is tried again by itself as well."""
    name = account.name
    if isinstance(failure, Misconfigured):
        now = remedies.refresh_when_corrected(name)
        return remedies.correct_and_reload(failure.keys), now, *_new_secret(failure, name, LOGIN)
    if isinstance(failure, Refusal) and key != MAIN:
        audience = account.audience if key.audience is None else key.audience
        own = remedies.account_of_its_own(name, account.issuer, account.client_id, audience, key.scope or None)
        return remedies.allow_at_the_provider(name), own
    if isinstance(failure, Refusal | ReplacedToken):
        return (remedies.log_in_again(name),)
    return (remedies.refresh(name),)


def _shown(key: TokenKey) -> str:
    """What a token is for, where it isn't the account's own."""
    audience = "" if key.audience is None else f" for {printable(key.audience)}"
    return f"{audience} with the scope {printable(key.scope)}" if key.scope else audience


# ---- logins and imports that come to nothing


def login_failed(account: Account, failure: Failure, command: str) -> errors.AgentError:
    """The error for a login or import that a failure ends; `command` is LOGIN or IMPORT."""
    name, reason = account.name, failure.reason.rstrip(". ")  # a provider's sentence is not the end of ours
    text, word = f"{name}: {reason}", failure_word(failure)
    again = remedies.try_again(name) if command == LOGIN else remedies.try_the_import_again()
    if isinstance(failure, Transient):
        return errors.Unavailable(text, reason=reason, failure=word, remedy=(again,), retry_after=_SOON)
    if isinstance(failure, InvalidGrant | CodeExpired):
        first = again if command == LOGIN else remedies.log_in_at_the_source()
        return errors.LoginRequired(text, reason=reason, failure=word, remedy=(first,))
    if isinstance(failure, Misconfigured):
        by_login = (remedies.correct_and_log_in(name, failure.keys),)
        correction = by_login if command == LOGIN else (remedies.correct_and_reload(failure.keys), again)
        secret = _new_secret(failure, name, command)
        return errors.Misconfigured(text, reason=reason, failure=word, remedy=(*correction, *secret))
    if isinstance(failure, Refusal):
        return errors.Denied(text, reason=reason, failure=word, remedy=(again,))
    if isinstance(failure, ClockWrong):
        remedy = remedies.correct_clock(), again
    else:
        remedy = again, remedies.ask_the_provider()
    return errors.ProviderError(text, reason=reason, failure=word, remedy=remedy)


def _new_secret(failure: Misconfigured, name: str, command: str) -> tuple[Remedy, ...]:
    """What helps besides, where the provider refuses how the client authenticates: its secret may be wrong."""
    return (remedies.give_secret(command, name),) if "token_endpoint_auth_method" in failure.keys else ()


def called_off(name: str, reason: str) -> errors.Denied:
    """The error for a login that nobody wants any more, or that something newer took the place of."""
    return errors.Denied(f"{name}: {reason}", reason=reason, failure="cancelled", remedy=(remedies.try_again(name),))


def ending() -> errors.Unavailable:
    """The error for whoever asks an agent that is about to end."""
    reason = "the agent is ending"
    return errors.Unavailable(reason, reason=reason, failure="unreachable", retry_after=1.0)


def defect() -> errors.Internal:
    """The error for what nobody foresaw."""
    reason = "a defect of the agent"
    return errors.Internal(reason, reason=reason, failure="defect", remedy=(remedies.read_the_log(),))


# ---- users, at their provider


def user_failed(name: str, manager: Account, failure: Failure, scope: str, needed: str) -> errors.AgentError:
    """The error for a call of Auth0's Management API that failed.

    Args:
        name: the account whose user was asked for.
        manager: the account whose token the API was asked with.
        failure: what came of it.
        scope: the scope that the call takes.
        needed: all the scopes that the manager's token should have.

    """
    text, reason, word = f"{name}: {failure.reason}", failure.reason, failure_word(failure)
    if isinstance(failure, InsufficientScope):
        reason = f"{reason}; {manager.name}'s access token lacks the scope {scope}"
        widen = (remedies.widen_scope(manager.name, needed, manager.scope),)
        return errors.Denied(f"{name}: {reason}", reason=reason, failure=word, remedy=widen)
    if isinstance(failure, Rejected | Refusal):
        again = (remedies.log_in_again(manager.name),)
        return errors.Denied(text, reason=reason, failure=word, remedy=again)
    if isinstance(failure, Misconfigured):
        correct = (remedies.correct_and_reload(failure.keys),)
        return errors.Misconfigured(text, reason=reason, failure=word, remedy=correct)
    if isinstance(failure, Transient):
        wait = failure.retry_after if isinstance(failure, Busy) and failure.retry_after is not None else _SOON
        return errors.Unavailable(text, reason=reason, failure=word, retry_after=round(wait, 3))
    return errors.ProviderError(text, reason=reason, failure=word, remedy=(remedies.ask_the_provider(),))
