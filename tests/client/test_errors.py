"""Errors: one exception for each code, equal on both sides of the wire, and robust to any input."""

import pickle
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, strategies as st

from auth_agent_client.errors import (
    BY_CODE,
    AgentError,
    AgentNotRunning,
    ConnectionLost,
    Denied,
    Internal,
    InvalidRequest,
    LifetimeTooShort,
    LoginRequired,
    Unavailable,
    UntrustedAgent,
    from_wire,
    to_wire,
)
from auth_agent_client.remedy import Remedy

CODES = {
    "invalid_request",
    "unknown_method",
    "unknown_account",
    "login_required",
    "unavailable",
    "timeout",
    "lifetime_too_short",
    "denied",
    "locked",
    "unsupported",
    "provider_error",
    "misconfigured",
    "internal",
}
RETRYABLE = {"unavailable", "timeout"}
DETAILS: dict[str, dict[str, Any]] = {
    "invalid_request": {"parameter": "audience"},
    "login_required": {"reason": "logged_out"},
    "unavailable": {"retry_after": 2.5},
    "lifetime_too_short": {"lifetime": 300.0},
    "provider_error": {"error": "too_many_requests", "error_description": "Global limit has been reached"},
}

ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_there_is_an_exception_for_each_code_of_the_protocol() -> None:
    assert set(BY_CODE) == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_is_unchanged_by_the_wire(code: str) -> None:
    details = DETAILS.get(code, {})
    sent = BY_CODE[code]("what happened", **details)
    received = from_wire(msgpack.unpackb(msgpack.packb(to_wire(sent))))
    assert type(received) is type(sent)
    assert (received.code, received.message, received.retryable, received.details) == (
        code,
        "what happened",
        code in RETRYABLE,
        details,
    )


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_on_the_wire_is_the_protocols_map(code: str) -> None:
    assert to_wire(BY_CODE[code]("what happened", **DETAILS.get(code, {}))) == {
        "code": code,
        "message": "what happened",
        "retryable": code in RETRYABLE,
        **DETAILS.get(code, {}),
    }


@pytest.mark.parametrize("retryable", [True, False])
def test_an_unknown_code_and_its_retryable_are_kept(retryable: bool) -> None:
    received = from_wire({"code": "quota", "message": "used up", "retryable": retryable, "until": 5})
    assert type(received) is AgentError
    assert (received.code, received.message, received.retryable, received.details) == (
        "quota",
        "used up",
        retryable,
        {"until": 5},
    )


def test_an_unknown_code_does_not_affect_other_errors() -> None:
    from_wire({"code": "quota", "message": "used up", "retryable": True})
    assert (AgentError("another").code, AgentError("another").retryable) == ("error", False)


def test_an_unknown_code_can_be_passed_on() -> None:
    fields: dict[str, object] = {"code": "quota", "message": "used up", "retryable": True, "until": 5}
    assert to_wire(from_wire(fields)) == fields


def test_an_unknown_code_is_not_retryable_by_default() -> None:
    assert from_wire({"code": "quota", "message": "used up"}).retryable is False


@pytest.mark.parametrize("value", [False, 0, "", "text", 7, 1.5, b"bytes", [], ["code"], True])
def test_an_error_that_is_not_a_map_is_internal(value: object) -> None:
    received = from_wire(value)
    assert isinstance(received, Internal), received


def test_an_empty_error_is_internal() -> None:
    received = from_wire({})
    assert (type(received), received.message) == (Internal, "internal")


def test_an_error_without_a_message_shows_its_code() -> None:
    assert from_wire({"code": "denied"}).message == "denied"


@pytest.mark.parametrize("retryable", [1, "true", None, [True]])
def test_a_retryable_that_is_not_true_is_false(retryable: object) -> None:
    assert from_wire({"code": "quota", "retryable": retryable}).retryable is False


def test_a_detail_may_have_any_name() -> None:
    received = from_wire({"code": "denied", "message": "no", "self": "theirs"})
    assert (type(received), received.message, received.details) == (Denied, "no", {"self": "theirs"})


@given(
    ANY_VALUE
    | st.dictionaries(
        st.sampled_from(["code", "message", "retryable", "self", "details", "args", "retry_after"]) | st.text(),
        st.sampled_from(sorted(CODES)) | ANY_VALUE,
    )
)
@example({"code": "denied", "message": "no", "self": "theirs"})
def test_any_value_becomes_an_agent_error_with_a_message(value: object) -> None:
    received = from_wire(value)
    assert isinstance(received, AgentError)
    assert isinstance(received.message, str)
    assert isinstance(received.code, str)
    assert isinstance(received.retryable, bool)


def test_details_are_properties() -> None:
    assert InvalidRequest("no", parameter="audience").parameter == "audience"
    assert LoginRequired("no", reason="logged_out").reason == "logged_out"
    assert Unavailable("no", retry_after=3).retry_after == 3.0
    assert LifetimeTooShort("no", lifetime=300).lifetime == 300.0


def test_missing_details_are_none() -> None:
    assert InvalidRequest("no").parameter is None
    assert LoginRequired("no").reason is None
    assert Unavailable("no").retry_after is None
    assert LifetimeTooShort("no").lifetime is None


@pytest.mark.parametrize("value", ["soon", None, [1], {}, b"1"])
def test_seconds_that_are_not_a_number_are_none(value: object) -> None:
    assert Unavailable("no", retry_after=value).retry_after is None
    assert LifetimeTooShort("no", lifetime=value).lifetime is None


@pytest.mark.parametrize("value", [7, None, ["audience"], b"audience"])
def test_string_details_of_another_type_are_none(value: object) -> None:
    assert InvalidRequest("no", parameter=value).parameter is None
    assert LoginRequired("no", reason=value).reason is None


@pytest.mark.parametrize("error", [AgentNotRunning, ConnectionLost, UntrustedAgent])
def test_errors_without_a_response_have_no_code_of_the_protocol(error: type[AgentError]) -> None:
    assert error.code not in BY_CODE


def test_the_text_of_an_error_is_its_message() -> None:
    assert str(Denied("the API is misconfigured")) == "the API is misconfigured"


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_can_be_pickled_to_cross_processes(code: str) -> None:
    sent = BY_CODE[code]("what happened", remedy=(Remedy("wait"),), **DETAILS.get(code, {}))
    copy: object = pickle.loads(pickle.dumps(sent))
    assert isinstance(copy, AgentError)
    assert (type(copy), copy.message, copy.details, copy.remedy) == (
        type(sent),
        sent.message,
        sent.details,
        sent.remedy,
    )
