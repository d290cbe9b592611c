"""One exception for each error code of the protocol, and three for failures of the connection.

The message says what happened, `remedy` what helps, and `retryable` whether the same call may succeed later.
"""

from collections.abc import Iterable, Mapping

from .remedy import Remedy, remedies_from_wire, remedies_to_wire

__all__ = [
    "BY_CODE",
    "AgentError",
    "AgentNotRunning",
    "ConnectionLost",
    "Denied",
    "Internal",
    "InvalidRequest",
    "LifetimeTooShort",
    "Locked",
    "LoginRequired",
    "Misconfigured",
    "ProviderError",
    "Timeout",
    "Unavailable",
    "UnknownAccount",
    "UnknownMethod",
    "Unsupported",
    "UntrustedAgent",
    "from_wire",
    "to_wire",
]


class AgentError(Exception):
    """A call failed.

    `code` is the protocol's code, and `details` has that code's further fields (such as `retry_after`, in seconds).
    `remedy` says what helps, the most likely first; a traceback shows it below the message.
    """

    code = "error"
    retryable = False

    def __init__(self, message: str, /, *, remedy: Iterable[Remedy] = (), **details: object) -> None:
        super().__init__(message)
        self.details = details
        self.remedy = tuple(remedy)
        for item in self.remedy:
            self.add_note(f"what helps: {item}")

    @property
    def message(self) -> str:
        """A sentence, safe to print, that says what happened and to which account or file."""
        return str(self.args[0])

    @property
    def reason(self) -> str | None:
        """What happened, without the account's name; it may quote the provider. None if the message is complete."""
        return self._string("reason")

    @property
    def failure(self) -> str | None:
        """The kind of failure, one of `messages.FAILURES`; None if the code is enough."""
        return self._string("failure")

    def _string(self, name: str) -> str | None:
        value = self.details.get(name)
        return value if isinstance(value, str) else None

    def _seconds(self, name: str) -> float | None:
        value = self.details.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


class InvalidRequest(AgentError):
    """The request is not valid; `parameter` names the invalid parameter, if it is one."""

    code = "invalid_request"

    @property
    def parameter(self) -> str | None:
        """The parameter's name."""
        return self._string("parameter")


class UnknownMethod(AgentError):
    """The agent doesn't have the method."""

    code = "unknown_method"


class UnknownAccount(AgentError):
    """The account is not in the configuration."""

    code = "unknown_account"


class LoginRequired(AgentError):
    """There is no session; a person has to log in."""

    code = "login_required"

    @property
    def reason(self) -> str | None:
        """Why: `logged_out`, `account_changed`, another of the protocol's words, or the provider's error."""
        return self._string("reason")


class Unavailable(AgentError):
    """No token is valid long enough, and the provider can't be reached or was asked too often."""

    code = "unavailable"
    retryable = True

    @property
    def retry_after(self) -> float | None:
        """Seconds until the next attempt makes sense."""
        return self._seconds("retry_after")


class Timeout(AgentError):
    """There was no response in time; the agent's work continues."""

    code = "timeout"
    retryable = True


class LifetimeTooShort(AgentError):
    """The provider's tokens are never valid for `min_ttl` seconds."""

    code = "lifetime_too_short"

    @property
    def lifetime(self) -> float | None:
        """The lifetime of a new token, in seconds."""
        return self._seconds("lifetime")


class Denied(AgentError):
    """The provider or the agent refuses this token to this session; others may be available."""

    code = "denied"


class Locked(AgentError):
    """The store is locked."""

    code = "locked"


class Unsupported(AgentError):
    """The agent or the provider doesn't support the request."""

    code = "unsupported"


class ProviderError(AgentError):
    """The provider sent a response that must not be used, or an error that no change of the account corrects."""

    code = "provider_error"


class Misconfigured(AgentError):
    """The configuration, here or at the provider, must be corrected."""

    code = "misconfigured"


class Internal(AgentError):
    """A defect of the agent; its log says more."""

    code = "internal"


class AgentNotRunning(AgentError):
    """No agent listens at the socket's path."""

    code = "agent_not_running"
    retryable = True


class ConnectionLost(AgentError):
    """The agent went away, or speaks another protocol."""

    code = "connection_lost"
    retryable = True


class UntrustedAgent(AgentError):
    """Another user listens at the socket, or may enter its directory: nothing was sent."""

    code = "untrusted_agent"


BY_CODE: dict[str, type[AgentError]] = {
    error.code: error
    for error in (
        InvalidRequest,
        UnknownMethod,
        UnknownAccount,
        LoginRequired,
        Unavailable,
        Timeout,
        LifetimeTooShort,
        Denied,
        Locked,
        Unsupported,
        ProviderError,
        Misconfigured,
        Internal,
    )
}


def to_wire(error: AgentError) -> dict[str, object]:
    """Return the error as a map of the protocol."""
    fields: dict[str, object] = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.remedy:
        fields["remedy"] = remedies_to_wire(error.remedy)
    return {**fields, **error.details}


def from_wire(value: object) -> AgentError:
    """Return the exception for an error from an agent; an unknown code becomes an `AgentError` with that code."""
    if not isinstance(value, Mapping):
        return Internal("the agent sent an error that can't be read")
    fields: dict[str, object] = {str(name): value for name, value in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any map from outside
    code = str(fields.pop("code", "internal"))
    message = str(fields.pop("message", code))
    retryable = fields.pop("retryable", False) is True
    remedy = remedies_from_wire(fields.pop("remedy", None))
    known = BY_CODE.get(code)
    if known is not None:
        return known(message, remedy=remedy, **fields)
    error = AgentError(message, remedy=remedy, **fields)
    error.code, error.retryable = code, retryable
    return error
