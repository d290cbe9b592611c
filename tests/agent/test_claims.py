"""How a person is shown what a provider tells of a user."""

import time

import pytest
from hypothesis import given, strategies as st

from auth_agent.cli.claims import profile_lines, user_lines
from auth_agent.cli.terminal import PLAIN, Terminal, columns
from auth_agent_client import Profile

NOW = 1_800_000_000.0
CLAIMS: dict[str, object] = {
    "sub": "auth0|alice",
    "name": "Alice Example",
    "given_name": "Alice",
    "family_name": "Example",
    "nickname": "al",
    "email": "alice@example.org",
    "email_verified": True,
    "picture": "https://example.org/alice.png",
    "updated_at": NOW - 3600,
    "locale": "en",
    "https://acme.example/roles": ["admin", "deploy"],
    "https://acme.example/groups/of-the-user": {"site": "Oslo"},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted(CLAIMS)) | st.text(max_size=60)


def date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def shown(claims: dict[str, object], look: Terminal = PLAIN, *, stale: bool = False, fetched_at: float = NOW) -> str:
    return "\n".join(profile_lines(Profile("work", claims, fetched_at, stale=stale), NOW, look))


def test_a_profile_is_the_standard_claims_and_below_them_the_others() -> None:
    assert (
        shown(CLAIMS, Terminal(66))
        == f"""\
● work  Alice Example
  email     alice@example.org ✓ verified
  given     Alice
  family    Example
  nickname  al
  picture   https://example.org/alice.png
  subject   auth0|alice
  updated   {date(NOW - 3600)}, 1 h ago

  locale                      en
  https://acme.example/roles  ["admin", "deploy"]
  https://acme.example/groups/of-the-user
                              {{"site": "Oslo"}}"""
    )


def test_in_a_pipe_each_claim_is_a_line() -> None:
    claims = {**CLAIMS, "about": "word " * 100}
    lines = shown(claims).splitlines()
    assert len(lines) == 1 + 7 + 1 + 4
    assert '  https://acme.example/roles  ["admin", "deploy"]' in lines


def test_what_is_not_told_has_no_line() -> None:
    assert shown({"sub": "auth0|alice"}) == "● work\n  subject  auth0|alice"
    assert shown({}) == "● work"


def test_a_mail_address_that_is_not_verified_is_a_warning() -> None:
    colours = Terminal(80, colour=True)
    assert "a@b.example \x1b[33mnot verified\x1b[0m" in shown(
        {"email": "a@b.example", "email_verified": False}, colours
    )
    assert "a@b.example \x1b[32m✓ verified\x1b[0m" in shown({"email": "a@b.example", "email_verified": "true"}, colours)
    assert shown({"email": "a@b.example"}) == "● work\n  email  a@b.example"


def test_a_profile_that_is_stale_says_of_when_it_is() -> None:
    said = shown(CLAIMS, stale=True, fetched_at=NOW - 300).splitlines()
    assert said[0].startswith("▲ work")
    assert f"  stale     as of {date(NOW - 300)}, 5 min ago; the provider could not be reached" in said
    assert "stale" not in shown(CLAIMS)


def test_claims_of_another_type_than_the_standard_has_are_shown_with_the_others() -> None:
    claims: dict[str, object] = {"sub": 7, "name": ["Alice"], "email_verified": "maybe", "updated_at": "yesterday"}
    assert shown(claims).splitlines()[1:] == [
        "",
        "  sub             7",
        '  name            ["Alice"]',
        "  email_verified  maybe",
        "  updated_at      yesterday",
    ]


def test_an_encoding_without_the_mark_does_without_it() -> None:
    assert "alice@example.org verified" in shown(CLAIMS, Terminal(encoding="ascii"))


def test_a_user_is_a_line_a_member() -> None:
    user: dict[str, object] = {
        "user_id": "auth0|alice",
        "logins_count": 3,
        "blocked": False,
        "user_metadata": {"country": "Canada"},
        "note": "",
    }
    assert user_lines(user) == [
        "user_id        auth0|alice",
        "logins_count   3",
        "blocked        false",
        'user_metadata  {"country": "Canada"}',
        'note           ""',
    ]


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.sampled_from([30, 80, None]), st.booleans())
def test_whatever_is_told_fits_and_steers_no_terminal(
    claims: dict[str, object], width: int | None, stale: bool
) -> None:
    look = Terminal(width)
    for lines in (
        profile_lines(Profile("work", claims, NOW, stale=stale), NOW, look),
        user_lines(claims, look),
    ):
        assert all(line.isprintable() for line in lines)
        assert width is None or all(columns(line) <= width for line in lines)


@pytest.mark.parametrize("width", [None, 80])
def test_a_value_without_an_end_is_cut(width: int | None) -> None:
    assert len(shown({"x": "y" * 100_000}, Terminal(width))) < 5000
