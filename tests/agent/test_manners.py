"""What is known of providers, by their endpoints."""

import pytest

from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.manners import Manners

KEYCLOAK = "https://id.example/auth/realms/acme"
ENTRA = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad"


@pytest.mark.parametrize(
    ("issuer", "authorize", "token", "keeps", "ends"),
    [
        ("https://acme.eu.auth0.com/", "https://acme.eu.auth0.com/authorize", "https://acme.eu.auth0.com/oauth/token",
         True, False),
        (f"{ENTRA}/v2.0", f"{ENTRA}/oauth2/v2.0/authorize", f"{ENTRA}/oauth2/v2.0/token", True, False),
        (KEYCLOAK, None, f"{KEYCLOAK}/protocol/openid-connect/token", True, False),
        ("https://github.com", "https://github.com/login/oauth/authorize", "https://github.com/login/oauth/access_token",
         False, True),
        ("https://id.example/o", "https://id.example/o/authorize/", "https://id.example/o/token/", False, True),
        ("https://gitlab.com", "https://gitlab.com/oauth/authorize", "https://gitlab.com/oauth/token", False, True),
        ("https://acme.example/git", "https://acme.example/git/oauth/authorize", "https://acme.example/git/oauth/token",
         False, True),
        ("https://git.acme.example", "https://git.acme.example/login/oauth/authorize",
         "https://git.acme.example/login/oauth/access_token", False, True),
        ("https://id.example", "https://id.example/x/oauth/authorize", "https://id.example/oauth/token", False, None),
        ("https://id.example", "https://id.example/authorize", "https://id.example/token", False, None),
        # Not Keycloak's own paths, or not Microsoft's hosts.
        ("https://id.example", None, f"{KEYCLOAK}/protocol/openid-connect/token", False, None),
        ("https://login.microsoftonline.com.evil.example", None, "https://login.microsoftonline.com.evil.example/token",
         False, None),
    ],
)  # fmt: skip
def test_a_provider_is_known_by_its_endpoints(
    issuer: str, authorize: str | None, token: str, *, keeps: bool, ends: bool | None
) -> None:
    manners = Metadata(issuer, token, authorization_endpoint=authorize).manners
    assert (manners.keeps_refresh_token, manners.ends_access_token) == (keeps, ends)


def test_what_is_not_known_is_not_assumed() -> None:
    assert Manners() == Manners(keeps_refresh_token=False, ends_access_token=None, side_scope="")
