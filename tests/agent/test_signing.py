"""Whether the client's secret signs its ID tokens."""

from collections.abc import Sequence

import pytest

from auth_agent.oauth.signing import mac_algorithm


@pytest.mark.parametrize(
    ("configured", "supported", "expected"),
    [
        ("HS256", None, "HS256"),
        ("HS512", ["RS256", "HS256"], "HS512"),
        ("RS256", ["HS256"], None),
        (None, None, None),
        (None, [], None),
        (None, ["none"], None),
        (None, ["RS256", "HS256"], None),
        (None, ["HS256", "ES256K"], None),
        (None, ["HS256"], "HS256"),
        (None, ["HS512", "none"], "HS512"),
        (None, ["HS512", "HS256"], "HS256"),
    ],
)
def test_a_mac_counts_where_the_account_says_so_or_nothing_else_is_possible(
    configured: str | None, supported: Sequence[str] | None, expected: str | None
) -> None:
    assert mac_algorithm(configured, supported) == expected
