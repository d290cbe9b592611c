"""Requests to a token endpoint, and its responses: the `error` field decides, not the status."""

import json
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.oauth.device import device_request
from auth_agent.oauth.lifetimes import parse_lifetime
from auth_agent.oauth.outcome import (
    Busy,
    DoubtfulRefusal,
    Failure,
    InteractionRequired,
    InvalidClient,
    InvalidGrant,
    Lost,
    Misconfigured,
    Overloaded,
    Refusal,
    RefusedForNow,
    ScopeRefusal,
    TargetRefusal,
    TokenResponse,
    Unsupported,
    Unusable,
)
from auth_agent.oauth.requests import (
    device_form,
    failure_of_error,
    parse_refresh_response,
    parse_token_response,
    revocation_form,
    says_error,
)
from auth_agent.oauth.resource import AUDIENCE, BOTH, RESOURCE
from auth_agent.oauth.token_request import (
    TokenRequest,
    client_credentials_request,
    code_request,
    refresh_request,
)
from auth_agent.secret import Secret

NOW = 1_700_000_000.0
TEN_YEARS = 315_360_000.0


def parse(status: int, body: object, **headers: str) -> TokenResponse | Failure:
    """Parse a response; a body that is not bytes is encoded as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_token_response(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, NOW)


def parse_granted(**fields: object) -> TokenResponse:
    response = parse(200, {"access_token": "at", "token_type": "Bearer", "expires_in": 3600, **fields})
    assert isinstance(response, TokenResponse), response
    return response


def busy(result: TokenResponse | Failure) -> Busy:
    """Return the result, which must be `Busy`."""
    assert isinstance(result, Busy), result
    return result


# ---- requests


def test_a_refresh_has_neither_audience_nor_scope() -> None:
    form = refresh_request(Secret("rt")).form((AUDIENCE,))
    assert form == {"grant_type": "refresh_token", "refresh_token": "rt"}


@pytest.mark.parametrize("names", [(AUDIENCE,), (RESOURCE,), BOTH, ()])
def test_a_refresh_for_another_api_has_the_providers_parameters_for_it(names: tuple[str, ...]) -> None:
    request = refresh_request(Secret("rt"), "https://api.example", "read write")
    assert request.form(names) == {
        "grant_type": "refresh_token",
        "refresh_token": "rt",
        "scope": "read write",
        **dict.fromkeys(names, "https://api.example"),
    }


def test_a_code_is_redeemed_with_its_verifier() -> None:
    request = code_request(Secret("c"), "http://127.0.0.1:8976/callback", Secret("v"))
    assert request.form(BOTH) == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "http://127.0.0.1:8976/callback",
        "code_verifier": "v",
    }


def test_empty_parameters_are_left_out() -> None:
    assert device_form("openid", {"audience": "api"}) == {"scope": "openid", "audience": "api"}
    assert device_form("", {}) == {}
    assert client_credentials_request("", None).form(BOTH) == {"grant_type": "client_credentials"}


@pytest.mark.parametrize(
    ("overrides", "api"),
    [
        ({}, {"audience": "https://api.example/", "resource": "https://api.example/"}),
        ({"resource": ""}, {"audience": "https://api.example/"}),
        ({"resource": "urn:api", "audience": ""}, {"resource": "urn:api"}),
    ],
)
def test_client_credentials_name_the_api_as_all_requests_do(overrides: dict[str, str], api: dict[str, str]) -> None:
    request = client_credentials_request("read:all", "https://api.example/", overrides)
    assert request.form(BOTH) == {"grant_type": "client_credentials", "scope": "read:all", **api}


@pytest.mark.parametrize("names", [(AUDIENCE,), BOTH])
def test_a_request_with_a_code_repeats_only_the_resource_of_its_authorization(names: tuple[str, ...]) -> None:
    for request in (code_request(Secret("c"), "http://x/", Secret("v"), "urn:a"), device_request(Secret("d"), "urn:a")):
        form = request.form(names)
        assert form["resource"] == "urn:a"
        assert "audience" not in form


def test_a_refresh_of_the_main_token_repeats_the_resource_of_the_login() -> None:
    request = refresh_request(Secret("rt"), overrides={"resource": "https://api.example"})
    assert request.form((AUDIENCE,))["resource"] == "https://api.example"


@pytest.mark.parametrize(
    "token_request",
    [
        refresh_request(Secret("s3cret")),
        code_request(Secret("s3cret"), "http://127.0.0.1/", Secret("s3cret")),
        device_request(Secret("s3cret")),
    ],
)
def test_the_repr_of_a_request_contains_no_secret(token_request: TokenRequest) -> None:
    assert "s3cret" not in repr(token_request)
    assert {secret.reveal() for secret in token_request.secrets.values()} == {"s3cret"}


def test_a_revocation_has_a_token_type_hint() -> None:
    assert revocation_form(Secret("rt")) == {"token": "rt", "token_type_hint": "refresh_token"}


# ---- refusals: each code at each status

BY_ERROR: dict[str, type[Failure]] = {
    "invalid_grant": InvalidGrant,
    "invalid_client": InvalidClient,
    "unauthorized_client": InvalidClient,
    "incorrect_client_credentials": InvalidClient,  # GitHub's
    "unsupported_grant_type": Misconfigured,
    "invalid_request": Misconfigured,
    "invalid_target": TargetRefusal,
    "invalid_scope": ScopeRefusal,
    "access_denied": Refusal,
    "interaction_required": InteractionRequired,
    "mfa_required": InteractionRequired,
    "login_required": InteractionRequired,
    "consent_required": InteractionRequired,
}


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 502])
@pytest.mark.parametrize("error", BY_ERROR)
def test_an_error_code_has_the_same_class_at_every_status(status: int, error: str) -> None:
    failure = parse(status, {"error": error})
    assert isinstance(failure, Failure)
    assert (type(failure), failure.reason) == (BY_ERROR[error], error)


def test_invalid_client_names_the_keys_of_the_client() -> None:
    assert parse(401, {"error": "invalid_client"}) == InvalidClient(
        "invalid_client", keys=("client_id", "token_endpoint_auth_method")
    )


@pytest.mark.parametrize("error", [*BY_ERROR, "server_error", "too_many_requests"])
def test_status_429_is_busy_with_any_error_code(error: str) -> None:
    assert parse(429, {"error": error}, retry_after="7") == Overloaded(error, 7.0)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 503])
@pytest.mark.parametrize(
    "error",
    [
        *("server_error", "temporarily_unavailable", "slow_down", "too_many_requests", "ratelimited", "rate_limited"),
        *("rate_limit_exceeded", "rateLimitExceeded", "ThrottlingException", "internal_error", "internal_server_error"),
        *("service_unavailable", "ServiceUnavailable", "request-timeout", "backendError", "server busy", "try_again"),
    ],
)
def test_an_error_that_passes_by_itself_is_transient(status: int, error: str) -> None:
    kind = Overloaded if status == 503 else Busy
    assert parse(status, {"error": error}) == kind(error)
    assert parse(status, {"error": error}, retry_after="7") == kind(error, 7.0)


# Words of GitHub, Databricks, Salesforce, Slack, and of nobody.
ODD = ("bad_refresh_token", "token_expired", "inactive_user", "invalid_refresh_token")


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize("error", [*ODD, "made_up", "INVALID_GRANT"])
def test_another_error_is_a_doubtful_refusal(status: int, error: str) -> None:
    assert parse(status, {"error": error, "ok": False}) == DoubtfulRefusal(error)


@pytest.mark.parametrize("status", [404, 409, 500, 503])
def test_an_unknown_error_is_no_refusal_at_another_status(status: int) -> None:
    kind = Overloaded if status == 503 else Busy
    assert parse(status, {"error": "made_up"}, retry_after="7") == kind("made_up", 7.0)


def parse_refresh(status: int, fields: dict[str, object]) -> TokenResponse | Failure:
    return parse_refresh_response(status, {}, json.dumps(fields).encode(), NOW)


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize(
    "error",
    ["invalid_request", "unsupported_grant_type", "invalid_scope", "invalid_target", "access_denied", "made_up"],
)
def test_a_plain_refresh_that_is_refused_by_another_word_is_about_the_refresh_token(status: int, error: str) -> None:
    expected = DoubtfulRefusal(error, refresh_token=Secret("rt-new"))
    assert parse_refresh(status, {"error": error, "refresh_token": "rt-new"}) == expected


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize("error", ["interaction_required", "login_required", "consent_required", "mfa_required"])
def test_a_plain_refresh_that_a_person_must_allow_is_refused_for_now(status: int, error: str) -> None:
    assert parse_refresh(status, {"error": error}) == RefusedForNow(error)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_the_end_of_a_session_is_doubtful_with_the_status_of_an_outage(status: int) -> None:
    assert parse_refresh(status, {"error": "invalid_grant"}) == DoubtfulRefusal("invalid_grant")
    for definite in (200, 400, 401, 403):
        assert parse_refresh(definite, {"error": "invalid_grant"}) == InvalidGrant("invalid_grant")


@pytest.mark.parametrize("error", ["invalid_request", "access_denied", "interaction_required"])
def test_a_plain_refresh_that_fails_with_the_providers_own_error_is_no_refusal(error: str) -> None:
    assert parse_refresh(500, {"error": error}) == Busy(error)


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "incorrect_client_credentials"])
def test_a_plain_refresh_that_is_refused_because_of_the_client_is_not(error: str) -> None:
    assert isinstance(parse_refresh(401, {"error": error}), Misconfigured)


@pytest.mark.parametrize(
    "code",
    [
        {"suberror": "message_only"},
        {"suberror": "device_authentication_failed"},
        {"suberror": "basic_action"},
        {"error_subtype": "invalid_rapt"},
        {"error_subtype": "rapt_required"},
    ],
)
def test_a_sub_code_that_says_not_now_keeps_the_refresh_token(code: dict[str, object]) -> None:
    failure = parse(400, {"error": "invalid_grant", "error_description": "AADSTS53003", **code})
    assert failure == RefusedForNow("invalid_grant: AADSTS53003")


@pytest.mark.parametrize(
    "code",
    [{"suberror": "bad_token"}, {"suberror": "token_expired"}, {"suberror": ""}, {"suberror": 7}, {}]
    + [{name: value} for name in ("suberror", "error_subtype") for value in (["invalid_rapt"], {"code": 1}, None)],
)
def test_any_other_sub_code_confirms_the_end(code: dict[str, object]) -> None:
    assert parse(400, {"error": "invalid_grant", **code}) == InvalidGrant("invalid_grant")


@pytest.mark.parametrize("content_type", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"])
@pytest.mark.parametrize("error", ["invalid_grant", "invalid_client", "made_up"])
def test_a_page_is_no_verdict_even_if_it_is_json(error: str, content_type: str) -> None:
    body = json.dumps({"error": error}).encode()
    for status in (400, 401, 403):
        assert isinstance(parse_token_response(status, {"content-type": content_type}, body, NOW), Busy)


@pytest.mark.parametrize("error", ["use_dpop_nonce", "invalid_dpop_proof"])
def test_a_demand_for_proofs_of_possession_is_not_supported(error: str) -> None:
    assert isinstance(parse(400, {"error": error}), Unsupported)


@pytest.mark.parametrize("status", [502, 504])
def test_an_error_from_a_gateway_may_be_a_lost_response(status: int) -> None:
    assert parse(status, {"error": "server_error"}) == Lost("server_error")


def test_only_invalid_grant_ends_a_refresh_token() -> None:
    outcomes = {error: parse(403, {"error": error}) for error in BY_ERROR}
    dead = {error for error, outcome in outcomes.items() if isinstance(outcome, InvalidGrant)}
    assert dead == {"invalid_grant"}


@pytest.mark.parametrize("quoted", ["se+cret/token", "se%2Bcret%2Ftoken"])
def test_the_reason_contains_no_token_that_the_provider_quotes(quoted: str) -> None:
    for error, description in (("invalid_grant", f"bad token: {quoted}."), (f"bad {quoted}", "x" * 195 + quoted)):
        body = json.dumps({"error": error, "error_description": description}).encode()
        outcome = parse_token_response(400, {}, body, NOW, (Secret("se+cret/token"),))
        assert isinstance(outcome, Failure)
        assert "token:" in outcome.reason or "bad" in outcome.reason
        assert "se+cret" not in outcome.reason
        assert "se%2B" not in outcome.reason


@pytest.mark.parametrize("status", [200, 201, 203])
def test_tokens_are_accepted_at_every_success_status(status: int) -> None:
    assert isinstance(parse(status, {"access_token": "at", "refresh_token": "rt"}), TokenResponse)


def test_the_description_is_part_of_the_reason() -> None:
    failure = parse(403, {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."})
    assert failure == InvalidGrant("invalid_grant: Unknown or invalid refresh token.")


@pytest.mark.parametrize("description", [None, 7, ["text"], {"a": 1}, ""])
def test_a_description_that_is_not_a_string_is_left_out(description: object) -> None:
    assert parse(400, {"error": "invalid_grant", "error_description": description}) == InvalidGrant("invalid_grant")


def test_control_characters_and_terminal_escapes_are_made_printable() -> None:
    description = "\x1b[2J\x1b]0;owned\x07 line\r\nforged=yes \u202eright-to-left"
    failure = parse(400, {"error": "invalid_grant", "error_description": description})
    assert failure == InvalidGrant("invalid_grant:  [2J ]0;owned  line  forged=yes  right-to-left")
    assert parse(400, {"error": "bad\x1b[31m\n"}) == DoubtfulRefusal("bad [31m ")


def test_a_reason_has_a_maximum_length() -> None:
    failure = parse(400, {"error": "e" * 10_000, "error_description": "d" * 10_000})
    assert isinstance(failure, Failure)
    assert len(failure.reason) < 300


# ---- what is too long


@pytest.mark.parametrize("fields", [{}, {"refresh_token": "rt"}])
def test_an_access_token_that_no_client_can_be_given_is_not_usable(fields: dict[str, object]) -> None:
    assert parse_granted(access_token="x" * 65_536).access_token == Secret("x" * 65_536)
    outcome = parse(200, {"access_token": "x" * 65_537, **fields})
    assert isinstance(outcome, Unusable)
    assert (outcome.refresh_token is None) == (fields == {})


def test_an_id_token_or_a_scope_that_is_too_long_counts_as_missing() -> None:
    response = parse_granted(id_token="x" * 65_537, scope="x" * 4097, token_type="x" * 65)
    assert (response.id_token, response.scope, response.token_type) == (None, None, "Bearer")


@pytest.mark.parametrize("error", ["invalid_grant", "mfa_required"])
def test_a_known_error_code_is_shown_beside_any_secret(error: str) -> None:
    body = json.dumps({"error": error, "error_description": "no"}).encode()
    outcome = parse_token_response(400, {}, body, NOW, (Secret("x" * 5000),))
    assert isinstance(outcome, Failure)
    assert outcome.reason == f"{error}: …"


# ---- a new refresh token beside a failure


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("error", [*BY_ERROR, "none", None])
def test_a_failure_keeps_the_new_refresh_token_of_the_response(status: int, error: str | None) -> None:
    outcome = parse(status, {"error": error, "error_description": "not rt-new", "refresh_token": "rt-new"})
    assert outcome.refresh_token == Secret("rt-new")
    if isinstance(outcome, Failure):
        assert "rt-new" not in outcome.reason
        assert outcome == replace(
            parse(status, {"error": error, "error_description": "not …"}), refresh_token=Secret("rt-new")
        )


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["error", "error_description", "access_token", "expires_in", "scope"]),
        st.text() | st.integers() | st.none(),
    ),
)
def test_no_response_makes_a_new_refresh_token_disappear(status: int, fields: dict[str, object]) -> None:
    assert parse(status, {**fields, "refresh_token": "rt-new"}).refresh_token == Secret("rt-new")


# ---- no readable error


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_a_refusal_without_a_body_is_doubtful(status: int, body: bytes) -> None:
    failure = parse(status, body)
    assert isinstance(failure, DoubtfulRefusal)
    assert str(status) in failure.reason


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    "body",
    [
        b"<html>Bad Request</html>",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        {},
        {"error": ""},
        {"error": None},
        {"error": 7},
        {"error": {"code": "invalid_grant"}},
        {"error": ["invalid_grant"]},
        {"message": "invalid_grant"},
        {"access_token": "at", "expires_in": 3600},
    ],
)
def test_a_page_or_an_error_of_another_kind_is_no_verdict(status: int, body: object) -> None:
    failure = parse(status, body)
    assert isinstance(failure, Busy)
    assert str(status) in failure.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Log in to the hotel's network</html>",
        b"\xff\xfe\x00",
        b"{",
        b'{"access_token": "at"',
        b"[" * 100_000,
        b"[]",
        b"null",
        b"true",
        b'"at"',
        {},
        {"token_type": "Bearer", "expires_in": 3600},
        {"error": ""},
    ],
)
def test_an_unreadable_response_counts_as_lost(body: object) -> None:
    assert parse(200, body).__class__ is Lost


@pytest.mark.parametrize("status", [502, 504])
def test_a_page_of_a_gateway_counts_as_lost(status: int) -> None:
    failure = parse(status, b"<html>Bad Gateway</html>")
    assert isinstance(failure, Lost)
    assert str(status) in failure.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [b"", {"access_token": "at", "refresh_token": "rt", "expires_in": 3600}])
def test_a_redirect_is_busy(status: int, body: object) -> None:
    failure = parse(status, body, location="https://evil.example/")
    assert busy(failure).retry_after is None
    assert str(status) in busy(failure).reason


@pytest.mark.parametrize("status", [404, 405, 418, 429, 500, 503])
def test_any_other_status_is_busy(status: int) -> None:
    assert busy(parse(status, b"")).retry_after is None
    assert str(status) in busy(parse(status, b"")).reason
    assert busy(parse(status, b"", retry_after="7")).retry_after == 7.0


# ---- Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("600", 600.0),
        ("601", 600.0),
        ("99999999999999999999999999", 600.0),
        ("9" * 10_000, 600.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),  # past
        ("Fri, 31 Dec 9999 23:59:59 GMT", 600.0),
        ("Tue, 14 Nov 2023 23:13:30 +0100", 10.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_ten_minutes(value: str, seconds: float) -> None:
    assert busy(parse(429, b"", retry_after=value)).retry_after == seconds


@pytest.mark.parametrize(
    "value",
    ["", " ", "soon", "-1", "1.5", "NaN", "inf", "1e3", "0x10", "²", "٣", "Tue, 99 Nov 2023", "2023-11-14T22:13:30Z"],
)
def test_an_invalid_retry_after_is_left_out(value: str) -> None:
    assert busy(parse(429, b"", retry_after=value)).retry_after is None


@pytest.mark.parametrize("offset", [59, -59, 7200, -7200])
def test_a_retry_after_date_is_relative_to_the_date_header(offset: float) -> None:
    then, at = (formatdate(NOW + offset + later, usegmt=True) for later in (0, 10))
    assert busy(parse(503, b"", retry_after=at, date=then)).retry_after == 10.0
    assert busy(parse(503, b"", retry_after="10", date=then)).retry_after == 10.0


@pytest.mark.parametrize("date", ["", "today", "Tue, 99 Nov 2023"])
def test_without_a_date_header_a_retry_after_date_is_relative_to_the_local_clock(date: str) -> None:
    at = "Tue, 14 Nov 2023 22:13:30 GMT"
    assert busy(parse(503, b"", retry_after=at, date=date)).retry_after == 10.0


@given(st.text() | st.text("0123456789:,+- MonJaGTu."))
def test_any_retry_after_is_none_or_up_to_ten_minutes(value: str) -> None:
    seconds = busy(parse(503, b"", retry_after=value)).retry_after
    assert seconds is None or 0 <= seconds <= 600


# ---- successful responses


def test_a_complete_response_is_parsed() -> None:
    response = parse_granted(token_type="DPoP", refresh_token="rt", scope="openid email", id_token="a.b.c", new_field=7)
    assert response == TokenResponse(
        access_token=Secret("at"),
        token_type="DPoP",
        lifetime=3600.0,
        refresh_token=Secret("rt"),
        scope="openid email",
        id_token=Secret("a.b.c"),
    )


def test_a_response_needs_no_refresh_token_and_no_id_token() -> None:
    response = parse_granted()
    assert (response.refresh_token, response.id_token, response.scope) == (None, None, None)


def test_a_failure_that_quotes_the_refresh_token_that_was_sent_has_no_new_one() -> None:
    body = json.dumps({"error": "invalid_grant", "refresh_token": "rt"}).encode()
    assert parse_token_response(400, {}, body, 0.0, (Secret("rt"),)) == InvalidGrant("invalid_grant")


def test_a_refresh_token_without_an_access_token_is_kept() -> None:
    response = parse(200, {"refresh_token": "rt"})
    assert isinstance(response, TokenResponse), response
    assert (response.access_token, response.refresh_token) == (None, Secret("rt"))


@pytest.mark.parametrize(
    ("value", "token_type"),
    [("Bearer", "Bearer"), ("bearer", "bearer"), ("DPoP", "DPoP"), (None, "Bearer"), ("", "Bearer"), (7, "Bearer")],
)
def test_the_token_type_is_the_providers_or_bearer(value: object, token_type: str) -> None:
    assert parse_granted(token_type=value).token_type == token_type


def test_a_response_without_a_token_type_is_bearer() -> None:
    response = parse(200, {"access_token": "at"})
    assert isinstance(response, TokenResponse), response
    assert response.token_type == "Bearer"


def test_a_token_type_cannot_forge_a_header() -> None:
    assert parse_granted(token_type="Bearer\r\nX-Forged: 1").token_type == "Bearer"


@pytest.mark.parametrize("scope", [None, 7, [], ["openid", 7], {}])
def test_a_scope_that_is_not_a_string_is_left_out(scope: object) -> None:
    assert parse_granted(scope=scope).scope is None


def test_a_response_may_be_a_form() -> None:
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = b"access_token=a%2Bt&expires_in=5000&refresh_token=rt&scope=read+write&token_type=bearer&uid=1&uid=2"
    response = parse_token_response(200, form, body, NOW)
    assert isinstance(response, TokenResponse)
    assert response.access_token == Secret("a+t")
    assert (response.refresh_token, response.scope, response.lifetime) == (Secret("rt"), "read write", 5000)
    refusal = parse_refresh_response(400, form, b"error=invalid_grant&error_description=Expired", NOW)
    assert refusal == InvalidGrant("invalid_grant: Expired")
    for headers in ({}, {"content-type": "text/html"}, {"content-type": "application/json"}):
        assert isinstance(parse_token_response(200, headers, body, NOW), Lost)
    for body in (b"", b"&".join([b"a=b"] * 51), b"\xff", b"access_token=a&access_token=b"):
        assert isinstance(parse_token_response(200, form, body, NOW), Lost)


@pytest.mark.parametrize("error", ["invalid_scope", "INVALID_SCOPE", "invalid-scopes", "unsupported_scope"])
def test_a_scope_is_refused_by_several_words(error: str) -> None:
    assert type(failure_of_error(error)) is ScopeRefusal


def test_scopes_in_a_list_are_those_of_the_token() -> None:
    assert parse_granted(scope=["channel:manage:polls", "channel:read:polls"]).scope == (
        "channel:manage:polls channel:read:polls"
    )
    assert parse_granted(scope=["x" * 4000, "y" * 97]).scope is None


@pytest.mark.parametrize(
    ("body", "is_error"),
    [
        (b"", False),
        (b"<html>", False),
        (b"{}", False),
        (b'{"ok": true}', False),
        (b'{"error": null}', False),
        (b'{"error": "unsupported_token_type"}', True),
        (b'{"error": {"code": 190}}', True),
        (b'{"ok": false}', True),
    ],
)
def test_an_error_may_have_any_status(body: bytes, *, is_error: bool) -> None:
    assert says_error(body) is is_error


INVALID_TOKENS: list[object] = [
    "",
    None,
    7,
    True,
    ["at"],
    {"value": "at"},
    "a\nb",
    "a\r\nX-Forged: 1",
    "a\0",
    "a\x1b[31m",
    "a\x7f",
    "tökén",
    "half \ud83d",
    "a\u2028b",
]


@pytest.mark.parametrize("token", INVALID_TOKENS)
def test_an_access_token_must_be_visible_ascii(token: object) -> None:
    assert parse(200, {"access_token": token, "expires_in": 3600}).__class__ is Lost


@pytest.mark.parametrize("token", INVALID_TOKENS)
def test_other_tokens_that_are_not_visible_ascii_are_left_out(token: object) -> None:
    response = parse_granted(refresh_token=token, id_token=token)
    assert (response.access_token, response.refresh_token, response.id_token) == (Secret("at"), None, None)


def test_a_refresh_token_is_kept_beside_an_invalid_access_token() -> None:
    response = parse(200, {"access_token": "forged\r\n", "refresh_token": "rt"})
    assert isinstance(response, TokenResponse), response
    assert (response.access_token, response.refresh_token) == (None, Secret("rt"))


# ---- lifetimes


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (3600, 3600.0),
        ("3600", 3600.0),
        (" 60 ", 60.0),
        ("1.5", 1.5),
        (TEN_YEARS, TEN_YEARS),
        (TEN_YEARS + 1, TEN_YEARS),
        (10**400, TEN_YEARS),
        ("9" * 400, TEN_YEARS),
        (float("inf"), TEN_YEARS),
    ],
)
def test_expires_in_is_a_number_or_its_string_up_to_ten_years(expires_in: object, lifetime: float) -> None:
    assert parse_granted(expires_in=expires_in).lifetime == lifetime


@pytest.mark.parametrize(
    "expires_in",
    [None, 0, 0.0, -0.0, -1, -3600, "0", "-1", "", "soon", "nan", float("nan"), float("-inf"), True, False, [3600], {}],
)
def test_an_invalid_expires_in_is_left_out(expires_in: object) -> None:
    assert parse_granted(expires_in=expires_in).lifetime is None


@pytest.mark.parametrize(
    ("value", "lifetime"), [(b"NaN", None), (b"Infinity", TEN_YEARS), (b"-Infinity", None), (b"1e999", TEN_YEARS)]
)
def test_numbers_that_json_does_not_have_are_parsed(value: bytes, lifetime: float | None) -> None:
    response = parse(200, b'{"access_token": "at", "expires_in": ' + value + b"}")
    assert isinstance(response, TokenResponse), response
    assert response.lifetime == lifetime


@pytest.mark.parametrize("value", [b"9" * 5000, b'"\xfcber"', b"1e999", b'"\\ud83d"'])
@pytest.mark.parametrize("field", [b"expires_in", b"scope", b"token_type", b"id_token", b"anything"])
def test_an_invalid_field_does_not_lose_the_refresh_token(field: bytes, value: bytes) -> None:
    response = parse(200, b'{"refresh_token": "rt", %s: %s, "access_token": "at"}' % (b'"' + field + b'"', value))
    assert isinstance(response, TokenResponse), response
    assert (response.access_token, response.refresh_token) == (Secret("at"), Secret("rt"))


def test_an_error_is_parsed_if_its_description_is_in_another_encoding() -> None:
    body = b'{"error": "invalid_grant", "error_description": "ung\xfcltig"}'
    assert parse(400, body) == InvalidGrant("invalid_grant: ung\ufffdltig")


def test_a_response_without_expires_in_has_no_lifetime() -> None:
    response = parse(200, {"access_token": "at"})
    assert isinstance(response, TokenResponse), response
    assert response.lifetime is None


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2))
def test_any_lifetime_is_none_or_positive_up_to_ten_years(value: object) -> None:
    lifetime = parse_lifetime(value)
    assert lifetime is None or 0 < lifetime <= TEN_YEARS


# ---- any response

STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503, 504])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BODIES = st.dictionaries(
    st.sampled_from(
        [
            "access_token",
            "refresh_token",
            "id_token",
            "token_type",
            "expires_in",
            "scope",
            "error",
            "error_description",
        ]
    ),
    JSON | st.just("at"),
).map(lambda fields: json.dumps(fields).encode())


@settings(max_examples=300)
@given(STATUSES, st.binary(max_size=100) | BODIES)
def test_any_response_is_usable_or_a_failure_with_a_printable_reason(status: int, body: bytes) -> None:
    result = parse(status, body)
    if isinstance(result, TokenResponse):
        tokens = [token for token in (result.access_token, result.refresh_token, result.id_token) if token is not None]
        assert tokens
        assert [token.reveal() for token in tokens if not token.reveal().isascii()] == []
        assert [token.reveal() for token in tokens if not token.reveal().isprintable()] == []
    else:
        assert isinstance(result, Failure)
        assert result.reason
        assert "\n" not in result.reason
        assert "\x1b" not in result.reason


@given(STATUSES, st.binary(max_size=200))
def test_no_response_without_invalid_grant_ends_a_session(status: int, body: bytes) -> None:
    assert not isinstance(parse(status, body), InvalidGrant) or b"invalid_grant" in body


def test_the_repr_of_a_response_contains_no_secret() -> None:
    text = repr(parse_granted(access_token="hunter2-a", refresh_token="hunter2-r", id_token="hunter2-i"))
    assert "hunter2" not in text
    assert text.count("Secret(…)") == 3


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500, 502])
def test_the_repr_of_a_failure_contains_no_secret(status: int) -> None:
    fields = {"error": "invalid_request", "refresh_token": "hunter2", "access_token": "hunter2"}
    assert "hunter2" not in repr(parse(status, fields))
    assert "hunter2" not in repr(parse(status, b'{"refresh_token": "hunter2'))
