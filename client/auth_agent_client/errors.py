"""One exception for each error code of the protocol, and three for what happens before an agent answers.

An error says what happened and has what helps as data; `retryable` says whether the same call may succeed later.
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
    """What came back in place of a result.

    `code` is the protocol's, `details` what that code carries besides (such as `retry_after`, in seconds). `remedy`
    has what helps, the most likely first; a traceback shows it below the message.
    """

    code = "error"
    retryable = False

    def __init__(self, message: str, /, *, remedy: Iterable[Remedy] = (), **details: object) -> None:
        super().__init__(message)
        self.details = details
        self.remedy = tuple(remedy)
        for one in self.remedy:
            self.add_note(f"what helps: {one}")

    @property
    def message(self) -> str:
        """What happened, and to which account or file, as a sentence that is safe to print."""
        return str(self.args[0])

    @property
    def reason(self) -> str | None:
        """What happened, without the account's name; it may quote the provider. None: the message says it all."""
        return self._text("reason")

    @property
    def failure(self) -> str | None:
        """What kind of failure it is: a word of `messages.FAILURES`; None where the code says enough."""
        return self._text("failure")

    def _text(self, name: str) -> str | None:
        value = self.details.get(name)
        return value if isinstance(value, str) else None

    def _seconds(self, name: str) -> float | None:
        value = self.details.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


class InvalidRequest(AgentError):
    """The request breaks the protocol; `parameter` names what is wrong, where it is one parameter."""

    code = "invalid_request"

    @property
    def parameter(self) -> str | None:
        """The parameter's name."""
        return self._text("parameter")


class UnknownMethod(AgentError):
    """This agent knows no such method."""

    code = "unknown_method"


class UnknownAccount(AgentError):
    """The configuration has no such account."""

    code = "unknown_account"


class LoginRequired(AgentError):
    """There is no session to take a token from; a person has to log in."""

    code = "login_required"

    @property
    def reason(self) -> str | None:
        """Why: `logged_out`, `account_changed`, `account_removed`, `no_refresh_token`, or what the provider said."""
        return self._text("reason")


class Unavailable(AgentError):
    """No token is good enough and the provider can't be reached, or was asked too often."""

    code = "unavailable"
    retryable = True

    @property
    def retry_after(self) -> float | None:
        """Seconds until it makes sense to ask again."""
        return self._seconds("retry_after")


class Timeout(AgentError):
    """The time given for the answer ran out; the work behind it goes on."""

    code = "timeout"
    retryable = True


class LifetimeTooShort(AgentError):
    """The provider's tokens don't live as long as `min_ttl` asks for."""

    code = "lifetime_too_short"

    @property
    def lifetime(self) -> float | None:
        """How long they live when new, in seconds."""
        return self._seconds("lifetime")


class Denied(AgentError):
    """This token is refused to this session: another one may be had."""

    code = "denied"


class Locked(AgentError):
    """The store or the agent is locked."""

    code = "locked"


class Unsupported(AgentError):
    """This agent, or this provider, can't do that."""

    code = "unsupported"


class ProviderError(AgentError):
    """The provider answered with what must not be used, or refused in a way that the account can't mend."""

    code = "provider_error"


class Misconfigured(AgentError):
    """The configuration, here or at the provider, has to be mended first."""

    code = "misconfigured"


class Internal(AgentError):
    """A defect of the agent; its log says more."""

    code = "internal"


class AgentNotRunning(AgentError):
    """Nobody listens where the agent should."""

    code = "agent_not_running"
    retryable = True


class ConnectionLost(AgentError):
    """The agent went away, or what answered speaks another protocol."""

    code = "connection_lost"
    retryable = True


class UntrustedAgent(AgentError):
    """Who listens there is another user, or others may enter the socket's directory: nothing was sent."""

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
    """The error as the protocol's map."""
    fields: dict[str, object] = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.remedy:
        fields["remedy"] = remedies_to_wire(error.remedy)
    return {**fields, **error.details}


def from_wire(answer: object) -> AgentError:
    """The exception for an error that an agent sent; a code that is not known here is kept as it is."""
    if not isinstance(answer, Mapping):
        return Internal("the agent sent an error that can't be read")
    fields: dict[str, object] = {str(name): value for name, value in answer.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any map from outside
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
