"""cargo's credential provider protocol: what cargo sends, and what it is told."""

import json

import pytest

from auth_agent.cli.tools.cargo import granted, read_request, respond
from auth_agent_client import Token

NOW = 2_000_000_000.0
URL = "sparse+https://crates.example.com/index/"


def line(**more: object) -> str:
    return json.dumps({"v": 1, "registry": {"index-url": URL, "name": "corp"}, "kind": "get", **more})


def token(expires_at: float | None) -> Token:
    return Token("work", "at-1", "Bearer", expires_at, "repo", None)


def test_a_request_names_the_url_of_its_index() -> None:
    assert read_request(line(operation="read")) == ("get", "https://crates.example.com/index/", False)
    assert read_request(line(kind="login", token="t")) == ("login", "https://crates.example.com/index/", True)
    git = {"index-url": "https://github.com/rust-lang/crates.io-index"}
    assert read_request(line(registry=git)) == ("get", git["index-url"], False)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "[" * 100_000, line(v=2), line(registry=None), line(registry={}), line(kind=None), "{}"],
)
def test_what_is_no_request_gets_an_error_and_no_token(text: str) -> None:
    response = respond(text)
    assert list(response) == ["Err"]
    assert "cargo sent" in json.dumps(response)


def test_an_unknown_operation_is_not_supported() -> None:
    assert respond(line(kind="owners")) == {"Err": {"kind": "operation-not-supported"}}


@pytest.mark.parametrize(("lifetime", "kept"), [(3600, 3540), (120, 60), (60, 30), (5, 2), (0, 0), (-5, -5)])
def test_cargo_asks_again_before_the_token_ends(lifetime: int, kept: int) -> None:
    assert granted(token(NOW + lifetime), NOW) == {
        "kind": "get",
        "token": "Bearer at-1",
        "cache": "expires",
        "expiration": NOW + kept,
        "operation_independent": True,
    }


def test_a_token_without_a_known_end_is_for_this_run() -> None:
    response = {"kind": "get", "token": "Bearer at-1", "cache": "session", "operation_independent": True}
    assert granted(token(None), NOW) == response
