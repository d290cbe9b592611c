"""What a token request came to: a reply, or a failure with a class that says what to do about it."""

from dataclasses import dataclass

from auth_agent.secret import Secret


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What a token endpoint granted (RFC 6749, section 5.1), as far as it can be used.

    `access_token` is None where the reply held a new refresh token and nothing else of use: the refresh token has
    to be kept all the same. `lifetime` is in seconds, None where the provider gave none that makes sense; so is
    `session_lifetime`, after which the refresh token is of no use.
    """

    access_token: Secret | None
    token_type: str
    lifetime: float | None
    refresh_token: Secret | None
    scope: str | None
    id_token: Secret | None
    session_lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no token; `reason` can be printed."""

    reason: str


class Transient(Failure):
    """It passes: try again later, with the same refresh token."""

    __slots__ = ()


class Unsent(Transient):
    """The provider can't be reached; it has not seen the request."""

    __slots__ = ()


class Lost(Transient):
    """The request was sent and no complete answer came: the refresh token may be used up, its successor lost."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Busy(Transient):
    """The provider has trouble, or had enough; `retry_after` is in seconds, where it said so."""

    retry_after: float | None = None


class Defect(Lost):
    """A defect of the agent: what it did before isn't known."""

    __slots__ = ()


class UnexplainedRefusal(Transient):
    """A 400, 401 or 403 that doesn't say why: no verdict until it comes again and again."""

    __slots__ = ()


class SessionInDoubt(Transient):
    """One token was refused in the words that end a session: whether it is over, its own refresh tells."""

    __slots__ = ()


class PermanentFailure(Failure):
    """It won't pass by itself, yet costs nothing that the session has."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Misconfigured(PermanentFailure):
    """The provider doesn't accept this client, or is not the one that was meant.

    `keys` are the account's keys, by the configuration's names, of which one may be wrong.
    """

    keys: tuple[str, ...] = ("issuer", "client_id")


class Refusal(PermanentFailure):
    """The provider doesn't grant this token to this session."""

    __slots__ = ()


class Rejected(PermanentFailure):
    """An API does not take this access token, or takes it no longer."""

    __slots__ = ()


class Unusable(PermanentFailure):
    """The provider granted something that must not be used."""

    __slots__ = ()


class ClockWrong(Unusable):
    """By the provider's times, this machine's clock is wrong."""

    __slots__ = ()


class ReplacedToken(PermanentFailure):
    """The refresh token was replaced by another one, which isn't known here: it must not be sent."""

    __slots__ = ()


class ReauthenticationRequired(Failure):
    """The session can't go on without a person."""

    __slots__ = ()


class InvalidGrant(ReauthenticationRequired):
    """The provider ended the session: its refresh token is dead."""

    __slots__ = ()


class InteractionRequired(ReauthenticationRequired):
    """The provider wants to see the person; the refresh token may be good afterwards."""

    __slots__ = ()


class AnotherUser(ReauthenticationRequired):
    """The provider's reply is for somebody else: nothing of it may be served."""

    __slots__ = ()
