"""An access token, and how a request is authorized with it."""

import pytest

from auth_agent_client import Token


def token(token_type: str = "Bearer") -> Token:
    return Token("work", "secret", token_type, 4e9, None, None)


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_a_request_is_authorized_as_the_standard_spells_it(token_type: str) -> None:
    assert token(token_type).headers("GET", "https://api.example/") == {"Authorization": "Bearer secret"}


def test_another_type_of_token_is_sent_as_its_provider_spells_it() -> None:
    assert token("MAC").headers("GET", "https://api.example/") == {"Authorization": "MAC secret"}


def test_headers_may_be_changed_without_changing_the_next_ones() -> None:
    one = token()
    one.headers("GET", "https://api.example/").clear()
    assert one.headers("GET", "https://api.example/") == {"Authorization": one.authorization}
