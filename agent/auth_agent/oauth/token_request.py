"""Token requests, one value for each grant type, without I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from auth_agent.oauth.outcome import Failure, TokenResponse
from auth_agent.oauth.requests import parse_token_response
from auth_agent.secret import Secret

# Status, headers by lower-case name, body, Unix time, and the secrets that were sent: see `parse_token_response`.
Parser = Callable[[int, Mapping[str, str], bytes, float, tuple[Secret, ...]], TokenResponse | Failure]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request; `Client.authenticate` adds the client's parameters.

    `secrets` are the parameters that are never shown, not even if the provider quotes them. A parameter without a
    value is omitted. `resource` is the API that the token is for; the name of that parameter depends on the provider.
    """

    grant_type: str
    secrets: Mapping[str, Secret]
    parameters: Mapping[str, str | None]
    resource: str | None = None
    parse: Parser = field(default=parse_token_response, repr=False)

    def form(self, *, is_auth0: bool) -> dict[str, str]:
        """Return the form, with `resource` as Auth0's `audience`, or as RFC 8707, section 2.2, has it."""
        params = [*self.parameters.items(), ("audience" if is_auth0 else "resource", self.resource)]
        secrets = {name: secret.reveal() for name, secret in self.secrets.items()}
        return {"grant_type": self.grant_type, **secrets, **{name: value for name, value in params if value}}


def refresh_request(refresh_token: Secret, audience: str | None = None, scope: str = "") -> TokenRequest:
    """Return the request that presents a refresh token (RFC 6749, section 6).

    Without audience and scope, it is for those of the login. Only such a refresh can prove that a session has ended:
    one with an audience or scope may be refused because of them.

    Args:
        refresh_token: the refresh token.
        audience: the API that the token is for; None: the login's.
        scope: the requested scopes; "": the provider's choice.

    """
    return TokenRequest("refresh_token", {"refresh_token": refresh_token}, {"scope": scope}, audience)


def code_request(code: Secret, redirect_uri: str, verifier: Secret) -> TokenRequest:
    """Return the request that redeems a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5)."""
    secrets = {"code": code, "code_verifier": verifier}
    return TokenRequest("authorization_code", secrets, {"redirect_uri": redirect_uri})


def client_credentials_request(scope: str, audience: str | None) -> TokenRequest:
    """Return the request for a token of the client's own (RFC 6749, section 4.4.2); `audience` is Auth0's."""
    return TokenRequest("client_credentials", {}, {"scope": scope, "audience": audience})
