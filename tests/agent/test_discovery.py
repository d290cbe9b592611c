"""Parsing a provider's metadata."""

import json

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import AUTHORIZATION_CODE
from auth_agent.oauth.discovery import (
    DiscoveryError,
    Metadata,
    NoMetadataError,
    UnreadableMetadataError,
    configured_metadata,
    has_gaps,
    metadata_url,
    oauth_metadata_urls,
    parse_metadata,
    without_gaps,
    without_offline_access,
)

ISSUER = "https://acme.example/"


def metadata(**fields: object) -> bytes:
    return json.dumps({"issuer": ISSUER, "token_endpoint": f"{ISSUER}oauth/token", **fields}).encode()


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://acme.example", "https://acme.example/.well-known/openid-configuration"),
        ("https://acme.example/", "https://acme.example/.well-known/openid-configuration"),
        ("https://acme.example/tenant", "https://acme.example/tenant/.well-known/openid-configuration"),
        ("https://acme.example/tenant/", "https://acme.example/tenant/.well-known/openid-configuration"),
    ],
)
def test_the_metadata_url_is_below_the_issuers_path(issuer: str, url: str) -> None:
    assert metadata_url(issuer) == url


# ---- metadata


def test_the_endpoints_are_parsed() -> None:
    body = metadata(revocation_endpoint="https://acme.example/oauth/revoke")
    assert parse_metadata(ISSUER, body) == Metadata(
        ISSUER, "https://acme.example/oauth/token", revocation_endpoint="https://acme.example/oauth/revoke"
    )


@pytest.mark.parametrize(
    ("issuer", "authorize", "token", "expected"),
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
def test_auth0_is_recognized_by_its_endpoints(issuer: str, authorize: str | None, token: str, expected: bool) -> None:
    token_endpoint = issuer.rstrip("/") + token
    assert Metadata(issuer, token_endpoint, authorization_endpoint=authorize).is_auth0 is expected


def test_optional_endpoints_are_parsed_if_they_are_valid() -> None:
    userinfo, end = "https://acme.example/userinfo", "https://acme.example/oidc/logout"
    parsed = parse_metadata(ISSUER, metadata(userinfo_endpoint=userinfo, end_session_endpoint=end))
    assert (parsed.userinfo_endpoint, parsed.end_session_endpoint) == (userinfo, end)
    parsed = parse_metadata(ISSUER, metadata(userinfo_endpoint="http://acme.example/userinfo", end_session_endpoint=7))
    assert (parsed.userinfo_endpoint, parsed.end_session_endpoint) == (None, None)


@pytest.mark.parametrize("fields", [{}, {"revocation_endpoint": None}])
def test_the_revocation_endpoint_is_optional(fields: dict[str, object]) -> None:
    assert parse_metadata(ISSUER, metadata(**fields)).revocation_endpoint is None


def test_unknown_fields_and_those_of_a_wrong_type_are_ignored() -> None:
    body = metadata(grant_types_supported="none", jwks_uri=7, userinfo_endpoint=[], new={"a": 1})
    assert parse_metadata(ISSUER, body).token_endpoint == "https://acme.example/oauth/token"


@pytest.mark.parametrize(
    ("configured", "issuer"),
    [
        ("https://acme.example", "https://acme.example/"),
        ("https://acme.example/", "https://acme.example"),
        ("https://acme.example/tenant", "https://acme.example/tenant/"),
        ("https://acme.example/tenant/", "https://acme.example/tenant"),
        ("https://ACME.example", "https://acme.example/"),
        ("https://acme.example/", "https://Acme.Example:443"),
    ],
)
def test_the_spelling_of_the_issuer_is_ignored_and_the_providers_form_is_kept(configured: str, issuer: str) -> None:
    assert parse_metadata(configured, metadata(issuer=issuer)).issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "https://evil.example/",
        "https://acme.example/tenant",
        "http://acme.example/",
        "https://acme.example.evil.example/",
        "https://acme.example/Tenant",
        "https://acme.example:8443/",
        "",
    ],
)
def test_metadata_of_another_issuer_is_an_error_that_quotes_it(issuer: str) -> None:
    with pytest.raises(DiscoveryError) as raised:
        parse_metadata(ISSUER, metadata(issuer=issuer))
    assert str(raised.value).startswith(f"{ISSUER} ")
    assert str(raised.value).endswith(f" {issuer!r}")
    assert not isinstance(raised.value, UnreadableMetadataError)


@pytest.mark.parametrize("issuer", [None, 7, [ISSUER], {"issuer": ISSUER}, True])
def test_an_issuer_that_is_not_a_string_is_an_error(issuer: object) -> None:
    with pytest.raises(DiscoveryError, match=f"^{ISSUER} .* ''$"):
        parse_metadata(ISSUER, metadata(issuer=issuer))


