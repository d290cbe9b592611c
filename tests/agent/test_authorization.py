"""A login by authorization code: the address that a browser opens, and the one it ends on."""

import base64
import hashlib
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.authorization import AuthorizationRequest, authorization_url, read_redirect
from auth_agent.oauth.outcome import Failure, Refusal, Unusable
from auth_agent.secret import Secret

ISSUER = "https://acme.example/"
ENDPOINT = "https://acme.example/authorize"
REDIRECT = "http://127.0.0.1:8976/callback"


def attempt() -> AuthorizationRequest:
    return AuthorizationRequest(Secret("the-state"), Secret("the-nonce"), Secret("the-verifier"))


def asked(endpoint: str = ENDPOINT, scope: str = "openid", audience: str | None = None, **more: str) -> dict[str, str]:
    address = authorization_url(
        endpoint, attempt(), client_id="app", redirect_uri=REDIRECT, scope=scope, audience=audience, more=more
    )
    return dict(parse_qsl(urlsplit(address).query, strict_parsing=True))


def read(names_issuer: bool = False, **fields: str) -> Secret | Failure | None:
    return read_redirect(urlencode(fields), attempt(), ISSUER, iss_parameter_supported=names_issuer)


# ---- an attempt


def test_no_two_attempts_share_anything() -> None:
    one, other = AuthorizationRequest.begin(), AuthorizationRequest.begin()
    values = [value.reveal() for each in (one, other) for value in (each.state, each.nonce, each.verifier)]
    assert len(set(values)) == 6
    assert all(len(value) >= 43 for value in values)


def test_the_challenge_is_the_verifier_s_s256() -> None:
    # RFC 7636, appendix B.
    one = AuthorizationRequest(Secret(""), Secret(""), Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
    assert one.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_an_attempt_shows_nothing_of_itself() -> None:
    assert "the-" not in repr(attempt())


# ---- the address


def test_the_address_asks_for_a_code_with_a_challenge() -> None:
    digest = hashlib.sha256(b"the-verifier").digest()
    assert asked() == {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


def test_consent_is_asked_for_where_the_provider_may_want_it_for_a_refresh_token() -> None:
    assert asked(scope="openid offline_access")["prompt"] == "consent"
    assert asked(scope="openid offline_access", prompt="login")["prompt"] == "login"
    assert "prompt" not in asked(scope="openid offline_access", prompt="")


def test_an_audience_is_named() -> None:
    assert asked(audience="https://api.example/")["audience"] == "https://api.example/"


def test_the_configuration_adds_to_it_but_takes_nothing_away_that_makes_it_safe() -> None:
    got = asked(organization="org_1", state="x", nonce="", code_challenge_method="plain", redirect_uri="https://evil/")
    assert got["organization"] == "org_1"
    assert got["state"] == "the-state"
    assert got["nonce"] == "the-nonce"
    assert got["code_challenge_method"] == "S256"
    assert got["redirect_uri"] == REDIRECT


def test_an_endpoint_s_own_query_is_kept() -> None:
    assert asked(f"{ENDPOINT}?tenant=a")["tenant"] == "a"
    assert asked(f"{ENDPOINT}?tenant=a")["state"] == "the-state"


def test_the_verifier_is_not_in_it() -> None:
    assert "the-verifier" not in asked().values()


# ---- the redirect


def test_a_redirect_brings_its_code() -> None:
    found = read(state="the-state", code="abc", session_state="x")
    assert isinstance(found, Secret)
    assert found.reveal() == "abc"


@pytest.mark.parametrize("state", ["", "another", "the-stat", "the-state ", "THE-STATE", "é"])
def test_a_redirect_with_another_state_is_not_this_login_s(state: str) -> None:
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
        "state=the-state&code=%ff",
        "&".join(["state=the-state&code=a", *(f"f{number}=1" for number in range(60))]),
    ],
)
def test_a_redirect_that_no_provider_makes_is_not_this_login_s(query: str) -> None:
    assert read_redirect(query, attempt(), ISSUER, iss_parameter_supported=False) is None


def test_an_answer_in_another_provider_s_name_is_refused() -> None:
    outcome = read(state="the-state", code="abc", iss="https://evil.example/")
    assert isinstance(outcome, Unusable)
    assert "evil.example" in outcome.reason
    assert isinstance(read(state="the-state", error="access_denied", iss="https://evil.example/"), Unusable)


def test_an_answer_must_name_a_provider_that_says_it_does_so() -> None:
    assert isinstance(read(names_issuer=True, state="the-state", code="abc"), Unusable)
    assert isinstance(read(names_issuer=True, state="the-state", code="abc", iss=ISSUER), Secret)
    assert isinstance(read(state="the-state", code="abc", iss=ISSUER.rstrip("/")), Secret)


def test_an_error_says_why() -> None:
    outcome = read(state="the-state", error="access_denied", error_description="The user\x1b[31m pressed cancel")
    assert isinstance(outcome, Refusal)
    assert outcome.reason.startswith("access_denied: The user")
    assert "\x1b" not in outcome.reason


def test_an_error_that_quotes_the_login_s_secrets_is_shown_without_them() -> None:
    outcome = read(state="the-state", error="access_denied", error_description="the-state is over, nonce the-nonce")
    assert isinstance(outcome, Refusal)
    assert outcome.reason == "access_denied: … is over, nonce …"


@pytest.mark.parametrize("code", ["", "a\nb", "é"])
def test_a_redirect_of_this_login_without_a_code_ends_it(code: str) -> None:
    assert isinstance(read(state="the-state", code=code), Unusable)


@given(st.text())
def test_whatever_comes_is_read_or_is_not_this_login_s(query: str) -> None:
    assert read_redirect(query, attempt(), ISSUER, iss_parameter_supported=True) is None


@given(st.dictionaries(st.sampled_from(["code", "error", "error_description", "iss", "x"]), st.text()))
def test_whatever_comes_with_the_state_is_an_answer(fields: dict[str, str]) -> None:
    query = urlencode({**fields, "state": "the-state"}, errors="replace")
    found = read_redirect(query, attempt(), ISSUER, iss_parameter_supported=False)
    assert isinstance(found, Secret | Failure)
    if isinstance(found, Secret):
        assert found.reveal() == parse_qs(query)["code"][0]
