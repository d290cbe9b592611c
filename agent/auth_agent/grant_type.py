"""The grant types by which accounts get their tokens, and how they differ. A new one is added here.

`oauth.token_request` has the parameters that are sent for each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class GrantType:
    """A grant type; `name` is its name in the configuration and in store entries.

    `has_user`: a person logs in; otherwise the client acts on its own behalf. `has_refresh_token`: access tokens are
    refreshed with a refresh token, which can be imported; otherwise with the client's own credentials. `needs_secret`:
    the client can't be a public one. `default_scope` is requested unless the account sets a scope.
    """

    name: str
    has_user: bool
    has_refresh_token: bool
    needs_secret: bool
    default_scope: str


# Includes logins on another device (RFC 8628): an account of this grant type may use either flow.
AUTHORIZATION_CODE: Final = GrantType(
    "authorization_code",
    has_user=True,
    has_refresh_token=True,
    needs_secret=False,
    default_scope="openid profile email offline_access",
)
# There is no refresh token (RFC 6749, section 4.4.3): each access token is requested with the client secret.
CLIENT_CREDENTIALS: Final = GrantType(
    "client_credentials", has_user=False, has_refresh_token=False, needs_secret=True, default_scope=""
)
GRANT_TYPES: Final[Mapping[str, GrantType]] = MappingProxyType(
    {grant_type.name: grant_type for grant_type in (AUTHORIZATION_CODE, CLIENT_CREDENTIALS)}
)


def grant_type_of(name: str) -> GrantType:
    """Return the grant type of that name; if it is unknown (of a newer version), one that no account can have."""
    return GRANT_TYPES.get(name) or replace(AUTHORIZATION_CODE, name=name)
