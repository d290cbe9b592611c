"""Auth0's peculiarities: its URLs, and the responses of its Management API."""

import json

import pytest

from auth_agent.oauth.auth0 import InsufficientScope, logout_url, management_audience, parse_user, user_url
from auth_agent.oauth.discovery import Metadata, end_session_url
from auth_agent.oauth.outcome import Busy, Failure, Lost, Refusal, Rejected, Unusable
from auth_agent.secret import Secret

ISSUER = "https://acme.eu.auth0.com/"
NOW = 1_800_000_000.0
USER = {"user_id": "auth0|alice", "user_metadata": {"country": "Canada"}}


def parse(status: int, body: object, **headers: str) -> dict[str, object] | Failure:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    header_fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_user(status, header_fields, data, NOW, Secret("canary"))


def error(status: int, code: str | None = None, message: str = "no") -> dict[str, object]:
    return {"statusCode": status, "error": "Error", "message": message, **({} if code is None else {"errorCode": code})}


def test_the_urls_of_the_management_api_and_of_a_user() -> None:
    audience = management_audience(ISSUER)
    assert audience == management_audience(ISSUER.rstrip("/")) == f"{ISSUER}api/v2/"
    assert user_url(ISSUER, "auth0|a/b?c") == f"{ISSUER}api/v2/users/auth0%7Ca%2Fb%3Fc"
    assert user_url(ISSUER, "a", ["x y", "z"]).endswith("/users/a?fields=x+y%2Cz&include_fields=true")


def test_the_logout_page_is_that_of_the_metadata_or_auth0s_own() -> None:
    auth0 = Metadata(ISSUER, f"{ISSUER}oauth/token", authorization_endpoint=f"{ISSUER}authorize")
    assert end_session_url(auth0, "a b") == logout_url(ISSUER, "a b") == f"{ISSUER}v2/logout?client_id=a+b"
    plain = Metadata("https://id.example", "https://id.example/token")
    assert end_session_url(plain, "a") is None
    for path, expected in (("/end", "/end?client_id=a"), ("/end?x=1", "/end?x=1&client_id=a")):
        page = f"https://id.example{path}"
        with_page = Metadata("https://id.example", "https://id.example/token", end_session_endpoint=page)
        assert end_session_url(with_page, "a") == f"https://id.example{expected}"


def test_a_user_is_returned_unchanged() -> None:
    assert parse(200, USER) == USER


@pytest.mark.parametrize("body", [b"", b"<html>", [], {"n": 1 << 64}])
def test_an_unreadable_response_counts_as_lost(body: object) -> None:
    assert type(parse(200, body)) is Lost


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (401, error(401, message="Expired token received"), Rejected),
        (401, b"", Rejected),
        (403, error(403, "insufficient_scope"), InsufficientScope),
        (400, error(400, "Bearer", "Bad HTTP authentication header format"), Refusal),
        (400, error(400, "invalid_body"), Unusable),
        (403, error(403), Unusable),
        (404, error(404, "inexistent_user"), Unusable),
        (418, b"", Unusable),
        (301, b"", Busy),
        (500, error(500), Busy),
        (503, b"<html>", Busy),
    ],
)
def test_the_class_of_a_failure(status: int, body: object, failure: type[Failure]) -> None:
    assert type(parse(status, body)) is failure


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7", "x_ratelimit_reset": str(NOW + 60)}, 7),
        ({"x_ratelimit_reset": f"{NOW + 60:.0f}"}, 60),
        ({"x_ratelimit_reset": f"{NOW + 6000:.0f}"}, 600),
        ({"x_ratelimit_reset": f"{NOW - 60:.0f}"}, 2),
        ({"x_ratelimit_reset": "soon"}, 2),
        ({}, 2),
    ],
)
def test_a_rate_limit_has_a_time_to_retry(headers: dict[str, str], seconds: float) -> None:
    failure = parse(429, error(429, "too_many_requests"), **headers)
    assert isinstance(failure, Busy)
    assert failure.retry_after == seconds


def test_a_message_is_printable_and_contains_no_token() -> None:
    failure = parse(401, error(401, message="\x1b[31mBad token: canary"))
    assert isinstance(failure, Rejected)
    assert failure.reason.endswith(":  [31mBad token: …")
