"""What an API's challenge says, and whether only another login helps."""

import pytest

from auth_agent.oauth.challenge import Challenge, parse_challenges, wanted_login

CHALLENGES: list[tuple[str, list[tuple[str, dict[str, str]]]]] = [
    ("", []),
    (" , ,", []),
    ("Bearer", [("bearer", {})]),
    ('Bearer realm="a, b", Error=invalid_token', [("bearer", {"realm": "a, b", "error": "invalid_token"})]),
    ("Negotiate YWJj==, Bearer realm=x", [("negotiate", {}), ("bearer", {"realm": "x"})]),
    ("Basic , Bearer", [("basic", {}), ("bearer", {})]),
    ('Digest a="\\"q\\\\", b = c', [("digest", {"a": '"q\\', "b": "c"})]),
    ('Bearer realm="open', []),
    ("Bearer a=1, a=2", []),
    ('realm="no scheme"', []),
    ("Bearer scope=a b", []),
]


@pytest.mark.parametrize(("value", "challenges"), CHALLENGES)
def test_challenges_are_read_as_rfc_9110_writes_them(value: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(value) == tuple(Challenge(*challenge) for challenge in challenges)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ('Bearer error="invalid_token"', None),
        ("Bearer", None),
        ('Basic error="insufficient_scope"', None),
        ('Bearer error="insufficient_scope", scope="read write"', "insufficient_scope (read write)"),
        ('Basic realm="x", DPoP error="insufficient_scope"', "insufficient_scope"),
        (
            'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="5"',
            "insufficient_user_authentication (mfa)",
        ),
        ('Bearer realm="", error="insufficient_claims", claims="eyJ9"', "insufficient_claims"),
        ('Bearer error="invalid_token", claims="eyJ9"', "insufficient_claims"),
        ('Bearer error="insufficient_scope", scope="\x1b[31m', None),
    ],
)
def test_a_login_is_wanted_only_by_a_challenge_that_says_so(value: str, wanted: str | None) -> None:
    assert wanted_login(value) == wanted
