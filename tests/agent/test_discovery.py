"""What a provider's metadata must say."""

import json

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.discovery import (
    DiscoveryError,
    Metadata,
    UnreadableMetadataError,
    metadata_url,
    parse_metadata,
)

ISSUER = "https://acme.example/"


def metadata(**fields: object) -> bytes:
    return json.dumps({"issuer": ISSUER, "token_endpoint": f"{ISSUER}oauth/token", **fields}).encode()


@pytest.mark.parametrize(
    ("issuer", "address"),
    [
        ("https://acme.example", "https://acme.example/.well-known/openid-configuration"),
        ("https://acme.example/", "https://acme.example/.well-known/openid-configuration"),
        ("https://acme.example/tenant", "https://acme.example/tenant/.well-known/openid-configuration"),
        ("https://acme.example/tenant/", "https://acme.example/tenant/.well-known/openid-configuration"),
    ],
)
def test_the_metadata_is_below_the_issuer_s_own_path(issuer: str, address: str) -> None:
    assert metadata_url(issuer) == address


# ---- metadata


def test_metadata_has_the_endpoints() -> None:
    body = metadata(revocation_endpoint="https://acme.example/oauth/revoke")
    assert parse_metadata(ISSUER, body) == Metadata(
        ISSUER, "https://acme.example/oauth/token", revocation_endpoint="https://acme.example/oauth/revoke"
    )


@pytest.mark.parametrize(
    ("issuer", "authorize", "token", "found"),
    [
        ("https://acme.eu.auth0.com/", "https://acme.eu.auth0.com/authorize", "/oauth/token", True),
        ("https://login.acme.example", "https://login.acme.example/authorize", "/oauth/token", True),
        ("https://acme.example", None, "/oauth/token", False),
        ("https://acme.example", "https://acme.example/auth", "/oauth/token", False),
        ("https://acme.example", "https://acme.example/authorize", "/token", False),
        ("https://acme.example/realm", "https://acme.example/realm/authorize", "/oauth/token", False),
        ("https://acme.example", "https://other.example/authorize", "/oauth/token", False),
    ],
)
def test_auth0_is_known_by_where_its_endpoints_are(issuer: str, authorize: str | None, token: str, found: bool) -> None:
    token_endpoint = issuer.rstrip("/") + token
    assert Metadata(issuer, token_endpoint, authorization_endpoint=authorize).is_auth0 is found


def test_the_endpoints_that_a_session_needs_besides_are_read_where_they_can_be_used() -> None:
    userinfo, end = "https://acme.example/userinfo", "https://acme.example/oidc/logout"
    found = parse_metadata(ISSUER, metadata(userinfo_endpoint=userinfo, end_session_endpoint=end))
    assert (found.userinfo_endpoint, found.end_session_endpoint) == (userinfo, end)
    found = parse_metadata(ISSUER, metadata(userinfo_endpoint="http://acme.example/userinfo", end_session_endpoint=7))
    assert (found.userinfo_endpoint, found.end_session_endpoint) == (None, None)


@pytest.mark.parametrize("fields", [{}, {"revocation_endpoint": None}])
def test_a_provider_need_not_revoke(fields: dict[str, object]) -> None:
    assert parse_metadata(ISSUER, metadata(**fields)).revocation_endpoint is None


def test_fields_that_are_not_known_or_of_strange_kinds_do_not_matter() -> None:
    body = metadata(grant_types_supported="none", jwks_uri=7, userinfo_endpoint=[], new={"a": 1})
    assert parse_metadata(ISSUER, body).token_endpoint == "https://acme.example/oauth/token"


@pytest.mark.parametrize(
    ("configured", "named"),
    [
        ("https://acme.example", "https://acme.example/"),
        ("https://acme.example/", "https://acme.example"),
        ("https://acme.example/tenant", "https://acme.example/tenant/"),
        ("https://acme.example/tenant/", "https://acme.example/tenant"),
    ],
)
def test_a_slash_at_the_end_makes_no_other_issuer_and_the_provider_s_spelling_is_kept(
    configured: str, named: str
) -> None:
    assert parse_metadata(configured, metadata(issuer=named)).issuer == named


