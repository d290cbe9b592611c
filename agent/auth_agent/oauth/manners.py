"""What is known of how providers treat a session's tokens at a refresh, by their endpoints, without I/O.

RFC 6749 leaves it open whether a refresh for less costs the session scopes for good, and whether it ends the access
token from before. Providers are recognized by the paths of their endpoints, since each has any number of hosts.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from auth_agent.oauth.auth0 import is_auth0
from auth_agent.oauth.entra import CLOUDS

_KEYCLOAK_PATH: Final = "/protocol/openid-connect/token"
# Also of GitHub Enterprise Server.
_GITHUB_PATH: Final = "/login/oauth/access_token"
# The default paths of django-oauth-toolkit and of Doorkeeper, of which GitLab's is one, perhaps below another path.
_DJANGO_PATH: Final = "/o/token/"
_DOORKEEPER_PATHS: Final = "/oauth/authorize", "/oauth/token"


@dataclass(frozen=True, slots=True)
class Manners:
    """How a provider behaves at a refresh.

    Attributes:
        keeps_refresh_token: whether a refresh for other scopes or another API is known to leave the session as it was.
        ends_access_token: whether a refresh ends the access token from before; None: it is not known.
        side_scope: scopes that a refresh for other scopes needs besides.

    """

    keeps_refresh_token: bool = False
    ends_access_token: bool | None = None
    side_scope: str = ""


_UNKNOWN: Final = Manners()
# Auth0, "Refresh Tokens": a refresh with `audience` or `scope` is for that token alone.
_AUTH0: Final = Manners(keeps_refresh_token=True, ends_access_token=False)
# Entra's refresh tokens are for all APIs, and replaced ones stay valid ("Refresh tokens in the identity platform").
_ENTRA: Final = Manners(keeps_refresh_token=True, ends_access_token=False)
# Since Keycloak 24 a refresh with `scope` narrows the access token only; an offline session needs `offline_access`.
_KEYCLOAK: Final = Manners(keeps_refresh_token=True, ends_access_token=False, side_scope="offline_access")
# GitHub, "Refreshing user access tokens": the old access token no longer works. At django-oauth-toolkit and Doorkeeper
# it ends at the refresh, or when the new one is first used.
_ENDING: Final = Manners(ends_access_token=True)


def manners_of(issuer: str, authorization_endpoint: str | None, token_endpoint: str) -> Manners:
    """Return what is known of the provider with these endpoints."""
    if is_auth0(issuer, authorization_endpoint, token_endpoint):
        return _AUTH0
    token = urlsplit(token_endpoint)
    base, path = urlsplit(issuer).path.rstrip("/"), token.path
    if any(token.hostname in cloud.hosts for cloud in CLOUDS):
        return _ENTRA
    if path == f"{base}{_KEYCLOAK_PATH}" and "/realms/" in f"{base}/":
        return _KEYCLOAK
    below = path.removesuffix(_DOORKEEPER_PATHS[1])
    doorkeeper = tuple(f"{below}{end}" for end in _DOORKEEPER_PATHS)
    is_doorkeeper = (urlsplit(authorization_endpoint or "").path, path) == doorkeeper
    return _ENDING if is_doorkeeper or path.endswith((_GITHUB_PATH, _DJANGO_PATH)) else _UNKNOWN
