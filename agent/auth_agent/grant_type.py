"""The grants by which an account gets its tokens, and all that differs between them: a new one is a row here.

The forms that are sent for them are in `oauth.token_request`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class GrantType:
    """A grant, by its name in the configuration and in stored entries, and what follows from it.

    `has_user`: a person logs in; otherwise the client stands for itself, and nobody is logged in. `has_refresh_token`:
    a refresh token gets the next token, and can be imported; otherwise the client's own credentials get it.
    `needs_secret`: the client can't be a public one. `default_scope` is what is asked for unless the account says.
    """

    name: str
    has_user: bool
    has_refresh_token: bool
    needs_secret: bool
    default_scope: str


# Also of logins on another device (RFC 8628): an account of this grant may be logged in either way.
AUTHORIZATION_CODE: Final = GrantType(
    "authorization_code",
    has_user=True,
    has_refresh_token=True,
    needs_secret=False,
    default_scope="openid profile email offline_access",
)
# Without a refresh token: the secret gets the next token as well (RFC 6749, section 4.4.3).
CLIENT_CREDENTIALS: Final = GrantType(
    "client_credentials", has_user=False, has_refresh_token=False, needs_secret=True, default_scope=""
)
GRANT_TYPES: Final[Mapping[str, GrantType]] = MappingProxyType(
    {grant_type.name: grant_type for grant_type in (AUTHORIZATION_CODE, CLIENT_CREDENTIALS)}
)


def grant_type_of(name: str) -> GrantType:
    """Return the grant of that name; for one of a newer version, a grant that no account of this version has."""
    return GRANT_TYPES.get(name) or replace(AUTHORIZATION_CODE, name=name)