@pytest.mark.parametrize(
    "named",
    [
        "https://evil.example/",
        "https://acme.example/tenant",
        "http://acme.example/",
        "https://acme.example.evil.example/",
        "https://ACME.example/",
        "",
    ],
)
def test_the_metadata_of_another_issuer_is_refused_and_says_whose_it_is(named: str) -> None:
    with pytest.raises(DiscoveryError) as raised:
        parse_metadata(ISSUER, metadata(issuer=named))
    assert str(raised.value) == f"{ISSUER} says that its issuer is {named!r}"
    assert not isinstance(raised.value, UnreadableMetadataError)


@pytest.mark.parametrize("named", [None, 7, [ISSUER], {"issuer": ISSUER}, True])
def test_an_issuer_that_is_no_text_is_another_issuer(named: object) -> None:
    with pytest.raises(DiscoveryError, match="says that its issuer is"):
        parse_metadata(ISSUER, metadata(issuer=named))


def test_the_name_of_another_issuer_is_made_printable() -> None:
    with pytest.raises(DiscoveryError) as raised:
        parse_metadata(ISSUER, metadata(issuer="https://evil.example/\x1b[31m\n"))
    assert "https://evil.example/ [31m" in str(raised.value)
    assert str(raised.value).isprintable()


def test_endpoints_may_be_elsewhere_over_https() -> None:
    body = metadata(token_endpoint="https://oauth2.elsewhere.example/token")
    assert parse_metadata(ISSUER, body).token_endpoint == "https://oauth2.elsewhere.example/token"


@pytest.mark.parametrize(
    "address", ["http://acme.example/token", "/oauth/token", "", "https://u:p@acme.example/", "https://acme.example/\n"]
)
def test_an_endpoint_over_http_or_of_no_absolute_address_is_refused_by_its_name(address: str) -> None:
    with pytest.raises(DiscoveryError, match=r"^the provider's token_endpoint: "):
        parse_metadata(ISSUER, metadata(token_endpoint=address))


@pytest.mark.parametrize("address", [7, ["https://acme.example/"], {}, True])
def test_an_endpoint_that_is_no_text_is_refused_by_its_name(address: object) -> None:
    with pytest.raises(DiscoveryError, match="token_endpoint"):
        parse_metadata(ISSUER, metadata(token_endpoint=address))


@pytest.mark.parametrize(
    "name", ["revocation_endpoint", "authorization_endpoint", "device_authorization_endpoint", "jwks_uri"]
)
@pytest.mark.parametrize("address", ["http://acme.example/", "javascript:alert(1)", "", 7, ["https://acme.example/"]])
def test_an_endpoint_that_refreshes_do_without_is_none_where_it_is_wrong(name: str, address: object) -> None:
    found = parse_metadata(ISSUER, metadata(**{name: address}))
    assert getattr(found, name) is None
    assert found.token_endpoint == parse_metadata(ISSUER, metadata()).token_endpoint


def test_metadata_without_a_token_endpoint_is_refused() -> None:
    with pytest.raises(DiscoveryError, match="names no token_endpoint"):
        parse_metadata(ISSUER, json.dumps({"issuer": ISSUER}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Log in to the hotel's network</html>",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b'{"issuer": ' + b"1" * 5000,
    ],
)
def test_what_is_no_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMetadataError):
        parse_metadata(ISSUER, body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"true"])
def test_json_that_is_no_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMetadataError):
        parse_metadata(ISSUER, body)


@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["issuer", "token_endpoint", "revocation_endpoint"]),
        st.just(ISSUER) | st.none() | st.text() | st.integers() | st.lists(st.text(), max_size=2),
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_whatever_comes_is_this_issuer_s_metadata_or_a_discovery_error(body: bytes) -> None:
    try:
        found = parse_metadata(ISSUER, body)
    except DiscoveryError as error:
        said = str(error)
    else:
        said = ""
        assert found.issuer.rstrip("/") == ISSUER.rstrip("/")
    assert said.isprintable()
