"""Token requests, one value for each grant type, without I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from auth_agent.oauth.outcome import Failure, TokenResponse
from auth_agent.oauth.requests import parse_refresh_response, parse_token_response
from auth_agent.oauth.resource import BOTH, RESOURCE, api_parameters
from auth_agent.secret import Secret

# Status, headers by lower-case name, body, Unix time, and the secrets that were sent: see `parse_token_response`.
Parser = Callable[[int, Mapping[str, str], bytes, float, tuple[Secret, ...]], TokenResponse | Failure]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request; `Client.authenticate` adds the client's parameters.

    `secrets` are the parameters that are never shown, not even if the provider quotes them. A parameter without a
    value is omitted. `api` is the API that the token is for, which each provider has its own parameter for; `audience`
    and `resource` among the parameters override that.
    """

    grant_type: str
    secrets: Mapping[str, Secret]
    parameters: Mapping[str, str | None]
    api: str | None = None
    parse: Parser = field(default=parse_token_response, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def with_more(self, parameters: Mapping[str, str], headers: Mapping[str, str]) -> "TokenRequest":
        """Return the request with further parameters and headers; its own parameters come first."""
        own = {name: value for name, value in self.parameters.items() if value or name in BOTH}
        return replace(self, parameters={**parameters, **own}, headers=headers)

    def form(self, api_names: Sequence[str]) -> dict[str, str]:
        """Return the form; `api_names` are the provider's parameters for an API (`Metadata.api_parameters`)."""
        secrets = {name: secret.reveal() for name, secret in self.secrets.items()}
        params = {name: value for name, value in self.parameters.items() if value}
        api = api_parameters(api_names, self.api, self.parameters)
        return {"grant_type": self.grant_type, **secrets, **params, **api}


def refresh_request(
    refresh_token: Secret,
    audience: str | None = None,
    scope: str = "",
    *,
    overrides: Mapping[str, str | None] | None = None,
) -> TokenRequest:
    """Return the request that presents a refresh token (RFC 6749, section 6).

    Without audience and scope, it is for those of the login. Only such a refresh can prove that a session has ended:
    one with an audience or scope may be refused because of them.

    Args:
        refresh_token: the refresh token.
        audience: the API that the token is for; None: the login's.
        scope: the requested scopes; "": the provider's choice.
        overrides: values of `audience` and `resource`, in place of those that name the audience.

    """
    secrets = {"refresh_token": refresh_token}
    parse = parse_token_response if scope or audience else parse_refresh_response
    return TokenRequest("refresh_token", secrets, {"scope": scope, **(overrides or {})}, audience, parse)


def code_request(code: Secret, redirect_uri: str, verifier: Secret, resource: str | None = None) -> TokenRequest:
    """Return the request that redeems a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5).

    `resource` is that of the authorization request: a code may be for several (RFC 8707, section 2.2).
    """
    secrets = {"code": code, "code_verifier": verifier}
    return TokenRequest("authorization_code", secrets, {"redirect_uri": redirect_uri, RESOURCE: resource})


def client_credentials_request(
    scope: str, audience: str | None, overrides: Mapping[str, str | None] | None = None
) -> TokenRequest:
    """Return the request for a token of the client's own (RFC 6749, section 4.4.2); see `refresh_request`."""
    return TokenRequest("client_credentials", {}, {"scope": scope, **(overrides or {})}, audience)
