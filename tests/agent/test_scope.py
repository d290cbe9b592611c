"""Scopes, and the spellings by which providers list them."""

import pytest

from auth_agent.oauth.scope import has, missing, normalized, without


def test_the_order_and_the_number_of_scopes_does_not_matter() -> None:
    assert normalized(" b  a b ") == "a b"


@pytest.mark.parametrize(
    ("wanted", "granted"),
    [
        ("read", "openid read"),
        ("user.read", "User.Read"),  # Entra
        ("https://graph.microsoft.com/User.Read", "User.Read profile"),
        ("User.Read", "profile openid https://graph.microsoft.com/User.Read"),
        (
            "email profile",
            "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile",
        ),
        ("https://www.googleapis.com/auth/userinfo.email", "email"),
        ("repo read:user", "repo,read:user"),  # GitHub
        ("repo read:user", "read:user, repo"),
        ("a,b", "a,b c"),
        ("repo,user", "user,repo"),  # what GitHub's manner listed before, in another order
        ("repo,user", "user repo"),
    ],
)
def test_a_scope_is_granted_by_any_of_its_spellings(wanted: str, granted: str) -> None:
    assert missing(wanted.split(), granted) == ()


@pytest.mark.parametrize(
    ("wanted", "granted"),
    [
        ("write", "read"),
        ("read", ""),
        ("read", "read:all"),
        ("read", "https://host.example/read/all"),
        ("email", "userinfo.profile"),
    ],
)
def test_another_scope_is_not_granted(wanted: str, granted: str) -> None:
    assert missing([wanted], granted) == (wanted,)


def test_of_scopes_that_were_listed_with_commas_those_are_missing_that_are_not_listed_any_more() -> None:
    assert missing(["repo,user"], "repo") == ("user",)


def test_a_token_has_what_was_listed_and_what_was_asked_for_by_it() -> None:
    assert has("openid email", "openid https://www.googleapis.com/auth/userinfo.email") == {
        "openid",
        "email",
        "https://www.googleapis.com/auth/userinfo.email",
    }
    assert has("read write", "READ") == {"read", "READ"}
    assert has("read write", None) == {"read", "write"}


@pytest.mark.parametrize(
    ("scope", "lost", "left"),
    [
        ("read write", "write", "read"),
        ("read write", "", "read write"),
        ("repo,user,email", "user", "repo email"),
        ("repo,user", "", "repo,user"),
        ("https://host.example/Read write", "read", "write"),
    ],
)
def test_what_a_provider_took_is_left_out_by_any_of_its_spellings(scope: str, lost: str, left: str) -> None:
    assert without(scope, lost) == left
