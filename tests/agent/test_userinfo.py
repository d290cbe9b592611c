"""How a response of the UserInfo endpoint is parsed."""

import json

import pytest

from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unusable
from auth_agent.oauth.userinfo import parse_userinfo

NOW = 1_800_000_000.0
ALICE = {"sub": "auth0|alice", "name": "Alice", "https://acme.example/roles": ["admin"]}


def parse(status: int, body: object, **headers: str) -> dict[str, object] | Failure:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_userinfo(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, NOW)


def test_the_claims_are_returned_unchanged() -> None:
    assert parse(200, ALICE) == ALICE


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (401, Rejected),
        (403, Refusal),
        *((status, Busy) for status in (201, 204, 301, 302, 400, 404, 429, 500, 502, 503)),
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


def test_a_signed_response_is_unusable() -> None:
    failure = parse(200, b"e30.e30.c2ln", content_type="application/jwt; charset=utf-8")
    assert isinstance(failure, Unusable)
    assert failure != parse(200, b"e30.e30.c2ln")
