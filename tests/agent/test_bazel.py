"""The credential helper protocol of Bazel: what a tool sends, and what it is told."""

import json

import pytest

from auth_agent.cli.tools.bazel import read_request, response
from auth_agent.cli.tools.margin import use_until
from auth_agent_client import Token

NOW = 2_000_000_000.0
URL = "https://cache.example.com/x"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (URL, URL),
        ("grpcs://cache.example.com/a.b.C/D", "https://cache.example.com/a.b.C/D"),
        ("GRPC://127.0.0.1:8980", "http://127.0.0.1:8980"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("cache.example.com", "cache.example.com"),
        ("grpcs:cache", "grpcs:cache"),
    ],
)
def test_a_request_names_its_url(uri: str, url: str) -> None:
    assert read_request(json.dumps({"uri": uri, "more": 1}).encode()) == url


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b"{}", b'{"uri": 1}', b'{"url": "https://x"}', b"\xff\xfe{", b"[" * 100_000]
)
def test_what_is_no_request_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(what is not|a request without)"):
        read_request(document)


@pytest.mark.parametrize(
    ("lifetime", "expires"),
    [(3600, "2033-05-18T04:32:20Z"), (60, "2033-05-18T03:33:50Z"), (-5, "2033-05-18T03:33:15Z")],
)
def test_a_response_has_the_headers_and_when_they_expire(lifetime: int, expires: str) -> None:
    token = Token("work", "at-1", "bearer", NOW + lifetime, None, None)
    assert response(token, URL, NOW) == {"headers": {"Authorization": ["Bearer at-1"]}, "expires": expires}


def test_a_token_without_a_known_end_does_not_expire() -> None:
    token = Token("work", "at-1", "Bearer", None, None, None)
    assert response(token, URL, NOW) == {"headers": {"Authorization": ["Bearer at-1"]}}


@pytest.mark.parametrize("lifetime", [0.0, 1.0, 5.0, 60.0, 120.0, 3600.0])
def test_a_token_is_used_only_while_it_is_valid(lifetime: float) -> None:
    assert NOW <= use_until(NOW + lifetime, NOW) <= NOW + max(lifetime - 60, lifetime / 2)