def test_a_quoted_issuer_is_made_printable() -> None:
    with pytest.raises(DiscoveryError) as raised:
        parse_metadata(ISSUER, metadata(issuer="https://evil.example/\x1b[31m\n"))
    assert "https://evil.example/ [31m" in str(raised.value)
    assert str(raised.value).isprintable()


def test_endpoints_may_have_another_host() -> None:
    body = metadata(token_endpoint="https://oauth2.elsewhere.example/token")
    assert parse_metadata(ISSUER, body).token_endpoint == "https://oauth2.elsewhere.example/token"


@pytest.mark.parametrize(
    "url", ["http://acme.example/token", "/oauth/token", "", "https://u:p@acme.example/", "https://acme.example/\n"]
)
def test_an_unsafe_token_endpoint_is_an_error_that_names_it(url: str) -> None:
    with pytest.raises(DiscoveryError, match=r"\btoken_endpoint: "):
        parse_metadata(ISSUER, metadata(token_endpoint=url))


@pytest.mark.parametrize(
    "name",
    [
        "token_endpoint",
        "revocation_endpoint",
        "authorization_endpoint",
        "device_authorization_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "end_session_endpoint",
    ],
)
@pytest.mark.parametrize("url", ["http://127.0.0.1:2375/x", "http://localhost:8080/", 'https://acme.example/a";calc;"'])
def test_no_endpoint_of_another_machines_provider_is_on_this_one_by_http(name: str, url: str) -> None:
    if name == "token_endpoint":
        with pytest.raises(DiscoveryError, match=r"\btoken_endpoint: "):
            parse_metadata(ISSUER, metadata(token_endpoint=url))
    else:
        assert getattr(parse_metadata(ISSUER, metadata(**{name: url})), name) is None


def test_a_provider_on_this_machine_may_have_http_endpoints() -> None:
    local = "http://127.0.0.1:4000"
    parsed = parse_metadata(local, metadata(issuer=local, token_endpoint=f"{local}/token", jwks_uri=f"{local}/jwks"))
    assert (parsed.token_endpoint, parsed.jwks_uri) == (f"{local}/token", f"{local}/jwks")


@pytest.mark.parametrize("url", [7, ["https://acme.example/"], {}, True])
def test_a_token_endpoint_that_is_not_a_string_is_an_error_that_names_it(url: object) -> None:
    with pytest.raises(DiscoveryError, match="token_endpoint"):
        parse_metadata(ISSUER, metadata(token_endpoint=url))


@pytest.mark.parametrize(
    "name", ["revocation_endpoint", "authorization_endpoint", "device_authorization_endpoint", "jwks_uri"]
)
@pytest.mark.parametrize("url", ["http://acme.example/", "javascript:alert(1)", "", 7, ["https://acme.example/"]])
def test_other_invalid_endpoints_are_none(name: str, url: object) -> None:
    parsed = parse_metadata(ISSUER, metadata(**{name: url}))
    assert getattr(parsed, name) is None
    assert parsed.token_endpoint == parse_metadata(ISSUER, metadata()).token_endpoint


def test_metadata_without_a_token_endpoint_is_an_error() -> None:
    with pytest.raises(DiscoveryError, match=r"\btoken_endpoint$"):
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
def test_metadata_that_is_not_valid_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMetadataError):
        parse_metadata(ISSUER, body)


@pytest.mark.parametrize("body", [b"{}", b'{"message": "Not Found"}', b'{"error": {"code": 404}}'])
def test_an_object_without_required_members_is_no_metadata(body: bytes) -> None:
    with pytest.raises(NoMetadataError):
        parse_metadata(ISSUER, body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"true"])
def test_json_that_is_not_an_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMetadataError):
        parse_metadata(ISSUER, body)


@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["issuer", "token_endpoint", "revocation_endpoint"]),
        st.just(ISSUER) | st.none() | st.text() | st.integers() | st.lists(st.text(), max_size=2),
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_any_body_is_metadata_of_the_issuer_or_a_discovery_error(body: bytes) -> None:
    try:
        parsed = parse_metadata(ISSUER, body)
    except DiscoveryError as error:
        message = str(error)
    else:
        message = ""
        assert parsed.issuer.rstrip("/") == ISSUER.rstrip("/")
    assert message.isprintable()


# ---- RFC 8414


