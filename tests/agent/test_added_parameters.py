"""What a configuration, or one login, may add to requests."""

from pathlib import Path

import pytest

from auth_agent import config
from auth_agent.added_parameters import problem_of_headers, problem_of_login, problem_of_token_request
from auth_agent.errors import ConfigError
from auth_agent.oauth.token_request import TokenRequest, code_request, refresh_request
from auth_agent.secret import Secret

ACCOUNT = """
[accounts.work]
issuer = "https://id.example"
client_id = "app"
"""


@pytest.mark.parametrize(
    "name", ["state", "nonce", "redirect_uri", "client_id", "code_challenge", "request", "client_secret", "audience"]
)
def test_a_login_keeps_its_own_parameters(name: str) -> None:
    assert name in (problem_of_login({"prompt": "login", name: "x"}) or "")


def test_no_secret_is_in_the_url_of_a_login() -> None:
    with pytest.raises(ConfigError, match="client_secret"):
        config.parse(Path("config.toml"), f'{ACCOUNT}authorize = {{ client_secret = "x" }}')


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_age", "-5"), ("max_age", "10m"), ("max_age", "9" * 5000), ("claims", "{"), ("claims", "[]")],
)
def test_what_can_not_be_read_can_not_be_checked(name: str, value: str) -> None:
    assert name in (problem_of_login({name: value}) or "")
    with pytest.raises(ConfigError, match=name):
        config.parse(Path("config.toml"), f'{ACCOUNT}authorize = {{ {name} = "{value}" }}')


def test_an_essential_acr_is_asked_of_the_id_token_where_it_is_checked() -> None:
    essential = '{"userinfo": {"acr": {"essential": true, "value": "urn:mfa"}}}'
    assert "id_token" in (problem_of_login({"claims": essential}) or "")
    with pytest.raises(ConfigError, match="acr"):
        config.parse(Path("config.toml"), f"{ACCOUNT}authorize = {{ claims = '{essential}' }}")
    assert problem_of_login({"claims": essential.replace("userinfo", "id_token")}) is None
    for acr in ("null", "7", '{"value": "1"}', '{"essential": false}'):
        assert problem_of_login({"claims": f'{{"userinfo": {{"acr": {acr}}}}}'}) is None


def test_any_other_parameter_may_be_added_to_a_login() -> None:
    more = {"prompt": "login", "acr_values": "urn:mfa", "claims": "{}", "scope": "openid", "x-custom": "1"}
    assert problem_of_login(more) is None


@pytest.mark.parametrize(
    "name", ["grant_type", "client_id", "Client_Secret", "refresh_token", "code_verifier", "audience", "resource"]
)
def test_token_requests_keep_their_own_parameters_and_no_secret_is_in_the_file(name: str) -> None:
    assert name in (problem_of_token_request({"tenant": "acme", name: "x"}) or "")
    with pytest.raises(ConfigError, match=name):
        config.parse(Path("config.toml"), f'{ACCOUNT}token_parameters = {{ {name} = "x" }}')


@pytest.mark.parametrize(
    ("name", "value"),
    [("Authorization", "x"), ("cookie", "x"), ("Host", "x"), ("X Y", "x"), ("X-Y:", "x"), ("X-Y", "a\\nb"), ("", "x")],
)
def test_headers_are_no_secrets_and_forge_no_request(name: str, value: str) -> None:
    assert problem_of_headers({name: value.replace("\\n", "\n")}) is not None


def test_a_header_of_the_providers_own_may_be_added() -> None:
    assert problem_of_headers({"X-Tenant": "acme", "acme.beta": "a b"}) is None


def test_what_is_added_comes_after_the_requests_own() -> None:
    request = code_request(Secret("c"), "http://127.0.0.1/callback", Secret("v"))
    more = request.with_more({"tenant": "acme", "redirect_uri": "http://evil.example"}, {"X-Tenant": "acme"})
    assert more.form(()) == {
        "grant_type": "authorization_code",
        "code": "c",
        "code_verifier": "v",
        "redirect_uri": "http://127.0.0.1/callback",
        "tenant": "acme",
    }
    assert more.headers == {"X-Tenant": "acme"}


def test_a_scope_that_is_added_is_that_of_a_refresh_without_one() -> None:
    def scope(request: TokenRequest) -> str | None:
        return request.with_more({"scope": "openid"}, {}).form(()).get("scope")

    assert scope(refresh_request(Secret("rt"))) == "openid"
    assert scope(refresh_request(Secret("rt"), scope="read")) == "read"
