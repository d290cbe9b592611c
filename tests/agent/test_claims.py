"""How the command line shows a user's claims."""

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


def local_time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def show(claims: dict[str, object], terminal: Terminal = PLAIN, *, stale: bool = False, fetched_at: float = NOW) -> str:
    return "\n".join(profile_lines(Profile("work", claims, fetched_at, stale=stale), NOW, terminal))


def test_a_profile_shows_the_standard_claims_above_the_others() -> None:
    assert (
        show(CLAIMS, Terminal(66))
        == f"""\
● work  Alice Example
  email     alice@example.org ✓ verified
  given     Alice
  family    Example
  nickname  al
  picture   https://example.org/alice.png
  subject   auth0|alice
  updated   {local_time(NOW - 3600)}, 1 h ago

  locale                      en
  https://acme.example/roles  ["admin", "deploy"]
  https://acme.example/groups/of-the-user
                              {{"site": "Oslo"}}"""
    )


def test_in_a_pipe_each_claim_is_one_line() -> None:
    claims = {**CLAIMS, "about": "word " * 100}
    lines = show(claims).splitlines()
    assert len(lines) == 1 + 7 + 1 + 4
    assert '  https://acme.example/roles  ["admin", "deploy"]' in lines


def test_a_missing_claim_has_no_line() -> None:
    assert show({"sub": "auth0|alice"}) == "● work\n  subject  auth0|alice"
    assert show({}) == "● work"


def test_an_unverified_email_is_a_warning() -> None:
    colours = Terminal(80, colour=True)
    assert "a@b.example \x1b[33mnot verified\x1b[0m" in show({"email": "a@b.example", "email_verified": False}, colours)
    assert "a@b.example \x1b[32m✓ verified\x1b[0m" in show({"email": "a@b.example", "email_verified": "true"}, colours)
    assert show({"email": "a@b.example"}) == "● work\n  email  a@b.example"


def test_a_stale_profile_shows_its_time() -> None:
    lines = show(CLAIMS, stale=True, fetched_at=NOW - 300).splitlines()
    assert lines[0].startswith("▲ work")
    assert f"  stale     as of {local_time(NOW - 300)}, 5 min ago; the provider gave no newer ones" in lines
    assert "stale" not in show(CLAIMS)


def test_standard_claims_of_a_wrong_type_are_shown_with_the_others() -> None:
    claims: dict[str, object] = {"sub": 7, "name": ["Alice"], "email_verified": "maybe", "updated_at": "yesterday"}
    assert show(claims).splitlines()[1:] == [
        "",
        "  sub             7",
        '  name            ["Alice"]',
        "  email_verified  maybe",
        "  updated_at      yesterday",
    ]


def test_a_mark_that_the_encoding_lacks_is_left_out() -> None:
    assert "alice@example.org verified" in show(CLAIMS, Terminal(encoding="ascii"))


def test_a_user_has_a_line_for_each_member() -> None:
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
def test_any_claims_are_printable_lines_that_fit(claims: dict[str, object], width: int | None, stale: bool) -> None:
    terminal = Terminal(width)
    for lines in (
        profile_lines(Profile("work", claims, NOW, stale=stale), NOW, terminal),
        user_lines(claims, terminal),
    ):
        assert all(line.isprintable() for line in lines)
        assert width is None or all(columns(line) <= width for line in lines)


@pytest.mark.parametrize("width", [None, 80])
def test_a_very_long_value_is_cut(width: int | None) -> None:
    assert len(show({"x": "y" * 100_000}, Terminal(width))) < 5000
