"""Turns failures into errors for clients, with the protocol's `failure` and remedies. No other module does.

A `reason` may quote the provider, and is only displayed. Remedies are made of the agent's own data alone.
"""

from typing import Final

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.account_certificates import CERTIFICATES_VARIABLE
from auth_agent.oauth.auth0 import InsufficientScope
from auth_agent.oauth.challenge import WantedLogin
from auth_agent.oauth.device import CodeExpired
from auth_agent.oauth.discovery import without_offline_access
from auth_agent.oauth.outcome import (
    AnotherUser,
    Busy,
    ClockWrong,
    Defect,
    DoubtfulRefusal,
    Failure,
    FlowNotAllowed,
    InvalidGrant,
    Misconfigured,
    PermanentFailure,
    PolicyRefusal,
    ReauthenticationRequired,
    Refusal,
    Rejected,
    ReplacedToken,
    ScopeRefusal,
    SessionInDoubt,
    SessionOver,
    SideRequestRefusal,
    TargetRefusal,
    Transient,
    Unconfirmed,
    Unsupported,
    Untrusted,
    Unusable,
)
from auth_agent.oauth.resource import RESOURCE
from auth_agent.printable import printable
from auth_agent.remedies import LOGIN
from auth_agent.sessions.state import MAIN, Locked, Retrying, TokenKey
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

ACCOUNT_CHANGED: Final = "account_changed"
ACCOUNT_REMOVED: Final = "account_removed"
CLAIMS_MISSING: Final = "claims_missing"
LOGGED_OUT: Final = "logged_out"
NO_REFRESH_TOKEN: Final = "no_refresh_token"  # noqa: S105 -- a reason, not a token
TOKEN_REJECTED: Final = "token_rejected"  # noqa: S105 -- as above
SESSION_EXPIRED: Final = "session_expired"

_LOGIN_REQUIRED: Final = {
    ACCOUNT_CHANGED: "{name}'s issuer, client_id or grant was changed in the configuration since the login",
    ACCOUNT_REMOVED: "{name} is no longer in the configuration",
    CLAIMS_MISSING: "{name}: the login does not have the claims that the configuration requires now (require_claims)",
    LOGGED_OUT: "{name} is not logged in",
    NO_REFRESH_TOKEN: "{name}: the provider gave no refresh token, so only a login brings another access token",
    TOKEN_REJECTED: "{name}: an API rejected the access token, and the provider gave no refresh token",
    SESSION_EXPIRED: "{name}: the session has reached the end that the provider set for it",
}
# The `failure` of each reason that is a code; any other reason is the provider's, for ending the session.
_FAILURES_OF_REASONS: Final = {
    ACCOUNT_CHANGED: "account_changed",
    ACCOUNT_REMOVED: "account_changed",
    CLAIMS_MISSING: "account_changed",
    NO_REFRESH_TOKEN: "session_expired",
    SESSION_EXPIRED: "session_expired",
}
# A class that isn't listed has its base class's `failure`.
_WORDS: Final[dict[type[Failure], str]] = {
    Transient: "unreachable",
    Busy: "busy",
    DoubtfulRefusal: "refused",
    Unsupported: "unsupported",
    SessionInDoubt: "refused",
    Unconfirmed: "store_failed",
    Defect: "defect",
    Misconfigured: "misconfigured",
    Refusal: "refused",
    Rejected: "refused",
    Unusable: "invalid_response",
    ClockWrong: "clock",
    ReplacedToken: "reauthentication_required",
    ReauthenticationRequired: "reauthentication_required",
    SessionOver: "session_expired",
    AnotherUser: "wrong_user",
    CodeExpired: "cancelled",
}
_ENDED: Final = "{name}: the session has ended ({reason})"
# By the `failure`, of a session that has not ended.
_OTHERWISE: Final = {
    "store_failed": "{name}: the session can't be used: {reason}",
    "refused": "{name}: the provider refuses to renew the session: {reason}",
}
# `retry_after`, in seconds, of a transient failure that gives none.
_SOON: Final = 2.0


def failure_word(failure: Failure) -> str:
    """Return which of the protocol's `FAILURES` a failure is."""
    return next((_WORDS[kind] for kind in type(failure).__mro__ if kind in _WORDS), "defect")


# ---- sessions that need a login


def login_required(
    name: str, reason: str, failure: str | None = None, remedy: tuple[Remedy, ...] = ()
) -> errors.LoginRequired:
    """Return the error for a session that needs a login; `reason` is printable."""
    message = _LOGIN_REQUIRED.get(reason, _OTHERWISE.get(failure or "", _ENDED))
    return errors.LoginRequired(
        message.format(name=name, reason=reason),
        reason=reason,
        failure=failure or login_failure(reason),
        remedy=remedy or login_remedy(name, reason),
    )


