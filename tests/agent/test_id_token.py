"""The claims of an ID token, and the checks that bind it to its session."""

import base64
import json
import re
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


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(payload: object) -> Secret:
    return Secret(f"{encode(b'{}')}.{encode(json.dumps(payload).encode())}.{encode(b'signature')}")


def quoted(reason: str | None) -> list[str]:
    """Return what a reason quotes."""
    assert reason is not None
    return re.findall(r"(?<![a-z])'([^']*)'", reason)


def without_quotes(reason: str | None) -> str:
    """Return a reason without what it quotes."""
    assert reason is not None
    return re.sub(r"(?<![a-z])'[^']*'", "", reason)


# ---- claims


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_claims_of_any_length_are_read(payload: dict[str, object]) -> None:
    assert claims(token(payload)) == payload


def test_a_payload_with_base64_padding_is_read() -> None:
    padded = base64.urlsafe_b64encode(b'{"sub": "a"}').decode() + "=="
    assert claims(Secret(f"h.{padded}.s")) == {"sub": "a"}


@pytest.mark.parametrize(
    "string",
    [
        "",
        "opaque",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        f"{encode(b'{}')}.{encode(b'{}')}",
        f"a.{encode(b'{}')}.c.d.e",
        f"a.{encode(b'not JSON')}.c",
        f"a.{encode(b'[]')}.c",
        f"a.{encode(b'null')}.c",
        f"a.{encode(bytes([255, 254]))}.c",
        f"a.{encode(b'[' * 100_000)}.c",
        "a.é.c",
        "a.\ud83d.c",
    ],
)
def test_a_string_that_is_not_a_jwt_has_no_claims(string: str) -> None:
    assert claims(Secret(string)) is None


@given(st.text(alphabet=st.characters(codec=None)) | st.binary().map(lambda data: f"a.{encode(data)}.c"))
def test_any_string_has_claims_or_none(string: str) -> None:
    result = claims(Secret(string))
    assert result is None or all(isinstance(name, str) for name in result)


# ---- audience, subject, name


@pytest.mark.parametrize("aud", ["api", ["api"], ["other", "api"]])
def test_the_audience_is_a_string_or_in_a_list(aud: object) -> None:
    assert names_audience({"aud": aud}, "api") is True


@pytest.mark.parametrize(
    "aud", [None, "", "ap", "api2", "other api", [], ["ap"], [["api"]], {"api": 1}, 7, True, [None]]
)
def test_a_similar_audience_is_not_the_audience(aud: object) -> None:
    assert names_audience({"aud": aud}, "api") is False


def test_a_token_without_aud_has_no_audience() -> None:
    assert names_audience({}, "api") is False


def test_the_subject_is_a_string() -> None:
    assert subject({"sub": "auth0|1"}) == "auth0|1"


@pytest.mark.parametrize("id_token_claims", [{}, {"sub": ""}, {"sub": None}, {"sub": 7}, {"sub": ["a"]}, {"sub": True}])
def test_a_subject_that_is_not_a_string_is_none(id_token_claims: dict[str, object]) -> None:
    assert subject(id_token_claims) is None