OAUTH = "https://acme.example/.well-known/oauth-authorization-server"


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        ("https://acme.example", (OAUTH,)),
        ("https://acme.example/", (OAUTH,)),
        (
            "https://acme.example/tenant/one/",
            (
                f"{OAUTH}/tenant/one",
                "https://acme.example/tenant/one/.well-known/oauth-authorization-server",
                "https://acme.example/.well-known/openid-configuration/tenant/one",
            ),
        ),
    ],
)
def test_the_path_of_the_issuer_comes_last_as_rfc_8414_has_it(issuer: str, urls: tuple[str, ...]) -> None:
    assert oauth_metadata_urls(issuer) == urls


@pytest.mark.parametrize(
    ("url", "fields", "expected"),
    [
        (None, {}, True),
        (OAUTH, {}, False),
        (OAUTH, {"jwks_uri": "https://acme.example/keys"}, False),
        (OAUTH, {"id_token_signing_alg_values_supported": ["RS256"]}, True),
        ("https://acme.example/.well-known/openid-configuration/tenant", {}, True),
    ],
)
def test_a_provider_issues_id_tokens_if_its_document_says_so(
    url: str | None, fields: dict[str, object], expected: bool
) -> None:
    assert parse_metadata(ISSUER, metadata(**fields), url).is_openid is expected


FIRST = Metadata(ISSUER, f"{ISSUER}oauth/token", userinfo_endpoint=f"{ISSUER}me")


def test_gaps_are_filled_and_nothing_is_replaced() -> None:
    second = metadata(
        token_endpoint=f"{ISSUER}other/token",
        authorization_endpoint=f"{ISSUER}other/authorize",
        userinfo_endpoint=f"{ISSUER}other/me",
        revocation_endpoint=f"{ISSUER}revoke",
        device_authorization_endpoint="http://acme.example/device",
        scopes_supported=["read"],
    )
    assert without_gaps(FIRST, second, OAUTH) == Metadata(
        ISSUER, f"{ISSUER}oauth/token", userinfo_endpoint=f"{ISSUER}me", revocation_endpoint=f"{ISSUER}revoke"
    )


@pytest.mark.parametrize("issuer", ["https://acme.example", "https://ACME.example/", "https://evil.example/", None])
def test_gaps_are_filled_by_the_identical_issuer_only(issuer: str | None) -> None:
    assert without_gaps(FIRST, metadata(issuer=issuer, revocation_endpoint=f"{ISSUER}revoke"), OAUTH) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
def test_a_page_fills_no_gaps(body: bytes) -> None:
    assert without_gaps(FIRST, body, OAUTH) is None


def test_a_document_with_every_endpoint_has_no_gaps() -> None:
    names = ("revocation", "device_authorization", "userinfo", "end_session")
    complete = metadata(**{f"{name}_endpoint": f"{ISSUER}{name}" for name in names}, jwks_uri=f"{ISSUER}keys")
    assert not has_gaps(parse_metadata(ISSUER, complete))
    assert has_gaps(FIRST)


# ---- a provider without a document


def test_with_a_token_endpoint_in_the_configuration_there_is_no_document() -> None:
    endpoints = {"token_endpoint": "https://git.example/token", "userinfo_endpoint": "https://api.git.example/user"}
    found = configured_metadata("https://git.example", endpoints)
    user = endpoints["userinfo_endpoint"]
    assert found == Metadata(
        "https://git.example", "https://git.example/token", userinfo_endpoint=user, is_openid=False
    )
    assert configured_metadata("https://git.example", {"userinfo_endpoint": "https://git.example/user"}) is None
    found = configured_metadata("https://git.example", {**endpoints, "jwks_uri": "https://git.example/keys"})
    assert found is not None
    assert found.is_openid


# ---- the scope that is requested by default


@pytest.mark.parametrize(
    ("is_openid", "supported", "expected"),
    [
        (True, None, "openid profile email offline_access"),
        (True, ("openid", "offline_access"), "openid profile email offline_access"),
        (True, ("openid", "profile", "email", "api"), "openid profile email"),
        (True, (), "openid profile email"),
        (False, None, ""),
        (False, ("repo", "user"), ""),
        (False, ("repo", "offline_access", "email"), "email offline_access"),
    ],
)
def test_the_default_scope_has_what_the_provider_takes(
    is_openid: bool, supported: tuple[str, ...] | None, expected: str
) -> None:
    found = Metadata(ISSUER, f"{ISSUER}token", scopes_supported=supported, is_openid=is_openid)
    assert found.default_scope(AUTHORIZATION_CODE.default_scope) == expected


def test_offline_access_can_be_left_out() -> None:
    assert without_offline_access("openid offline_access api") == "openid api"
    assert without_offline_access("openid offline_access:all") == "openid offline_access:all"
