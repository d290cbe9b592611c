"""A login by authorization code: the URL that a browser opens, and the redirect URL at which it ends."""

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.authorization import AuthorizationRequest, authorization_url, read_redirect
from auth_agent.oauth.outcome import Failure, Misconfigured, Refusal, Unusable
from auth_agent.secret import Secret

ISSUER = "https://acme.example/"
ENDPOINT = "https://acme.example/authorize"
REDIRECT = "http://127.0.0.1:8976/callback"


def authorization_request() -> AuthorizationRequest:
    return AuthorizationRequest(Secret("the-state"), Secret("the-nonce"), Secret("the-verifier"))


def authorization_params(
    endpoint: str = ENDPOINT, scope: str = "openid", api: Mapping[str, str] | None = None, **more: str
) -> dict[str, str]:
    url = authorization_url(
        endpoint,
        authorization_request(),
        client_id="app",
        redirect_uri=REDIRECT,
        scope=scope,
        api=api or {},
        more=more,
    )
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


def read(iss_parameter_supported: bool = False, **fields: str) -> Secret | Failure | None:
    return read_redirect(
        urlencode(fields), authorization_request(), ISSUER, iss_parameter_supported=iss_parameter_supported
    )


# ---- the request


def test_two_requests_share_no_value() -> None:
    first, second = AuthorizationRequest.begin(), AuthorizationRequest.begin()
    strings = [
        secret.reveal() for request in (first, second) for secret in (request.state, request.nonce, request.verifier)
    ]
    assert len(set(strings)) == 6
    assert all(len(secret) >= 43 for secret in strings)


def test_the_challenge_is_the_s256_hash_of_the_verifier() -> None:
    # RFC 7636, appendix B.
    request = AuthorizationRequest(Secret(""), Secret(""), Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
    assert request.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_repr_of_a_request_contains_no_secret() -> None:
    assert "the-" not in repr(authorization_request())


# ---- the authorization URL


def test_the_authorization_url_requests_a_code_with_pkce() -> None:
    digest = hashlib.sha256(b"the-verifier").digest()
    assert authorization_params() == {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


def test_offline_access_requests_consent_unless_the_configuration_sets_prompt() -> None:
    assert authorization_params(scope="openid offline_access")["prompt"] == "consent"
    assert authorization_params(scope="openid offline_access", prompt="login")["prompt"] == "login"
    assert "prompt" not in authorization_params(scope="openid offline_access", prompt="")


def test_the_api_is_named_in_the_url_unless_the_configuration_names_another() -> None:
    api = {"audience": "https://api.example/", "resource": "https://api.example/"}
    params = authorization_params(api=api)
    assert {name: params[name] for name in api} == api
    params = authorization_params(api=api, audience="", resource="urn:other")
    assert "audience" not in params
    assert params["resource"] == "urn:other"


def test_the_configuration_adds_parameters_but_cannot_change_the_protocols_own() -> None:
    params = authorization_params(
        organization="org_1", state="x", nonce="", code_challenge_method="plain", redirect_uri="https://evil/"
    )
    assert params["organization"] == "org_1"
    assert params["state"] == "the-state"
    assert params["nonce"] == "the-nonce"
    assert params["code_challenge_method"] == "S256"
    assert params["redirect_uri"] == REDIRECT


def test_the_query_of_the_endpoint_is_kept() -> None:
    assert authorization_params(f"{ENDPOINT}?tenant=a")["tenant"] == "a"
    assert authorization_params(f"{ENDPOINT}?tenant=a")["state"] == "the-state"


@pytest.mark.parametrize("end", ["?", "?tenant=a&", "#", "?#section", "?tenant=a#section"])
def test_a_query_that_an_endpoint_only_begins_or_a_fragment_of_it_takes_no_parameter(end: str) -> None:
    params = authorization_params(f"{ENDPOINT}{end}")
    assert params.pop("tenant", "a") == "a"
    assert params == authorization_params()


def test_the_verifier_is_not_in_the_url() -> None:
    assert "the-verifier" not in authorization_params().values()


# ---- the redirect


def test_the_code_of_a_redirect_is_returned() -> None:
    code = read(state="the-state", code="abc", session_state="x")
    assert isinstance(code, Secret)
    assert code.reveal() == "abc"


@pytest.mark.parametrize("state", ["", "another", "the-stat", "the-state ", "THE-STATE", "é"])
def test_a_redirect_with_another_state_is_ignored(state: str) -> None:
    assert read(state=state, code="abc") is None
    assert read(state=state, error="access_denied") is None


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=abc",
        "state",
        "state=the-state&state=the-state&code=abc",
        "state=the-state&code=abc&code=abd",
        "state=the-state&error=a&error=b",
        "state=the-state&code=abc&iss=a&iss=b",
        "&".join(["state=the-state&code=a", *(f"f{number}=1" for number in range(60))]),
    ],
)
def test_a_malformed_redirect_is_ignored(query: str) -> None:
    assert read_redirect(query, authorization_request(), ISSUER, iss_parameter_supported=False) is None