@pytest.mark.parametrize(
    ("id_token_claims", "name"),
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
def test_the_display_name_is_the_first_usable_claim_made_printable(
    id_token_claims: dict[str, object], name: str | None
) -> None:
    assert display_name(id_token_claims) == name


# ---- the checks at a refresh

GOOD: dict[str, object] = {"iss": ISSUER, "aud": "client", "sub": "auth0|1"}


@pytest.mark.parametrize(
    "id_token_claims",
    [
        GOOD,
        {**GOOD, "aud": ["client", "other"]},
        {**GOOD, "iss": "https://acme.example"},
        {**GOOD, "nonce": 7, "exp": "never"},
    ],
)
def test_an_id_token_of_the_session_has_no_mismatch(id_token_claims: dict[str, object]) -> None:
    assert mismatch(id_token_claims, ISSUER, "client") is None


@pytest.mark.parametrize("iss", ["https://evil.example/", "https://acme.example/tenant", "http://acme.example/", ""])
def test_another_issuer_is_a_mismatch_that_quotes_it(iss: str) -> None:
    reason = mismatch({**GOOD, "iss": iss}, ISSUER, "client")
    assert quoted(reason) == [iss, ISSUER]


@pytest.mark.parametrize("iss", [None, 7, [ISSUER], {}])
def test_an_issuer_that_is_not_a_string_is_a_mismatch(iss: object) -> None:
    assert quoted(mismatch({**GOOD, "iss": iss}, ISSUER, "client")) == ["", ISSUER]


def test_a_quoted_issuer_is_made_printable() -> None:
    assert quoted(mismatch({**GOOD, "iss": "\x1b[31m\n"}, ISSUER, "client")) == [" [31m ", ISSUER]


@pytest.mark.parametrize(
    ("aud", "shown"),
    [
        (None, ""),
        ("other", "other"),
        (["other"], "other"),
        (["other", "third"], "other third"),
        ([], ""),
        ([7], ""),
        ("client2", "client2"),
        ("\x1b[31m", " [31m"),
    ],
)
def test_another_client_is_a_mismatch_that_quotes_the_audience(aud: object, shown: str) -> None:
    assert quoted(mismatch({**GOOD, "aud": aud}, ISSUER, "client")) == [shown]


@pytest.mark.parametrize("sub", [None, "", 7])
def test_a_missing_subject_is_a_mismatch(sub: object) -> None:
    reason = mismatch({**GOOD, "sub": sub}, ISSUER, "client")
    assert reason is not None
    assert "subject" in reason


@pytest.mark.parametrize("name", ["iss", "aud", "sub"])
def test_a_missing_claim_is_a_mismatch(name: str) -> None:
    id_token_claims = {claim: value for claim, value in GOOD.items() if claim != name}
    assert mismatch(id_token_claims, ISSUER, "client") is not None


@pytest.mark.parametrize(
    ("claim", "end"),
    [
        (1_800_000_000, 1_800_000_000.0),
        (1_800_000_000.5, 1_800_000_000.0),  # a fraction is cut
        *((wrong, None) for wrong in (None, True, "1800000000", 0, 0.5, -1, 3600, 1_800_000_000_000, float("nan"))),
    ],
)
def test_session_expiry_is_a_time_in_seconds(claim: object, end: float | None) -> None:
    assert session_expiry({**GOOD, "session_expiry": claim}) == end


# ---- the checks at a login

NOW = 1_800_000_000.0
NONCE = Secret("n-1")
FRESH: dict[str, object] = {**GOOD, "nonce": "n-1", "iat": NOW, "exp": NOW + 3600}


def problem(changes: dict[str, object] | None = None, nonce: Secret | None = NONCE, now: float = NOW) -> str | None:
    """Return why a valid token with these claims changed is refused; a claim of None is left out."""
    changed = {claim: value for claim, value in {**FRESH, **(changes or {})}.items() if value is not None}
    failure = login_problem(changed, ISSUER, "client", nonce, now)
    return None if failure is None else failure.reason


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["client"]},
        {"aud": ["client", "other"], "azp": "client"},
        {"aud": ["client", "https://idcs.example"]},  # as Oracle has it; errata set 2 needs no azp
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
def test_a_recently_issued_id_token_is_accepted(changes: dict[str, object]) -> None:
    assert problem(changes) is None


def test_the_nonce_is_checked_only_if_one_was_sent() -> None:
    assert problem({"nonce": "another"}, nonce=None) is None
    assert problem({"nonce": 7}, nonce=None) is None
    assert problem({"nonce": None}, nonce=None) is None


Changes = dict[str, object]

# Changes that are refused for one reason each.
OTHER_ISSUER: Changes = {"iss": "https://evil.example"}
OTHER_AUDIENCE: Changes = {"aud": "other"}
AUDIENCE_NOT_A_STRING: Changes = {"aud": ["client", 1]}
OTHER_AZP: Changes = {"azp": "other"}
NO_SUBJECT: Changes = {"sub": None}
OTHER_SUBJECT: Changes = {"sub": "jürgen"}
NO_NONCE: Changes = {"nonce": None}
OTHER_NONCE: Changes = {"nonce": "x"}
NO_IAT: Changes = {"iat": None}
NO_EXP: Changes = {"exp": None}
EXP_BEFORE_IAT: Changes = {"exp": NOW - 1}
NOT_VALID_YET: Changes = {"nbf": NOW + 600}


