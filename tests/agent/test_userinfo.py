"""How a response of the UserInfo endpoint is parsed."""

import json

import pytest

from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unusable
from auth_agent.oauth.userinfo import SignedUserInfo, parse_userinfo, signed_claims
from auth_agent.secret import Secret
from tests.agent.world import jwt

NOW = 1_800_000_000.0
ALICE = {"sub": "auth0|alice", "name": "Alice", "https://acme.example/roles": ["admin"]}


def parse(status: int, body: object, **headers: str) -> dict[str, object] | SignedUserInfo | Failure:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_userinfo(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, NOW)


def test_the_claims_are_returned_unchanged() -> None:
    assert parse(200, ALICE) == ALICE


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (401, Rejected),
        (403, Refusal),
        *((status, Refusal) for status in (201, 204, 301, 302, 400, 404, 410)),
        *((status, Busy) for status in (408, 425, 429, 500, 502, 503)),
    ],
)
def test_any_status_but_200_is_a_failure(status: int, failure: type[Failure]) -> None:
    assert type(parse(status, ALICE)) is failure


def test_retry_after_is_part_of_the_failure() -> None:
    failure = parse(429, b"", retry_after="12")
    assert isinstance(failure, Busy)
    assert failure.retry_after == 12
    assert "429" in failure.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        [],
        {},
        {"sub": 7},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "\x1b[31m"},
        {**ALICE, "n": 1 << 64},
        {**ALICE, "n": "\ud800"},
        {**ALICE, "\ud800": 1},
        b'{"sub": "auth0|alice", "n": 1e999}',
        b'{"sub": "auth0|alice", "n": ' + b"[" * 20 + b"]" * 20 + b"}",
        b'{"sub": "auth0|alice", "n": ' + b"[" * 100_000,
    ],
)
def test_a_body_without_a_subject_or_with_unsupported_values_is_unusable(body: object) -> None:
    assert type(parse(200, body)) is Unusable


def test_a_provider_of_oauth_alone_may_have_another_name_for_the_subject() -> None:
    user: dict[str, object] = {"id": 7, "login": "alice"}
    body = json.dumps(user).encode()
    assert parse_userinfo(200, {}, body, NOW, is_openid=False) == user
    assert type(parse_userinfo(200, {}, body, NOW)) is Unusable
    for wrong in ({"sub": 7}, {"error": "invalid_token"}, {"n": 1 << 64}):
        assert type(parse_userinfo(200, {}, json.dumps(wrong).encode(), NOW, is_openid=False)) is Unusable


# ---- signed responses

ISSUER, CLIENT = "https://acme.example/", "native-app"


def test_a_signed_response_is_a_token_to_be_checked() -> None:
    response = parse(200, b"e30.e30.c2ln\n", content_type="application/jwt; charset=utf-8")
    assert response == SignedUserInfo(Secret("e30.e30.c2ln"))
    assert type(parse(200, b"e30.e30.c2ln")) is Unusable
    # Some name another type, or none.
    for content_type in ("application/json", "application/jose", "text/plain", ""):
        assert parse(200, b"eyJ9.e30.c2ln\n", content_type=content_type) == SignedUserInfo(Secret("eyJ9.e30.c2ln"))
    assert type(parse(200, b"\xff", content_type="application/jwt")) is Unusable
    assert type(parse(200, b"a\r\nb", content_type="application/jwt")) is Unusable


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"iss": ISSUER, "aud": CLIENT},
        {"iss": ISSUER.rstrip("/"), "aud": ["other", CLIENT], "exp": 1, "iat": 1},
    ],
)
def test_the_claims_of_a_signed_response_are_those_about_the_user(more: dict[str, object]) -> None:
    assert signed_claims(jwt(**ALICE, **more), ISSUER, CLIENT) == ALICE


@pytest.mark.parametrize(
    "more",
    [
        {"iss": "https://evil.example/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"sub": None},
        {"sub": 7},
        {"n": 1 << 64},
    ],
)
def test_a_signed_response_for_others_is_unusable(more: dict[str, object]) -> None:
    assert type(signed_claims(jwt(**{**ALICE, **more}), ISSUER, CLIENT)) is Unusable


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.b.c.d.e"])
def test_an_encrypted_or_broken_response_is_unusable(token: str) -> None:
    assert type(signed_claims(Secret(token), ISSUER, CLIENT)) is Unusable
