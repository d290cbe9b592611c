"""Access tokens, and the headers that authorize a request."""

import pytest

from auth_agent_client import Internal, Token
from auth_agent_client.token import token_from


def token(token_type: str = "Bearer") -> Token:
    return Token("work", "secret", token_type, 4e9, None, None)


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_bearer_is_spelled_as_in_the_standard(token_type: str) -> None:
    assert token(token_type).headers("GET", "https://api.example/") == {"Authorization": "Bearer secret"}


def test_another_token_type_is_sent_as_the_provider_spells_it() -> None:
    assert token("MAC").headers("GET", "https://api.example/") == {"Authorization": "MAC secret"}


@pytest.mark.parametrize(
    ("sent", "verified"), [({"audience_verified": True}, True), ({"audience_verified": False}, False), ({}, False)]
)
def test_a_token_of_an_agent_that_does_not_say_has_no_verified_audience(
    sent: dict[str, object], verified: bool
) -> None:
    result = {"account": "work", "access_token": "at", "token_type": "Bearer", "expires_at": 4e9, **sent}
    assert token_from(result).audience_verified is verified


def test_a_token_may_have_no_known_end_but_must_say_so() -> None:
    result = {"account": "work", "access_token": "at", "token_type": "Bearer"}
    assert token_from({**result, "expires_at": None}).expires_at is None
    for missing in (result, {**result, "expires_at": "soon"}):
        with pytest.raises(Internal):
            token_from(missing)


def test_changing_headers_does_not_change_later_ones() -> None:
    bearer_token = token()
    bearer_token.headers("GET", "https://api.example/").clear()
    assert bearer_token.headers("GET", "https://api.example/") == {"Authorization": bearer_token.authorization}
