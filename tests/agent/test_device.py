"""A login on another device: what the provider answers, and how often it is asked."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.device import (
    AuthorizationPending,
    CodeExpired,
    DeviceAuthorization,
    SlowDown,
    next_interval,
    parse_device_authorization,
    parse_poll_response,
)
from auth_agent.oauth.outcome import (
    Busy,
    Failure,
    Lost,
    Misconfigured,
    Refusal,
    TokenResponse,
    Transient,
    Unusable,
)

ANSWER: dict[str, object] = {
    "device_code": "dc",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://acme.example/activate",
    "verification_uri_complete": "https://acme.example/activate?user_code=WDJB-MJHT",
    "expires_in": 900,
    "interval": 7,
}


def begun(status: int = 200, **fields: object) -> DeviceAuthorization | Failure:
    return parse_device_authorization(status, {}, json.dumps({**ANSWER, **fields}).encode(), 0.0)


def polled(status: int, **fields: object) -> TokenResponse | Failure:
    return parse_poll_response(status, {}, json.dumps(fields).encode(), 0.0)


# ---- beginning


def test_a_person_gets_a_code_and_an_address() -> None:
    found = begun()
    assert isinstance(found, DeviceAuthorization)
    assert found.user_code == "WDJB-MJHT"
    assert found.verification_uri == "https://acme.example/activate"
    assert found.verification_uri_complete == "https://acme.example/activate?user_code=WDJB-MJHT"
    assert (found.lifetime, found.interval) == (900, 7)
    assert "dc" not in repr(found.device_code)


def test_what_is_not_said_is_as_the_rfc_has_it() -> None:
    found = begun(interval=None, verification_uri_complete=None)
    assert isinstance(found, DeviceAuthorization)
    assert found.interval == 5
    assert found.verification_uri_complete is None


def test_google_s_name_for_the_address_is_known() -> None:
    fields = {name: value for name, value in ANSWER.items() if not name.startswith("verification")}
    body = json.dumps({**fields, "verification_url": "https://www.google.com/device"}).encode()
    found = parse_device_authorization(200, {}, body, 0.0)
    assert isinstance(found, DeviceAuthorization)
    assert found.verification_uri == "https://www.google.com/device"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://acme.example/", "file:///etc/passwd", "", 7, None])
def test_an_address_that_is_not_safe_to_open_is_not_shown(address: object) -> None:
    assert isinstance(begun(verification_uri=address), Unusable)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://acme.example/"])
def test_nor_is_a_complete_one(address: str) -> None:
    assert isinstance(begun(verification_uri_complete=address), Unusable)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"device_code": None}, Failure),
        ({"device_code": 7}, Failure),
        ({"device_code": "half \ud83d"}, Failure),
        ({"device_code": "dc\r\n"}, Failure),
        ({"user_code": None}, Unusable),
        ({"user_code": "\x1b"}, Unusable),
        ({"error": "unauthorized_client"}, Misconfigured),
        ({"error": "invalid_scope"}, Refusal),
    ],
)
def test_an_answer_that_begins_nothing_says_why(fields: dict[str, Any], kind: type[Failure]) -> None:
    assert isinstance(begun(**fields), kind)


def test_a_code_from_outside_is_safe_to_print() -> None:
    found = begun(user_code="AB\x1b[31mCD")
    assert isinstance(found, DeviceAuthorization)
    assert found.user_code.isprintable()


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3), st.integers(100, 599))
def test_an_answer_of_any_shape_is_a_grant_or_a_failure(value: object, status: int) -> None:
    for name in ANSWER:
        assert isinstance(begun(status, **{name: value}), DeviceAuthorization | Failure)


# ---- asking


@pytest.mark.parametrize("status", [400, 403, 429])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("authorization_pending", AuthorizationPending),
        ("slow_down", SlowDown),
        ("expired_token", CodeExpired),
        ("access_denied", Refusal),
    ],
)
def test_an_answer_is_known_by_its_error_whatever_the_status(status: int, error: str, kind: type[Failure]) -> None:
    assert type(polled(status, error=error)) is kind


def test_what_was_granted_is_taken() -> None:
    assert isinstance(polled(200, access_token="at", refresh_token="rt"), TokenResponse)


def test_trouble_is_no_answer() -> None:
    assert isinstance(polled(503), Transient)
    assert isinstance(polled(502), Lost)
    assert isinstance(polled(429, error="too_many_requests"), Busy)


def test_it_is_asked_less_often_when_that_is_asked_for() -> None:
    interval = 5.0
    for expected in (5.0, 10.0, 15.0, 15.0):
        outcome = AuthorizationPending("") if expected == interval else SlowDown("")
        interval = next_interval(interval, outcome)
        assert interval == expected


def test_and_in_trouble() -> None:
    assert next_interval(5, Transient("")) == 10
    assert next_interval(50, Transient("")) == 60
    assert next_interval(58, SlowDown("")) == 60