def another_login_required(account: Account, wanted: WantedLogin) -> errors.LoginRequired:
    """Return the error for an API that takes only tokens of another login."""
    name, lacking = account.name, set(wanted.scope.split()) - set(account.scope.split())
    remedy = remedies.log_in_again(name)
    if lacking:
        remedy = remedies.log_in_with_scopes(name, " ".join(sorted(lacking)), account.scope)
    elif wanted.once:
        remedy = remedies.log_in_once(name, wanted.once)
    return errors.LoginRequired(
        f"{name}: the API wants a token of another login ({wanted.reason})",
        reason=wanted.reason,
        failure=login_failure(wanted.reason),
        remedy=(remedy,),
    )


def login_failure(reason: str) -> str:
    """Return which of the protocol's `FAILURES` it is that a session needs a login for that reason."""
    return _FAILURES_OF_REASONS.get(reason, "reauthentication_required")


def login_remedy(name: str, reason: str) -> tuple[Remedy, ...]:
    """Return the remedies for a session that needs a login for that reason."""
    if reason == ACCOUNT_REMOVED:
        return (remedies.restore_account_and_reload(),)
    return (remedies.log_in(name) if reason == LOGGED_OUT else remedies.log_in_again(name),)


def locked(name: str, lock: Locked) -> errors.Locked:
    """Return the error for a session that can't be read from the store yet."""
    message = f"{name}: {lock.reason}"
    return errors.Locked(message, reason=lock.reason, failure=lock.failure, remedy=lock.remedy)


def busy(reason: str) -> errors.Unavailable:
    """Return the error for what can't be done beside what the agent does now; `reason` says what that is."""
    return errors.Unavailable(reason, reason=reason, failure="busy", retry_after=1.0)


def too_many(what: str) -> errors.Unavailable:
    """Return the error for a client whose program has most of what there is too much of, such as connections."""
    return busy(f"there are too many {what}, and this program has most of them; try again")


def agent_locked(reason: str, remedy: tuple[Remedy, ...]) -> errors.Locked:
    """Return the error for what a locked agent does for nobody; `reason` is printable."""
    return errors.Locked(reason, reason=reason, failure="locked", remedy=remedy)


def no_user(name: str) -> errors.Unsupported:
    """Return the error for a request for the user of an account that has none."""
    reason = "this account is the client's own: it has no user"
    return errors.Unsupported(f"{name}: {reason}", reason=reason, failure="unsupported")


# ---- tokens that are not available


def rejected_otherwise(reason: str) -> errors.Denied:
    """Return the error for a client whose API would reject another token, too; `reason` says why."""
    message = f"{reason}: the API rejects it for another reason"
    return errors.Denied(message, failure="refused", remedy=(remedies.check_what_the_api_expects(),))


def rejection_unconfirmed(account: Account, failure: Transient) -> errors.Unavailable:
    """Return the error for a client whose API rejected a token that nothing renews, if the provider can't be asked."""
    reason = (
        f"an API rejected the access token, and the provider can't tell just now whether it has ended: {failure.reason}"
    )
    wait = failure.retry_after if isinstance(failure, Busy) and failure.retry_after is not None else _SOON
    return errors.Unavailable(
        f"{account.name}: {reason}", reason=reason, failure=failure_word(failure), retry_after=round(wait, 3)
    )


def too_many_requests(wait: float) -> errors.Unavailable:
    """Return the error for a client that exceeds the rate limit; `wait` is in seconds."""
    return errors.Unavailable(
        f"too many requests to the provider; try again in {wait:.0f} s",
        retry_after=round(wait, 3),
        failure="busy",
    )


def lifetime_too_short(lifetime: float) -> errors.LifetimeTooShort:
    """Return the error for a `min_ttl` that even a new token, valid for `lifetime` seconds, doesn't satisfy."""
    lifetime = round(lifetime, 3)
    return errors.LifetimeTooShort(
        f"a new token of this provider is valid for {lifetime:g} s, less than min_ttl", lifetime=lifetime
    )


def refresh_failed(account: Account, retrying: Retrying, now: Moment, key: TokenKey = MAIN) -> errors.AgentError:
    """Return the error for a client whose request no token of that key satisfies, after that failure."""
    failure = retrying.failure
    message = f"{account.name}{_token_suffix(key)}: {failure.reason}"
    details = {
        "reason": failure.reason,
        "failure": failure_word(failure),
    }
    remedy = retry_remedy(account, failure, key)
    if retrying.is_believed:
        return login_required(account.name, failure.reason, failure_word(failure), remedy)
    if isinstance(failure, Misconfigured):
        return errors.Misconfigured(message, remedy=remedy, **details)
    if isinstance(failure, Refusal):
        return errors.Denied(message, remedy=remedy, **details)
    if isinstance(failure, Unsupported):
        return errors.Unsupported(message, remedy=remedy, **details)
    if isinstance(failure, PermanentFailure):
        return errors.ProviderError(message, remedy=remedy, **details)
    wait = max(0.0, now.until(retrying.retry_at))
    next_attempt = f"; the next attempt is in {wait:.0f} s" if wait >= 1 else ""
    return errors.Unavailable(f"{message}{next_attempt}", remedy=remedy, retry_after=round(wait, 3), **details)


