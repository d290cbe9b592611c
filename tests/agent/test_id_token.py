"""What an ID token says, and whether it speaks of the session it came for."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.id_token import (
    LEEWAY,
    claims,
    display_name,
    login_problem,
    mismatch,
    names_audience,
    session_expiry,
    subject,
)
from auth_agent.oauth.outcome import ClockWrong
from auth_agent.secret import Secret

ISSUER = "https://acme.example/"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(payload: object) -> Secret:
    return Secret(f"{encoded(b'{}')}.{encoded(json.dumps(payload).encode())}.{encoded(b'signature')}")


# ---- claims


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_the_claims_are_those_of_the_payload_however_long(payload: dict[str, object]) -> None:
    assert claims(token(payload)) == payload


def test_a_payload_with_its_padding_is_read_too() -> None:
    padded = base64.urlsafe_b64encode(b'{"sub": "a"}').decode() + "=="
    assert claims(Secret(f"h.{padded}.s")) == {"sub": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "opaque",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        f"{encoded(b'{}')}.{encoded(b'{}')}",
        f"a.{encoded(b'{}')}.c.d.e",
        f"a.{encoded(b'no JSON')}.c",
        f"a.{encoded(b'[]')}.c",
        f"a.{encoded(b'null')}.c",
        f"a.{encoded(bytes([255, 254]))}.c",
        f"a.{encoded(b'[' * 100_000)}.c",
        "a.é.c",
        "a.\ud83d.c",
    ],
)
def test_what_is_no_jwt_has_no_claims(text: str) -> None:
    assert claims(Secret(text)) is None


@given(st.text(alphabet=st.characters(codec=None)) | st.binary().map(lambda data: f"a.{encoded(data)}.c"))
def test_whatever_the_text_there_are_claims_or_none(text: str) -> None:
    found = claims(Secret(text))
    assert found is None or all(isinstance(name, str) for name in found)


# ---- audience, subject, name


@pytest.mark.parametrize("aud", ["api", ["api"], ["other", "api"]])
def test_an_audience_is_named_by_a_text_or_in_a_list(aud: object) -> None:
    assert names_audience({"aud": aud}, "api") is True


@pytest.mark.parametrize(
    "aud", [None, "", "ap", "api2", "other api", [], ["ap"], [["api"]], {"api": 1}, 7, True, [None]]
)
def test_an_audience_is_not_named_by_what_resembles_it(aud: object) -> None:
    assert names_audience({"aud": aud}, "api") is False


def test_a_token_without_an_audience_names_none() -> None:
    assert names_audience({}, "api") is False


def test_a_subject_is_a_text() -> None:
    assert subject({"sub": "auth0|1"}) == "auth0|1"


@pytest.mark.parametrize("found", [{}, {"sub": ""}, {"sub": None}, {"sub": 7}, {"sub": ["a"]}, {"sub": True}])
def test_a_subject_that_is_no_text_is_none(found: dict[str, object]) -> None:
    assert subject(found) is None


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({"name": "Anna", "email": "anna@acme.example"}, "Anna"),
        ({"email": "anna@acme.example", "nickname": "a"}, "anna@acme.example"),
        ({"preferred_username": "anna", "nickname": "a"}, "anna"),
        ({"nickname": "a"}, "a"),
        ({"name": "", "email": "anna@acme.example"}, "anna@acme.example"),
        ({"name": " \n", "email": "anna@acme.example"}, "anna@acme.example"),
        ({"name": 7, "email": ["x"], "nickname": "a"}, "a"),
        ({"name": "\x1b[31mAnna\n"}, "[31mAnna"),
        ({"name": "a" * 100}, "a" * 79 + "…"),
        ({"sub": "auth0|1"}, None),
        ({}, None),
    ],
)
def test_a_person_is_shown_by_the_first_name_there_is_made_printable(
    found: dict[str, object], name: str | None
) -> None:
    assert display_name(found) == name


# ---- the checks at a refresh

GOOD: dict[str, object] = {"iss": ISSUER, "aud": "client", "sub": "auth0|1"}


@pytest.mark.parametrize(
    "found",
    [
        GOOD,
        {**GOOD, "aud": ["client", "other"]},
        {**GOOD, "iss": "https://acme.example"},
        {**GOOD, "nonce": 7, "exp": "never"},
    ],
)
def test_an_id_token_of_the_session_has_no_mismatch(found: dict[str, object]) -> None:
    assert mismatch(found, ISSUER, "client") is None


@pytest.mark.parametrize("iss", ["https://evil.example/", "https://acme.example/tenant", "http://acme.example/", ""])
def test_another_issuer_is_a_mismatch_that_says_which(iss: str) -> None:
    assert mismatch({**GOOD, "iss": iss}, ISSUER, "client") == f"the ID token's issuer is {iss!r}, not {ISSUER!r}"


@pytest.mark.parametrize("iss", [None, 7, [ISSUER], {}])
def test_an_issuer_that_is_no_text_is_a_mismatch(iss: object) -> None:
    assert mismatch({**GOOD, "iss": iss}, ISSUER, "client") == f"the ID token's issuer is '', not {ISSUER!r}"


def test_another_issuer_s_name_is_made_printable() -> None:
    said = mismatch({**GOOD, "iss": "\x1b[31m\n"}, ISSUER, "client")
    assert said == f"the ID token's issuer is ' [31m ', not {ISSUER!r}"


@pytest.mark.parametrize(
    ("aud", "shown"),
    [
        (None, "''"),
        ("other", "'other'"),
        (["other"], "'other'"),
        (["other", "third"], "'other third'"),
        ([], "''"),
        ([7], "''"),
        ("client2", "'client2'"),
        ("\x1b[31m", "' [31m'"),
    ],
)
def test_another_client_is_a_mismatch_that_says_which(aud: object, shown: str) -> None:
    said = mismatch({**GOOD, "aud": aud}, ISSUER, "client")
    assert said == f"the ID token is meant for another client (aud is {shown})"


@pytest.mark.parametrize("sub", [None, "", 7])
def test_no_subject_is_a_mismatch(sub: object) -> None:
    assert mismatch({**GOOD, "sub": sub}, ISSUER, "client") == "the ID token names no subject"


@pytest.mark.parametrize("name", ["iss", "aud", "sub"])
def test_a_claim_that_is_missing_is_a_mismatch(name: str) -> None:
    found = {claim: value for claim, value in GOOD.items() if claim != name}
    assert mismatch(found, ISSUER, "client") is not None


@pytest.mark.parametrize(
    ("claim", "end"),
    [
        (1_800_000_000, 1_800_000_000.0),
        (1_800_000_000.5, 1_800_000_000.5),
        *((wrong, None) for wrong in (None, True, "1800000000", 0, -1, 1_800_000_000_000, float("nan"))),
    ],
)
def test_a_session_s_end_is_a_time_in_seconds(claim: object, end: float | None) -> None:
    assert session_expiry({**GOOD, "session_expiry": claim}) == end


# ---- the checks at a login

NOW = 1_800_000_000.0
NONCE = Secret("n-1")
FRESH: dict[str, object] = {**GOOD, "nonce": "n-1", "iat": NOW, "exp": NOW + 3600}


def problem(changes: dict[str, object] | None = None, nonce: Secret | None = NONCE, now: float = NOW) -> str | None:
    """What is said of a good token with these claims changed; one of None is left out."""
    changed = {claim: value for claim, value in {**FRESH, **(changes or {})}.items() if value is not None}
    found = login_problem(changed, ISSUER, "client", nonce, now)
    return None if found is None else found.reason


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["client"]},
        {"aud": ["client", "other"], "azp": "client"},
        {"azp": "client"},
        {"iss": "https://acme.example"},
        {"iat": int(NOW), "exp": int(NOW) + 1},
        {"iat": NOW + 59, "exp": NOW + 100},
        {"iat": NOW - 59},
        {"iat": NOW - 300 - LEEWAY},
        {"iat": NOW - 120, "exp": NOW - 59},
        {"nbf": NOW + 59},
        {"nbf": 0},
        {"acr": [7], "auth_time": "never"},
    ],
    ids=str,
)
def test_an_id_token_issued_just_now_is_good(changes: dict[str, object]) -> None:
    assert problem(changes) is None


def test_a_nonce_is_looked_at_only_where_one_was_sent() -> None:
    assert problem({"nonce": "another"}, nonce=None) is None
    assert problem({"nonce": 7}, nonce=None) is None
    assert problem({"nonce": None}, nonce=None) is None


AZP = "the ID token was issued to another client (azp is {})"
UNSAID = "the ID token has several audiences ({}) and no authorized party (azp)"
NO_TEXTS = "the ID token's audiences (aud) are not strings"
NO_NONCE = "the ID token doesn't repeat this login's nonce"
OTHER_NONCE = "the ID token is for another login (its nonce differs)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "https://evil.example"}, f"the ID token's issuer is 'https://evil.example', not {ISSUER!r}"),
        (
            {"iss": "https://acme.example//evil"},
            f"the ID token's issuer is 'https://acme.example//evil', not {ISSUER!r}",
        ),
        ({"aud": "other"}, "the ID token is meant for another client (aud is 'other')"),
        ({"aud": {"client": 1}}, "the ID token is meant for another client (aud is '')"),
        ({"aud": ["client", "other"]}, UNSAID.format("'client other'")),
        ({"aud": ["client", 7]}, NO_TEXTS),
        ({"aud": ["client", ["client"]], "azp": "client"}, NO_TEXTS),
        ({"aud": ["client", "other"], "azp": "other"}, AZP.format("'other'")),
        ({"azp": "other"}, AZP.format("'other'")),
        ({"azp": ""}, AZP.format("''")),
        ({"azp": ["client"]}, AZP.format("''")),
        ({"azp": "\x1b[31m"}, AZP.format("' [31m'")),
        ({"sub": None}, "the ID token names no subject"),
        ({"sub": ""}, "the ID token names no subject"),
        ({"sub": 7}, "the ID token names no subject"),
        ({"nonce": None}, NO_NONCE),
        ({"nonce": 7}, NO_NONCE),
        ({"nonce": ["n-1"]}, NO_NONCE),
        ({"nonce": ""}, OTHER_NONCE),
        ({"nonce": "n-1 "}, OTHER_NONCE),
        ({"nonce": "N-1"}, OTHER_NONCE),
        ({"nonce": "\ud83d"}, OTHER_NONCE),
        ({"iat": None}, "the ID token doesn't say when it was issued (iat)"),
        ({"exp": None}, "the ID token doesn't say when it expires (exp)"),
        ({"exp": NOW}, "the ID token expired before it was issued (exp is before iat)"),
        ({"exp": 0}, "the ID token expired before it was issued (exp is before iat)"),
        ({"nbf": NOW + 600}, "the ID token isn't valid for another 10 minutes (nbf)"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_in_words(changes: dict[str, object], said: str) -> None:
    assert problem(changes) == said


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize(
    "value",
    [True, False, "1800000000", [], {}, float("nan"), float("inf"), float("-inf"), -1, 10**400, NOW * 1000],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_time_is_called_that(claim: str, value: object) -> None:
    assert problem({claim: value}) == f"the ID token's {claim} is not a time in seconds"


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        (-61, "about 61 seconds behind the provider's (the ID token was issued later than now)"),
        (-600, "about 10 minutes behind the provider's (the ID token was issued later than now)"),
        (-7200, "about 2 hours behind the provider's (the ID token was issued later than now)"),
        (-NOW + 1, "about 20833 days behind the provider's (the ID token was issued later than now)"),
        (361, "about 6 minutes ahead of the provider's, or the ID token is that old"),
        (600, "about 10 minutes ahead of the provider's, or the ID token is that old"),
        (86_400, "about 24 hours ahead of the provider's, or the ID token is that old"),
    ],
)
def test_a_wrong_clock_is_a_failure_of_its_own(offset: float, said: str) -> None:
    found = login_problem(FRESH, ISSUER, "client", NONCE, NOW + offset)
    assert found == ClockWrong(f"this machine's clock is {said}")


@pytest.mark.parametrize("offset", [-59, 59])
def test_a_clock_that_is_59_seconds_off_is_good(offset: float) -> None:
    assert problem(now=NOW + offset) is None
    assert problem({"exp": NOW + 1}, now=NOW + offset) is None


def test_a_token_of_short_life_has_expired_for_a_clock_that_is_ahead() -> None:
    said = problem({"exp": NOW + 60}, now=NOW + 180)
    assert said is not None
    assert said.startswith("this machine's clock is about 2 minutes ahead of the provider's, or more (the ID token has")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["iss", "sub", "aud", "azp", "nonce", "iat", "exp", "nbf"]), ANYTHING))
def test_whatever_a_claim_holds_there_is_a_printable_text_or_none(changes: dict[str, Any]) -> None:
    said = login_problem({**FRESH, **changes}, ISSUER, "client", NONCE, NOW)
    assert said is None or (said.reason.isprintable() and len(said.reason) < 600)


def test_no_claim_and_no_nonce_that_is_a_secret_is_told() -> None:
    said = problem({"nonce": "another-canary"}, nonce=Secret("canary"))
    assert said is not None
    assert "canary" not in said
