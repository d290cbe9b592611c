"""What a client is told that gets no token: the error, whose text says what to do."""

from typing import Final

from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Misconfigured, Refused, Stuck
from auth_agent.printable import printable
from auth_agent.sessions.state import MAIN, Retrying, TokenKey
from auth_agent_client import errors

ACCOUNT_CHANGED: Final = "account_changed"
ACCOUNT_REMOVED: Final = "account_removed"
LOGGED_OUT: Final = "logged_out"
NO_REFRESH_TOKEN: Final = "no_refresh_token"  # noqa: S105 -- a reason, no token

_LOGIN_REQUIRED: Final = {
    ACCOUNT_CHANGED: "{name}'s issuer, client_id or grant was changed in the configuration since the login; {again}",
    ACCOUNT_REMOVED: "{name} is no longer in the configuration; put it back to use its session",
    LOGGED_OUT: "{name} is not logged in; {again}",
    NO_REFRESH_TOKEN: "{name}: the provider gave no refresh token, and the access token is too old; {again}",
}


def login_required(name: str, reason: str) -> errors.LoginRequired:
    """The error for a session that a person has to begin, or begin again; `reason` is printable."""
    text = _LOGIN_REQUIRED.get(reason, "{name}: the session is over ({reason}); {again}")
    again = f"log in: auth-agent login {name}"
    return errors.LoginRequired(text.format(name=name, reason=reason, again=again), reason=reason)


def locked(name: str, reason: str) -> errors.Locked:
    """The error for a session that the store doesn't give yet; `reason` is printable, and says what helps."""
    return errors.Locked(f"{name}: {reason}")


def asked_too_often(wait: float) -> errors.Unavailable:
    """The error for a client that makes the agent ask the provider too often; `wait` in seconds."""
    return errors.Unavailable(
        f"the provider would be asked too often; try again in {wait:.0f} s", retry_after=round(wait, 3)
    )


def too_short(lifetime: float) -> errors.LifetimeTooShort:
    """The error for a `min_ttl` that not even a new token satisfies, good for `lifetime` seconds."""
    lifetime = round(lifetime, 3)
    return errors.LifetimeTooShort(
        f"the provider's tokens are good for {lifetime:g} s when new: ask for a shorter min_ttl", lifetime=lifetime
    )


def failed(name: str, renewal: Retrying, now: Moment, key: TokenKey = MAIN) -> errors.AgentError:
    """The error for a client that no token of that key is good enough for, after that failure."""
    failure = renewal.failure
    text = f"{name}{_shown(key)}: {failure.reason}"
    if isinstance(failure, Misconfigured):
        return errors.Misconfigured(
            f"{text}; correct the account, then: auth-agent reload (if it was wrong at the provider: "
            f"auth-agent refresh {name})"
        )
    if isinstance(failure, Refused) and key != MAIN:
        return errors.Denied(
            f"{text}; allow it to {name}'s client at the provider, or make an account for that: auth-agent login"
        )
    if isinstance(failure, Refused):
        return errors.Denied(text)
    if isinstance(failure, Stuck):
        return errors.ProviderError(text)
    wait = max(0.0, now.until(renewal.at))
    return errors.Unavailable(f"{text}; the next attempt is in {wait:.0f} s", retry_after=round(wait, 3))


def _shown(key: TokenKey) -> str:
    """What a token is for, where it isn't the account's own."""
    audience = "" if key.audience is None else f" for {printable(key.audience)}"
    return f"{audience} with the scope {printable(key.scope)}" if key.scope else audience