def side_request_refused(account: Account, failure: SideRequestRefusal, key: TokenKey) -> errors.Denied:
    """Return the error for a client whose token the agent doesn't ask for."""
    return errors.Denied(
        f"{account.name}{_token_suffix(key)}: {failure.reason}",
        reason=failure.reason,
        failure=failure_word(failure),
        remedy=retry_remedy(account, failure, key),
    )


def retry_remedy(account: Account, failure: Failure, key: TokenKey = MAIN) -> tuple[Remedy, ...]:
    """Return the remedies for a failed refresh of the token of that key, which the agent also retries by itself."""
    name = account.name
    if isinstance(failure, Misconfigured):
        refresh = remedies.refresh_when_corrected(name)
        at_the_provider = (refresh, *_new_secret(failure, name, LOGIN)) if failure.variable is None else ()
        return *_correction(failure), *at_the_provider
    if isinstance(failure, SideRequestRefusal):
        if key.audience is None and set(key.scope.split()) <= set(account.scope.split()):
            return (remedies.log_in_again(name),)  # the login asks for them, and did not get them, or lost them
        audience = account.audience if key.audience is None else key.audience
        return (remedies.account_of_another_client(name, account.issuer, audience, key.scope or None),)
    if isinstance(failure, Refusal) and key != MAIN:
        audience = account.audience if key.audience is None else key.audience
        own = remedies.account_of_its_own(name, account.issuer, account.client_id, audience, key.scope or None)
        return remedies.allow_at_the_provider(name), own
    if isinstance(failure, Refusal | ReplacedToken):
        return (remedies.log_in_again(name),)
    if isinstance(failure, DoubtfulRefusal):
        return remedies.log_in_again(name), remedies.refresh(name)
    if isinstance(failure, Unsupported):
        return (remedies.ask_for_bearer_tokens(name),)
    return (remedies.refresh(name),)


def _token_suffix(key: TokenKey) -> str:
    """Return the audience and scope of another token than the main one, for a message."""
    audience = "" if key.audience is None else f" for {printable(key.audience)}"
    return f"{audience} with the scope {printable(key.scope)}" if key.scope else audience


# ---- logins and imports that fail


def login_failed(account: Account, failure: Failure, command: str) -> errors.AgentError:
    """Return the error for a login or import that fails; `command` is LOGIN or IMPORT."""
    name, reason = account.name, failure.reason.rstrip(". ")  # since a message may continue after the reason
    message, word = f"{name}: {reason}", failure_word(failure)
    again = remedies.try_again(name) if command == LOGIN else remedies.try_the_import_again()
    if isinstance(failure, DoubtfulRefusal | PolicyRefusal | Refusal):
        remedy = _denied_login_remedy(account, failure, command, again)
        return errors.Denied(message, reason=reason, failure=word, remedy=remedy)
    if isinstance(failure, Unsupported):
        return errors.Unsupported(message, reason=reason, failure=word, remedy=_way_round(name, failure))
    if isinstance(failure, Transient):
        by_hand = (remedies.trust_and_log_in(name),) if isinstance(failure, Untrusted) and command == LOGIN else ()
        return errors.Unavailable(message, reason=reason, failure=word, remedy=(*by_hand, again), retry_after=_SOON)
    if isinstance(failure, InvalidGrant | CodeExpired | SessionOver):
        first = again if command == LOGIN else remedies.log_in_at_the_source()
        return errors.LoginRequired(message, reason=reason, failure=word, remedy=(first,))
    if isinstance(failure, Misconfigured):
        by_login = command == LOGIN and failure.variable is None
        correction = (remedies.correct_and_log_in(name, failure.keys),) if by_login else (*_correction(failure), again)
        if isinstance(failure, FlowNotAllowed) and command == LOGIN:
            correction = (remedies.log_in_by_pasting(name), *correction)
        others = *_new_secret(failure, name, command), *_unknown_parameter(account, failure, command)
        return errors.Misconfigured(message, reason=reason, failure=word, remedy=(*correction, *others))
    if isinstance(failure, ClockWrong):
        remedy = remedies.correct_clock(), again
    else:
        remedy = again, remedies.ask_the_provider()
    return errors.ProviderError(message, reason=reason, failure=word, remedy=remedy)


