"""Errors: one exception a code, the same on both sides, and nothing from outside that breaks them."""

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
def test_an_error_survives_the_wire(code: str) -> None:
    details = DETAILS.get(code, {})
    sent = BY_CODE[code]("what happened", **details)
    came = from_wire(msgpack.unpackb(msgpack.packb(to_wire(sent))))
    assert type(came) is type(sent)
    assert (came.code, came.message, came.retryable, came.details) == (
        code,
        "what happened",
        code in RETRYABLE,
        details,
    )


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_on_the_wire_is_the_protocol_s_map(code: str) -> None:
    assert to_wire(BY_CODE[code]("what happened", **DETAILS.get(code, {}))) == {
        "code": code,
        "message": "what happened",
        "retryable": code in RETRYABLE,
        **DETAILS.get(code, {}),
    }


@pytest.mark.parametrize("retryable", [True, False])
def test_a_code_that_is_not_known_is_kept_with_its_retryable(retryable: bool) -> None:
    came = from_wire({"code": "quota", "message": "used up", "retryable": retryable, "until": 5})
    assert type(came) is AgentError
    assert (came.code, came.message, came.retryable, came.details) == ("quota", "used up", retryable, {"until": 5})


def test_an_unknown_code_leaves_no_trace_in_other_errors() -> None:
    from_wire({"code": "quota", "message": "used up", "retryable": True})
    assert (AgentError("another").code, AgentError("another").retryable) == ("error", False)


def test_an_unknown_code_survives_being_passed_on() -> None:
    fields: dict[str, object] = {"code": "quota", "message": "used up", "retryable": True, "until": 5}
    assert to_wire(from_wire(fields)) == fields


def test_an_unknown_code_that_does_not_say_is_not_retryable() -> None:
    assert from_wire({"code": "quota", "message": "used up"}).retryable is False


@pytest.mark.parametrize("answer", [False, 0, "", "text", 7, 1.5, b"bytes", [], ["code"], True])
def test_an_error_that_is_not_a_map_is_internal(answer: object) -> None:
    came = from_wire(answer)
    assert isinstance(came, Internal), came


def test_an_error_without_anything_in_it_is_internal() -> None:
    came = from_wire({})
    assert (type(came), came.message) == (Internal, "internal")


def test_an_error_without_a_message_shows_its_code() -> None:
    assert from_wire({"code": "denied"}).message == "denied"


@pytest.mark.parametrize("retryable", [1, "true", None, [True]])
def test_a_retryable_that_is_not_true_is_false(retryable: object) -> None:
    assert from_wire({"code": "quota", "retryable": retryable}).retryable is False


def test_an_error_may_have_a_detail_of_any_name() -> None:
    came = from_wire({"code": "denied", "message": "no", "self": "theirs"})
    assert (type(came), came.message, came.details) == (Denied, "no", {"self": "theirs"})


@given(
    ANY_VALUE
    | st.dictionaries(
        st.sampled_from(["code", "message", "retryable", "self", "details", "args", "retry_after"]) | st.text(),
        st.sampled_from(sorted(CODES)) | ANY_VALUE,
    )
)
@example({"code": "denied", "message": "no", "self": "theirs"})
def test_whatever_an_agent_sends_as_an_error_is_an_agent_error_with_a_text(answer: object) -> None:
    came = from_wire(answer)
    assert isinstance(came, AgentError)
    assert isinstance(came.message, str)
    assert isinstance(came.code, str)
    assert isinstance(came.retryable, bool)


def test_details_are_read_by_their_names() -> None:
    assert InvalidRequest("no", parameter="audience").parameter == "audience"
    assert LoginRequired("no", reason="logged_out").reason == "logged_out"
    assert Unavailable("no", retry_after=3).retry_after == 3.0
    assert LifetimeTooShort("no", lifetime=300).lifetime == 300.0


def test_details_that_were_not_given_are_none() -> None:
    assert InvalidRequest("no").parameter is None
    assert LoginRequired("no").reason is None
    assert Unavailable("no").retry_after is None
    assert LifetimeTooShort("no").lifetime is None


@pytest.mark.parametrize("nonsense", ["soon", None, [1], {}, b"1"])
def test_seconds_that_are_not_a_number_are_none(nonsense: object) -> None:
    assert Unavailable("no", retry_after=nonsense).retry_after is None
    assert LifetimeTooShort("no", lifetime=nonsense).lifetime is None


@pytest.mark.parametrize("nonsense", [7, None, ["audience"], b"audience"])
def test_strings_that_are_not_a_string_are_none(nonsense: object) -> None:
    assert InvalidRequest("no", parameter=nonsense).parameter is None
    assert LoginRequired("no", reason=nonsense).reason is None


@pytest.mark.parametrize("error", [AgentNotRunning, ConnectionLost, UntrustedAgent])
def test_what_happens_before_an_agent_answers_is_no_code_of_the_protocol(error: type[AgentError]) -> None:
    assert error.code not in BY_CODE


def test_the_text_of_an_error_is_its_message() -> None:
    assert str(Denied("the API is misconfigured")) == "the API is misconfigured"


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_can_be_pickled_to_cross_processes(code: str) -> None:
    sent = BY_CODE[code]("what happened", remedy=(Remedy("wait"),), **DETAILS.get(code, {}))
    came: object = pickle.loads(pickle.dumps(sent))
    assert isinstance(came, AgentError)
    assert (type(came), came.message, came.details, came.remedy) == (
        type(sent),
        sent.message,
        sent.details,
        sent.remedy,
    )
