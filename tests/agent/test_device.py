"""The device flow: the provider's responses, and the polling interval."""

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
    FlowNotAllowed,
    Lost,
    Misconfigured,
    PolicyRefusal,
    Refusal,
    TokenResponse,
    Transient,
    Unusable,
)

RESPONSE: dict[str, object] = {
    "device_code": "dc",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://acme.example/activate",
    "verification_uri_complete": "https://acme.example/activate?user_code=WDJB-MJHT",
    "expires_in": 900,
    "interval": 7,
}


def parse(status: int = 200, **fields: object) -> DeviceAuthorization | Failure:
    return parse_device_authorization(status, {}, json.dumps({**RESPONSE, **fields}).encode(), 0.0)


def parse_poll(status: int, **fields: object) -> TokenResponse | Failure:
    return parse_poll_response(status, {}, json.dumps(fields).encode(), 0.0)


# ---- the device authorization response


def test_a_response_has_a_code_and_urls() -> None:
    response = parse()
    assert isinstance(response, DeviceAuthorization)
    assert response.user_code == "WDJB-MJHT"
    assert response.verification_uri == "https://acme.example/activate"
    assert response.verification_uri_complete == "https://acme.example/activate?user_code=WDJB-MJHT"
    assert (response.lifetime, response.interval) == (900, 7)
    assert "dc" not in repr(response.device_code)


def test_missing_fields_have_the_defaults_of_the_rfc() -> None:
    response = parse(interval=None, verification_uri_complete=None)
    assert isinstance(response, DeviceAuthorization)
    assert response.interval == 5
    assert response.verification_uri_complete is None


def test_googles_name_of_the_url_is_accepted() -> None:
    fields = {name: value for name, value in RESPONSE.items() if not name.startswith("verification")}
    body = json.dumps({**fields, "verification_url": "https://www.google.com/device"}).encode()
    response = parse_device_authorization(200, {}, body, 0.0)
    assert isinstance(response, DeviceAuthorization)
    assert response.verification_uri == "https://www.google.com/device"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://acme.example/", "file:///etc/passwd", "", 7, None])
def test_an_unsafe_verification_uri_is_unusable(url: object) -> None:
    assert isinstance(parse(verification_uri=url), Unusable)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://acme.example/", "/go?user_code=AB-CD", "", 7])
def test_an_unsafe_complete_verification_uri_is_left_out(url: object) -> None:
    response = parse(verification_uri_complete=url)
    assert isinstance(response, DeviceAuthorization)
    assert (response.verification_uri, response.verification_uri_complete) == (RESPONSE["verification_uri"], None)


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
def test_an_invalid_response_or_an_error_is_a_failure(fields: dict[str, Any], kind: type[Failure]) -> None:
    assert isinstance(parse(**fields), kind)


def test_an_http_address_of_this_machine_is_unusable_from_a_provider_elsewhere() -> None:
    body = json.dumps({**RESPONSE, "verification_uri": "http://127.0.0.1:8080/admin"}).encode()
    assert isinstance(parse_device_authorization(200, {}, body, 0.0, (), "http://127.0.0.1"), DeviceAuthorization)
    assert isinstance(parse_device_authorization(200, {}, body, 0.0, (), "https://acme.example"), Unusable)


def test_a_user_code_is_made_printable() -> None:
    response = parse(user_code="AB\x1b[31mCD")
    assert isinstance(response, DeviceAuthorization)
    assert response.user_code.isprintable()


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3), st.integers(100, 599))
def test_any_response_is_a_device_authorization_or_a_failure(value: object, status: int) -> None:
    for name in RESPONSE:
        assert isinstance(parse(status, **{name: value}), DeviceAuthorization | Failure)


# ---- polling


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
def test_the_error_code_of_a_poll_decides_whatever_the_status(status: int, error: str, kind: type[Failure]) -> None:
    assert type(parse_poll(status, error=error)) is kind


def test_a_poll_returns_the_tokens() -> None:
    assert isinstance(parse_poll(200, access_token="at", refresh_token="rt"), TokenResponse)


def test_server_errors_of_a_poll_are_transient() -> None:
    assert isinstance(parse_poll(503), Transient)
    assert isinstance(parse_poll(502), Lost)
    assert isinstance(parse_poll(429, error="too_many_requests"), Busy)


def test_slow_down_makes_the_interval_longer() -> None:
    interval = 5.0
    for expected in (5.0, 10.0, 15.0, 15.0):
        outcome = AuthorizationPending("") if expected == interval else SlowDown("")
        interval = next_interval(interval, outcome)
        assert interval == expected


def test_a_failed_poll_doubles_the_interval_up_to_a_minute() -> None:
    assert next_interval(5, Transient("")) == 10
    assert next_interval(50, Transient("")) == 60
    assert next_interval(58, SlowDown("")) == 60


POLICY = {"error": "invalid_grant", "error_codes": [53003], "suberror": "message_only"}


@pytest.mark.parametrize("fields", [POLICY, {"error": "access_denied", "error_codes": [7, 50097]}], ids=str)
def test_a_poll_that_policy_refuses_is_told_from_other_refusals(fields: dict[str, object]) -> None:
    assert isinstance(parse_poll(400, **fields), PolicyRefusal)


@pytest.mark.parametrize("fields", [POLICY, {"error": "device_flow_disabled"}], ids=str)
def test_a_login_that_policy_does_not_let_begin_is_told_from_other_failures(fields: dict[str, object]) -> None:
    response = parse_device_authorization(400, {}, json.dumps(fields).encode(), 0.0)
    assert isinstance(response, PolicyRefusal)


@pytest.mark.parametrize("codes", [None, "53003", [True, "53003", 70016], {}, [[]]], ids=str)
def test_a_description_or_another_code_is_no_policy(codes: object) -> None:
    refusal = parse_poll(400, error="access_denied", error_description="AADSTS53003: policy", error_codes=codes)
    assert type(refusal) is Refusal


def test_a_client_that_may_not_log_in_on_a_device_is_misconfigured_and_may_log_in_otherwise() -> None:
    response = parse_device_authorization(400, {}, b'{"error": "unauthorized_client"}', 0.0)
    assert isinstance(response, FlowNotAllowed)
    assert isinstance(parse_poll(400, error="unauthorized_client"), FlowNotAllowed)