def _denied_login_remedy(account: Account, failure: Failure, command: str, again: Remedy) -> tuple[Remedy, ...]:
    """Return the remedies of a login or import that the provider refuses; `again`: to try it again."""
    if isinstance(failure, PolicyRefusal):
        return (remedies.log_in_by_pasting(account.name),)
    if isinstance(failure, ScopeRefusal) and command == LOGIN:
        fewer = without_offline_access(account.scope)
        return (remedies.log_in_without_offline_access(account.name, fewer) if fewer != account.scope else again,)
    by_name = _unknown_parameter(account, failure, command)
    return (remedies.correct_and_log_in(account.name, ("audience",)), *by_name) if by_name else (again,)


def _unknown_parameter(account: Account, failure: Failure, command: str) -> tuple[Remedy, ...]:
    """Return the remedy of leaving out `resource`, if the provider refused it and may not know it."""
    names_resource = account.audience is not None and RESOURCE not in account.authorize
    is_refused = isinstance(failure, TargetRefusal) or (
        isinstance(failure, Misconfigured) and RESOURCE in failure.reason.lower()
    )
    return (remedies.name_api_by_audience(account.name),) if names_resource and is_refused and command == LOGIN else ()


def _way_round(name: str, failure: Unsupported) -> tuple[Remedy, ...]:
    return (remedies.log_in_by_device(name) if failure.by_device else remedies.ask_for_bearer_tokens(name),)


def _correction(failure: Misconfigured) -> tuple[Remedy, ...]:
    """Return the remedies of correcting the configuration, or the environment."""
    if failure.variable == CERTIFICATES_VARIABLE:
        return (remedies.certificates(),)
    if failure.variable is not None:
        return remedies.correct_proxy(failure.variable)
    return (remedies.correct_and_reload(failure.keys),)


def _new_secret(failure: Misconfigured, name: str, command: str) -> tuple[Remedy, ...]:
    """Return the remedy of giving a new client secret if the provider rejected the client's authentication."""
    return (remedies.give_secret(command, name),) if "token_endpoint_auth_method" in failure.keys else ()


def login_cancelled(name: str, reason: str) -> errors.Denied:
    """Return the error for a login that was cancelled or superseded."""
    return errors.Denied(f"{name}: {reason}", reason=reason, failure="cancelled", remedy=(remedies.try_again(name),))


def login_blocked(name: str, reason: str) -> errors.Denied:
    """Return the error for a login that ends after its account was changed or removed: ACCOUNT_CHANGED or _REMOVED."""
    what = "removed from" if reason == ACCOUNT_REMOVED else "changed in"
    sentence = f"the account was {what} the configuration meanwhile, so what was granted is forgotten"
    remedy = login_remedy(name, reason)
    return errors.Denied(f"{name}: {sentence}", reason=sentence, failure=login_failure(reason), remedy=remedy)


def agent_ending() -> errors.Unavailable:
    """Return the error for a request to an agent that is stopping."""
    reason = "the agent is stopping"
    return errors.Unavailable(reason, reason=reason, failure="unreachable", retry_after=1.0)


def internal_error() -> errors.Internal:
    """Return the error for an unexpected exception."""
    reason = "the agent has a defect"
    return errors.Internal(reason, reason=reason, failure="defect", remedy=(remedies.read_the_log(),))


# ---- users at Auth0


def user_failed(name: str, manager: Account, failure: Failure, scope: str, needed: str) -> errors.AgentError:
    """Return the error for a failed call of Auth0's Management API.

    Args:
        name: the account whose user was requested.
        manager: the account whose access token was used.
        failure: the failure.
        scope: the scope that the call requires.
        needed: all scopes that the manager's token should have.

    """
    message, reason, word = f"{name}: {failure.reason}", failure.reason, failure_word(failure)
    if isinstance(failure, InsufficientScope):
        reason = f"{reason}; the access token of {manager.name} lacks the scope {scope}"
        remedy = (remedies.widen_scope(manager.name, needed, manager.scope),)
        return errors.Denied(f"{name}: {reason}", reason=reason, failure=word, remedy=remedy)
    if isinstance(failure, Rejected | Refusal):
        remedy = (remedies.log_in_again(manager.name),)
        return errors.Denied(message, reason=reason, failure=word, remedy=remedy)
    if isinstance(failure, Misconfigured):
        return errors.Misconfigured(message, reason=reason, failure=word, remedy=_correction(failure))
    if isinstance(failure, Transient):
        wait = failure.retry_after if isinstance(failure, Busy) and failure.retry_after is not None else _SOON
        return errors.Unavailable(message, reason=reason, failure=word, retry_after=round(wait, 3))
    return errors.ProviderError(message, reason=reason, failure=word, remedy=(remedies.ask_the_provider(),))
