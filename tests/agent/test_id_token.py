"""What an ID token says, and whether it speaks of the session it came for."""

import base64
import json

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.oauth.id_token import claims, display_name, mismatch, names_audience, subject
from auth_agent.secret import Secret

ISSUER = "https://acme.example/"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(payload: object) -> Secret:
    return Secret(f"{encoded(b'{}')}.{encoded(json.dumps(payload).encode())}.{encoded(b'signature')}")


# ---- claims


@settings(deadline=None)
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


@settings(deadline=None)
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


@pytest.mark.parametrize("aud", [None, "other", ["other"], [], "client2"])
def test_another_client_is_a_mismatch(aud: object) -> None:
    assert mismatch({**GOOD, "aud": aud}, ISSUER, "client") == "the ID token is meant for another client"


@pytest.mark.parametrize("sub", [None, "", 7])
def test_no_subject_is_a_mismatch(sub: object) -> None:
    assert mismatch({**GOOD, "sub": sub}, ISSUER, "client") == "the ID token names no subject"


@pytest.mark.parametrize("name", ["iss", "aud", "sub"])
def test_a_claim_that_is_missing_is_a_mismatch(name: str) -> None:
    found = {claim: value for claim, value in GOOD.items() if claim != name}
    assert mismatch(found, ISSUER, "client") is not None
