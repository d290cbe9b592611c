"""The outcome of a token request: a response, or a failure whose class says how to go on."""

from dataclasses import dataclass, field

from auth_agent.secret import Secret


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful token response (RFC 6749, section 5.1).

    `access_token` is None if the response has no usable one, but another token: a new refresh token must be stored all
    the same. `lifetime` is `expires_in` in seconds, None if the provider sent no valid one; `lifetime_by_claim` is that
    of the access token by its own claim `exp`, zero or less if it has ended, None if it has none.
    `refresh_token_lifetime` is infinite if the refresh token has no end, None if the provider doesn't say.
    `is_single_use`: the token is no access token, and serves one use.
    `ends_access_token`: whether the provider is known to end the access token from before at a refresh.
    """

    access_token: Secret | None
    token_type: str
    lifetime: float | None
    refresh_token: Secret | None
    scope: str | None
    id_token: Secret | None
    refresh_token_lifetime: float | None = None
    lifetime_by_claim: float | None = None
    is_single_use: bool = False
    ends_access_token: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request did not bring a token; `reason` is safe to print.

    `refresh_token` is a new refresh token that the response has all the same: the one that was sent may be replaced.
    """

    reason: str
    refresh_token: Secret | None = field(default=None, kw_only=True)


class Transient(Failure):
    """A temporary failure: try again later, with the same refresh token."""

    __slots__ = ()


class Unsent(Transient):
    """The provider can't be reached, and has not received the request."""

    __slots__ = ()


class Untrusted(Unsent):
    """The server's certificate comes from an authority that is not trusted, so that it received nothing."""

    __slots__ = ()


class Lost(Transient):
    """The request was sent and no complete response arrived: a new refresh token may be lost with it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Busy(Transient):
    """The provider has an internal error or limits the rate; `retry_after` is in seconds, None if it sent none."""

    retry_after: float | None = None


class Overloaded(Busy):
    """The provider has not processed the request, as it has too many or can't just now (HTTP 429 or 503)."""

    __slots__ = ()


class Defect(Lost):
    """A defect of the agent: it is not known whether the request was sent."""

    __slots__ = ()


class DoubtfulRefusal(Transient):
    """The provider refuses a refresh, by a word that doesn't say that the session has ended, or without one.

    Only repetition makes it final, and then it still ends nothing: the provider may take the refresh token again.
    """

    __slots__ = ()


class RefusedForNow(DoubtfulRefusal):
    """An `invalid_grant` whose sub-code says that the refresh token may work again, such as on another network."""

    __slots__ = ()


class SessionInDoubt(Transient):
    """An `invalid_grant` for another token, or beside a new refresh token: the next refresh shows what it means."""

    __slots__ = ()


class Unconfirmed(Transient):
    """An `invalid_grant` that is not believed yet: the store can't be asked for a newer refresh token."""

    __slots__ = ()


class PermanentFailure(Failure):
    """It won't pass by itself, but the session and its other tokens stay valid."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Misconfigured(PermanentFailure):
    """The provider doesn't accept this client, or is not the intended provider.

    `keys` are the keys of the account in the configuration, of which one is probably wrong; or it is the environment
    `variable` that is wrong.
    """

    keys: tuple[str, ...] = ("issuer", "client_id")
    variable: str | None = None


class InvalidClient(Misconfigured):
    """The provider does not accept the client, or the way in which it authenticates."""

    __slots__ = ()


class FlowNotAllowed(Misconfigured):
    """The client is not registered for this way to log in; another one may remain."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Unsupported(PermanentFailure):
    """The provider requires what the agent can't do yet, or issues tokens that it can't use.

    `by_device`: a login on another device works.
    """

    by_device: bool = False


class Refusal(PermanentFailure):
    """The provider refuses to issue this token to this session."""

    __slots__ = ()


class PolicyRefusal(Refusal):
    """The provider's policy refuses this way to log in; another one may remain."""

    __slots__ = ()


class ScopeRefusal(Refusal):
    """The provider does not have a requested scope, or does not grant it to this client (`invalid_scope`)."""

    __slots__ = ()


class TargetRefusal(Refusal):
    """The provider does not have this API, or does not know it by this name (`invalid_target`, RFC 8707)."""

    __slots__ = ()


class SideRequestRefusal(Refusal):
    """The agent doesn't ask for this token, since the provider may take scopes from the session for it."""

    __slots__ = ()


class Rejected(PermanentFailure):
    """An API rejected this access token (HTTP 401)."""

    __slots__ = ()


class Unusable(PermanentFailure):
    """The provider sent something that must not be used."""

    __slots__ = ()


class ClockWrong(Unusable):
    """This machine's clock differs from the provider's."""

    __slots__ = ()


class ReplacedToken(PermanentFailure):
    """The refresh token was replaced by another one that is not known here: it must not be sent."""

    __slots__ = ()


class ReauthenticationRequired(Failure):
    """The session needs a person to go on."""

    __slots__ = ()


class InvalidGrant(ReauthenticationRequired):
    """The provider ended the session: its refresh token is no longer valid."""

    __slots__ = ()


class InteractionRequired(ReauthenticationRequired):
    """The provider requires the person to interact; the refresh token may be valid afterwards."""

    __slots__ = ()


class SessionOver(ReauthenticationRequired):
    """The session that the provider granted has reached its end already."""

    __slots__ = ()


class AnotherUser(ReauthenticationRequired):
    """The provider's response is for another user: no part of it may be served."""

    __slots__ = ()
