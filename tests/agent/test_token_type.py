"""The types of tokens: which serve one use, by what a response says of them."""

import pytest

from auth_agent.token_type import is_single_use


@pytest.mark.parametrize(
    ("token_type", "issued"),
    [
        ("Bearer", None),
        ("Bearer", "urn:ietf:params:oauth:token-type:access_token"),
        ("Bearer", "urn:ietf:params:oauth:token-type:jwt"),
        ("Bearer", "access_token"),
        ("Bearer", "JWT"),
        ("Bearer", ""),
        ("Bearer", 7),
        (None, None),
    ],
)
def test_an_access_token_serves_any_number_of_uses(token_type: object, issued: object) -> None:
    assert not is_single_use(token_type, issued)


@pytest.mark.parametrize(
    ("token_type", "issued"),
    [
        ("N_A", None),
        ("n_a", "urn:ietf:params:oauth:token-type:access_token"),
        ("Bearer", "urn:auth0:params:oauth:token-type:session_transfer_token"),
        ("Bearer", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("Bearer", "id_token"),
    ],
)
def test_another_token_serves_one(token_type: object, issued: object) -> None:
    assert is_single_use(token_type, issued)
