"""Calls before they are sent: checked and packed, those of `token` once."""

import pytest

from auth_agent_client import InvalidRequest
from auth_agent_client.call import Calls


def test_the_same_call_of_token_has_the_same_bytes_and_a_deadline_from_now() -> None:
    calls = Calls()
    first = calls.call("token", {"account": "work", "min_ttl": 60, "timeout": None})
    again = calls.call("token", {"account": "work", "min_ttl": 60, "timeout": None})
    assert again is not first
    assert again.question is first.question
    assert again.deadline >= first.deadline
    assert (again.method, again.repeatable) == (first.method, first.repeatable)
    assert str(again.timeout_error()) == str(first.timeout_error())


@pytest.mark.parametrize(
    "other",
    [
        {"account": "home", "min_ttl": 60},
        {"account": "work", "min_ttl": 61},
        {"account": "work"},
        {"account": "work", "timeout": 60},
        {"account": "work", "min_ttl": 60, "force": True},
    ],
)
def test_another_call_of_token_has_other_bytes(other: dict[str, object]) -> None:
    calls = Calls()
    first = calls.call("token", {"account": "work", "min_ttl": 60})
    assert calls.call("token", other).question != first.question


@pytest.mark.parametrize(
    ("good", "bad"), [({"min_ttl": 1}, {"min_ttl": True}), ({"force": True}, {"force": 1}), ({}, {"url": ["x"]})]
)
def test_a_wrong_parameter_is_an_error_also_after_a_right_one(good: dict[str, object], bad: dict[str, object]) -> None:
    calls = Calls()
    calls.call("token", good)
    with pytest.raises(InvalidRequest):
        calls.call("token", bad)


def test_calls_with_secrets_and_too_many_calls_are_not_kept() -> None:
    calls = Calls()
    for number in range(1000):
        calls.call("token", {"url": f"https://api.example/{number}"})
        calls.call("rejected", {"access_token": f"secret-{number}"})
    kept = [*vars(calls)["_tokens"].values()]
    assert len(kept) <= 64
    assert not any(b"secret" in call.question for call in kept)