@pytest.mark.parametrize(
    "more", ["session_state=%E9", "session_state=a&session_state=b", "error_description=%ff&error_uri=%", "&&x", "=&="]
)
def test_what_no_login_depends_on_may_be_anything(more: str) -> None:
    """Such as a description in Latin-1, or a field of the provider's own that comes twice."""
    for answer, kind in (("code=abc", Secret), ("error=access_denied", Refusal), ("code=%ff", Unusable)):
        query = f"{answer}&{more}&state=the-state"
        assert isinstance(read_redirect(query, authorization_request(), ISSUER, iss_parameter_supported=False), kind)


def test_a_response_with_another_iss_is_refused() -> None:
    failure = read(state="the-state", code="abc", iss="https://evil.example/")
    assert isinstance(failure, Unusable)
    assert "evil.example" in failure.reason
    assert isinstance(read(state="the-state", error="access_denied", iss="https://evil.example/"), Unusable)


def test_iss_is_required_if_the_metadata_promises_it() -> None:
    assert isinstance(read(iss_parameter_supported=True, state="the-state", code="abc"), Unusable)
    assert isinstance(read(iss_parameter_supported=True, state="the-state", code="abc", iss=ISSUER), Secret)


@pytest.mark.parametrize("spelling", [ISSUER.rstrip("/"), ISSUER.upper(), "https://acme.example:443/", ISSUER + "/"])
def test_iss_is_compared_as_a_string(spelling: str) -> None:
    # RFC 9207, section 2.4
    assert isinstance(read(state="the-state", code="abc", iss=spelling), Unusable)


def test_another_iss_than_the_configured_issuer_is_a_mistake_in_the_configuration() -> None:
    """As at GitHub, which has no metadata, and sends `iss`."""
    query = urlencode({"state": "the-state", "code": "abc", "iss": "https://github.com/login/oauth"})
    failure = read_redirect(
        query, authorization_request(), "https://github.com", iss_parameter_supported=False, is_configured=True
    )
    assert isinstance(failure, Misconfigured)
    assert failure.keys == ("issuer",)
    assert "'https://github.com/login/oauth'" in failure.reason


def test_an_error_response_has_a_printable_reason() -> None:
    failure = read(state="the-state", error="access_denied", error_description="The user\x1b[31m pressed cancel")
    assert isinstance(failure, Refusal)
    assert failure.reason.startswith("access_denied: The user")
    assert "\x1b" not in failure.reason


def test_the_reason_contains_no_secret_that_the_provider_quotes() -> None:
    failure = read(state="the-state", error="access_denied", error_description="the-state is over, nonce the-nonce")
    assert isinstance(failure, Refusal)
    assert failure.reason == "access_denied: … is over, nonce …"


@pytest.mark.parametrize("code", ["", "a\nb", "é"])
def test_a_redirect_with_the_state_but_no_valid_code_ends_the_login(code: str) -> None:
    assert isinstance(read(state="the-state", code=code), Unusable)


@given(st.text())
def test_any_query_without_the_state_is_ignored(query: str) -> None:
    assert read_redirect(query, authorization_request(), ISSUER, iss_parameter_supported=True) is None


@given(st.dictionaries(st.sampled_from(["code", "error", "error_description", "iss", "x"]), st.text()))
def test_any_query_with_the_state_is_a_code_or_a_failure(fields: dict[str, str]) -> None:
    query = urlencode({**fields, "state": "the-state"}, errors="replace")
    result = read_redirect(query, authorization_request(), ISSUER, iss_parameter_supported=False)
    assert isinstance(result, Secret | Failure)
    if isinstance(result, Secret):
        assert result.reveal() == parse_qs(query)["code"][0]