@pytest.mark.parametrize(
    ("changes", "example", "quotes"),
    [
        ({"iss": "https://evil.example"}, OTHER_ISSUER, ["https://evil.example", ISSUER]),
        ({"iss": "https://acme.example//evil"}, OTHER_ISSUER, ["https://acme.example//evil", ISSUER]),
        ({"aud": "other"}, OTHER_AUDIENCE, ["other"]),
        ({"aud": {"client": 1}}, OTHER_AUDIENCE, [""]),
        ({"aud": ["client", 7]}, AUDIENCE_NOT_A_STRING, []),
        ({"aud": ["client", ["client"]], "azp": "client"}, AUDIENCE_NOT_A_STRING, []),
        ({"aud": ["client", "other"], "azp": "other"}, OTHER_AZP, ["other"]),
        ({"azp": "other"}, OTHER_AZP, ["other"]),
        ({"azp": ""}, OTHER_AZP, [""]),
        ({"azp": ["client"]}, OTHER_AZP, [""]),
        ({"azp": "\x1b[31m"}, OTHER_AZP, [" [31m"]),
        ({"sub": None}, NO_SUBJECT, []),
        ({"sub": ""}, OTHER_SUBJECT, []),
        ({"sub": 7}, OTHER_SUBJECT, []),
        ({"sub": "x" * 256}, OTHER_SUBJECT, []),
        ({"nonce": None}, NO_NONCE, []),
        ({"nonce": 7}, NO_NONCE, []),
        ({"nonce": ["n-1"]}, NO_NONCE, []),
        ({"nonce": ""}, OTHER_NONCE, []),
        ({"nonce": "n-1 "}, OTHER_NONCE, []),
        ({"nonce": "N-1"}, OTHER_NONCE, []),
        ({"nonce": "\ud83d"}, OTHER_NONCE, []),
        ({"iat": None}, NO_IAT, []),
        ({"exp": None}, NO_EXP, []),
        ({"exp": NOW}, EXP_BEFORE_IAT, []),
        ({"exp": 0}, EXP_BEFORE_IAT, []),
        ({"nbf": NOW + 600}, NOT_VALID_YET, []),
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused_for_its_own_reason(changes: Changes, example: Changes, quotes: list[str]) -> None:
    reason = problem(changes)
    assert without_quotes(reason) == without_quotes(problem(example))
    assert quoted(reason) == quotes


def test_each_kind_of_wrong_claim_has_its_own_reason() -> None:
    examples: list[Changes] = [
        *(OTHER_ISSUER, OTHER_AUDIENCE, AUDIENCE_NOT_A_STRING, OTHER_AZP, NO_SUBJECT, OTHER_SUBJECT, NO_NONCE),
        *(OTHER_NONCE, NO_IAT, NO_EXP, EXP_BEFORE_IAT, NOT_VALID_YET),
    ]
    assert len({without_quotes(problem(example)) for example in examples}) == len(examples)


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize(
    "value",
    [True, False, "1800000000", [], {}, float("nan"), float("inf"), float("-inf"), -1, 10**400, NOW * 1000],
    ids=lambda value: repr(value)[:20],
)
def test_a_claim_that_is_not_a_time_in_seconds_is_refused_by_its_name(claim: str, value: object) -> None:
    reason = problem({claim: value})
    assert reason is not None
    assert reason == problem({claim: "now"})
    assert claim in reason.split()


@pytest.mark.parametrize(
    ("offset", "span", "direction"),
    [
        (-61, "61 seconds", "behind"),
        (-600, "10 minutes", "behind"),
        (-7200, "2 hours", "behind"),
        (-NOW + 1, "20833 days", "behind"),
        (361, "6 minutes", "ahead"),
        (600, "10 minutes", "ahead"),
        (86_400, "24 hours", "ahead"),
    ],
)
def test_a_wrong_clock_is_reported_as_such(offset: float, span: str, direction: str) -> None:
    failure = login_problem(FRESH, ISSUER, "client", NONCE, NOW + offset)
    assert isinstance(failure, ClockWrong)
    assert f"about {span} {direction}" in failure.reason


@pytest.mark.parametrize("offset", [-59, 59])
def test_a_clock_that_is_59_seconds_off_is_tolerated(offset: float) -> None:
    assert problem(now=NOW + offset) is None
    assert problem({"exp": NOW + 1}, now=NOW + offset) is None


def test_a_short_lived_token_has_expired_for_a_clock_that_is_ahead() -> None:
    failure = login_problem({**FRESH, "exp": NOW + 60}, ISSUER, "client", NONCE, NOW + 180)
    assert isinstance(failure, ClockWrong)
    assert "2 minutes ahead" in failure.reason
    assert failure != login_problem(FRESH, ISSUER, "client", NONCE, NOW + 3600 + 180)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["iss", "sub", "aud", "azp", "nonce", "iat", "exp", "nbf"]), ANYTHING))
def test_any_claims_give_a_printable_reason_or_none(changes: dict[str, Any]) -> None:
    failure = login_problem({**FRESH, **changes}, ISSUER, "client", NONCE, NOW)
    assert failure is None or (failure.reason.isprintable() and len(failure.reason) < 600)


def test_the_reason_contains_no_nonce() -> None:
    reason = problem({"nonce": "another-canary"}, nonce=Secret("canary"))
    assert reason is not None
    assert "canary" not in reason
