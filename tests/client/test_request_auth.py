"""Which requests get a token, and which responses reject it."""

import pytest

from auth_agent_client.errors import (
    AgentNotRunning,
    ConnectionLost,
    Denied,
    Locked,
    LoginRequired,
    Misconfigured,
    Timeout,
    Unavailable,
    UnknownAccount,
)
from auth_agent_client.messages import MAX_CHALLENGE, check
from auth_agent_client.request_auth import Answer, RequestAuth, RequestToken, must_be_raised
from auth_agent_client.token import Token

URL = "https://api.example/a/b?key=hunter2#hunter2"
TOKEN = Token("work", "at", "Bearer", 4e9, None, None)
GIVEN = RequestToken({"account": "work", "url": "https://api.example/a/b"}, TOKEN)
OURS = "Bearer at"
WANTED = [
    'Bearer error="insufficient_scope", scope="read"',
    'Bearer realm="api", error="insufficient_user_authentication", acr_values="mfa"',
    'Bearer error="insufficient_claims", claims="eyJ9"',
    'Basic realm="api", Bearer claims="eyJ9"',
]


def given(params: dict[str, object]) -> dict[str, object]:
    """Return the parameters that are sent."""
    sent = {name: value for name, value in params.items() if value is not None}
    check("token", sent)
    return sent


def test_the_agent_gets_the_url_without_query_and_the_directory() -> None:
    rules = RequestAuth(None, None, None, None)
    sent = given(rules.token_params(URL, "/home/anna"))
    assert sent == {"url": "https://api.example/a/b", "directory": "/home/anna"}
    assert given(rules.token_params("https://api.example#?", None)) == {"url": "https://api.example"}


def test_an_account_an_audience_and_scopes_are_sent_along() -> None:
    sent = given(RequestAuth("work", "https://api.example", "read", None).token_params("https://api.example", None))
    assert sent == {
        "account": "work",
        "audience": "https://api.example",
        "scope": "read",
        "url": "https://api.example",
    }


def test_with_origins_the_agent_gets_no_url() -> None:
    rules = RequestAuth("work", None, "read", ["https://api.example"])
    assert given(rules.token_params(URL, "/home/anna")) == {"account": "work", "scope": "read"}
    with pytest.raises(Denied):
        rules.token_params("https://evil.example/", "/home/anna")


@pytest.mark.parametrize("challenge", [None, 'Bearer error="invalid_token"', *WANTED])
def test_a_401_rejects_the_token(challenge: str | None) -> None:
    params = GIVEN.rejected_params(Answer(OURS, 401, challenge))
    assert params == {**GIVEN.params, "access_token": "at", "challenge": challenge}


@pytest.mark.parametrize("challenge", WANTED)
def test_a_403_that_asks_for_another_login_rejects_the_token(challenge: str) -> None:
    params = GIVEN.rejected_params(Answer(OURS, 403, challenge))
    assert params == {**GIVEN.params, "access_token": "at", "challenge": challenge}


@pytest.mark.parametrize("challenge", [None, "", "Bearer", 'Bearer error="invalid_token"', "Basic realm=x"])
def test_any_other_403_does_not(challenge: str | None) -> None:
    assert GIVEN.rejected_params(Answer(OURS, 403, challenge)) is None


@pytest.mark.parametrize("status", [200, 302, 400, 402, 404, 407, 500])
def test_other_statuses_do_not(status: int) -> None:
    assert GIVEN.rejected_params(Answer(OURS, status, WANTED[0])) is None


@pytest.mark.parametrize("authorization", [None, "", "Bearer other", "Basic YTpi", b"Basic YTpi", "bearer at"])
def test_a_response_to_a_request_without_the_token_does_not(authorization: str | bytes | None) -> None:
    assert GIVEN.rejected_params(Answer(authorization, 401, WANTED[0])) is None


@pytest.mark.parametrize("challenge", ["", "x" * (MAX_CHALLENGE + 1)])
def test_a_challenge_that_the_agent_would_not_take_is_left_out(challenge: str) -> None:
    params = GIVEN.rejected_params(Answer(OURS, 401, challenge))
    assert params is not None
    assert params["challenge"] is None


def test_an_error_is_raised_if_a_person_has_to_act() -> None:
    assert all(map(must_be_raised, [LoginRequired("x"), Locked("x"), Misconfigured("x"), UnknownAccount("x")]))
    returned = [Denied("x"), Unavailable("x"), Timeout("x"), AgentNotRunning("x"), ConnectionLost("x")]
    assert not any(map(must_be_raised, returned))
