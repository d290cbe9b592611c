"""What a token endpoint's answer means: the `error` field is the truth, not the status."""

import json
from email.utils import formatdate

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.oauth.device import device_request
from auth_agent.oauth.outcome import (
    Busy,
    Failure,
    InteractionRequired,
    InvalidGrant,
    Lost,
    Misconfigured,
    Refusal,
    TokenResponse,
    Transient,
    UnexplainedRefusal,
)
from auth_agent.oauth.requests import (
    device_form,
    parse_lifetime,
    parse_token_response,
    revocation_form,
)
from auth_agent.oauth.token_request import (
    TokenRequest,
    client_credentials_request,
    code_request,
    refresh_request,
)
from auth_agent.secret import Secret

NOW = 1_700_000_000.0
TEN_YEARS = 315_360_000.0


def answer(status: int, body: object, **headers: str) -> TokenResponse | Failure:
    """What an answer means; a body that is not bytes is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_token_response(status, {name.replace("_", "-"): value for name, value in headers.items()}, sent, NOW)


def granted(**fields: object) -> TokenResponse:
    reply = answer(200, {"access_token": "at", "token_type": "Bearer", "expires_in": 3600, **fields})
    assert isinstance(reply, TokenResponse), reply
    return reply


# ---- what is asked


def test_a_refresh_names_neither_audience_nor_scope() -> None:
    form = refresh_request(Secret("rt")).form(is_auth0=True)
    assert form == {"grant_type": "refresh_token", "refresh_token": "rt"}


@pytest.mark.parametrize(("is_auth0", "name"), [(True, "audience"), (False, "resource")])
def test_a_refresh_for_another_api_names_it_as_its_provider_has_it(is_auth0: bool, name: str) -> None:
    request = refresh_request(Secret("rt"), "https://api.example", "read write")
    assert request.form(is_auth0=is_auth0) == {
        "grant_type": "refresh_token",
        "refresh_token": "rt",
        name: "https://api.example",
        "scope": "read write",
    }


def test_a_code_is_redeemed_with_its_verifier() -> None:
    request = code_request(Secret("c"), "http://127.0.0.1:8976/callback", Secret("v"))
    assert request.form(is_auth0=False) == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "http://127.0.0.1:8976/callback",
        "code_verifier": "v",
    }


def test_what_is_wanted_is_named_where_there_is_something() -> None:
    assert device_form("openid", "https://api.example/") == {"scope": "openid", "audience": "https://api.example/"}
    assert client_credentials_request("", None).form(is_auth0=False) == {"grant_type": "client_credentials"}


@pytest.mark.parametrize("is_auth0", [True, False])
def test_a_client_names_the_api_of_its_own_token_in_one_way(is_auth0: bool) -> None:
    request = client_credentials_request("read:all", "https://api.example/")
    assert request.form(is_auth0=is_auth0) == {
        "grant_type": "client_credentials",
        "scope": "read:all",
        "audience": "https://api.example/",
    }


@pytest.mark.parametrize(
    "made",
    [
        refresh_request(Secret("s3cret")),
        code_request(Secret("s3cret"), "http://127.0.0.1/", Secret("s3cret")),
        device_request(Secret("s3cret")),
    ],
)
def test_a_request_does_not_show_what_it_presents(made: TokenRequest) -> None:
    assert "s3cret" not in repr(made)
    assert {secret.reveal() for secret in made.secrets.values()} == {"s3cret"}


def test_a_revocation_says_which_kind_of_token_it_is() -> None:
    assert revocation_form(Secret("rt")) == {"token": "rt", "token_type_hint": "refresh_token"}


# ---- refusals: each code at each status

BY_ERROR: dict[str, type[Failure]] = {
    "invalid_grant": InvalidGrant,
    "invalid_client": Misconfigured,
    "unauthorized_client": Misconfigured,
    "unsupported_grant_type": Misconfigured,
    "invalid_request": Misconfigured,
    "invalid_target": Refusal,
    "invalid_scope": Refusal,
    "access_denied": Refusal,
    "interaction_required": InteractionRequired,
    "mfa_required": InteractionRequired,
    "login_required": InteractionRequired,
    "consent_required": InteractionRequired,
}


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 502])
@pytest.mark.parametrize("error", BY_ERROR)
def test_an_error_means_the_same_whatever_the_status(status: int, error: str) -> None:
    found = answer(status, {"error": error})
    assert isinstance(found, Failure)
    assert (type(found), found.reason) == (BY_ERROR[error], error)


def test_a_client_that_is_not_known_has_other_keys_to_correct_than_the_issuer() -> None:
    assert answer(401, {"error": "invalid_client"}) == Misconfigured(
        "invalid_client", keys=("client_id", "token_endpoint_auth_method")
    )


@pytest.mark.parametrize("error", [*BY_ERROR, "server_error", "too_many_requests"])
def test_too_many_requests_is_never_more_than_that(error: str) -> None:
    assert answer(429, {"error": error}, retry_after="7") == Busy(error, 7.0)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 503])
@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable", "slow_down", "made_up", "INVALID_GRANT"])
def test_an_error_that_says_nothing_of_the_session_passes(status: int, error: str) -> None:
    assert answer(status, {"error": error}) == Transient(error)
    assert answer(status, {"error": error}, retry_after="7") == Busy(error, 7.0)


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_says_nothing_of_the_session_may_have_lost_the_reply(status: int) -> None:
    assert answer(status, {"error": "server_error"}) == Lost("server_error")


def test_only_invalid_grant_kills_a_refresh_token() -> None:
    outcomes = {error: answer(403, {"error": error}) for error in BY_ERROR}
    dead = {error for error, came in outcomes.items() if isinstance(came, InvalidGrant)}
    assert dead == {"invalid_grant"}


@pytest.mark.parametrize("quoted", ["se+cret/token", "se%2Bcret%2Ftoken"])
def test_a_token_that_the_provider_quotes_is_not_shown(quoted: str) -> None:
    for error, description in (("invalid_grant", f"bad token: {quoted}."), (f"bad {quoted}", "x" * 195 + quoted)):
        body = json.dumps({"error": error, "error_description": description}).encode()
        outcome = parse_token_response(400, {}, body, NOW, (Secret("se+cret/token"),))
        assert isinstance(outcome, Failure)
        assert "token:" in outcome.reason or "bad" in outcome.reason
        assert "se+cret" not in outcome.reason
        assert "se%2B" not in outcome.reason


@pytest.mark.parametrize("status", [200, 201, 203])
def test_what_was_granted_counts_whatever_kind_of_success_it_was(status: int) -> None:
    assert isinstance(answer(status, {"access_token": "at", "refresh_token": "rt"}), TokenResponse)


def test_the_description_is_part_of_the_reason() -> None:
    refusal = answer(403, {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."})
    assert refusal == InvalidGrant("invalid_grant: Unknown or invalid refresh token.")


@pytest.mark.parametrize("description", [None, 7, ["text"], {"a": 1}, ""])
def test_a_description_that_is_no_text_is_left_out(description: object) -> None:
    assert answer(400, {"error": "invalid_grant", "error_description": description}) == InvalidGrant("invalid_grant")


def test_control_characters_and_terminal_escapes_are_made_printable() -> None:
    description = "\x1b[2J\x1b]0;owned\x07 line\r\nforged=yes \u202eright-to-left"
    refusal = answer(400, {"error": "invalid_grant", "error_description": description})
    assert refusal == InvalidGrant("invalid_grant:  [2J ]0;owned  line  forged=yes  right-to-left")
    assert answer(400, {"error": "bad\x1b[31m\n"}) == Transient("bad [31m ")


def test_a_reason_is_not_longer_than_a_line_has_room_for() -> None:
    refusal = answer(400, {"error": "e" * 10_000, "error_description": "d" * 10_000})
    assert isinstance(refusal, Failure)
    assert len(refusal.reason) < 300


# ---- no readable error


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    "body",
    [
        b"",
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
def test_a_refusal_that_does_not_say_why_is_no_verdict(status: int, body: object) -> None:
    assert answer(status, body) == UnexplainedRefusal(f"the provider refused and did not say why (HTTP {status})")


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
def test_garbage_instead_of_a_reply_is_a_lost_reply(body: object) -> None:
    assert answer(200, body).__class__ is Lost


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_s_page_is_a_lost_reply(status: int) -> None:
    assert answer(status, b"<html>Bad Gateway</html>") == Lost(f"a gateway answered for the provider (HTTP {status})")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [b"", {"access_token": "at", "refresh_token": "rt", "expires_in": 3600}])
def test_a_redirect_is_never_followed_and_passes(status: int, body: object) -> None:
    assert answer(status, body, location="https://evil.example/") == Busy(
        f"the provider answered with a redirect (HTTP {status}), which the agent does not follow"
    )


@pytest.mark.parametrize("status", [404, 405, 418, 429, 500, 503])
def test_any_other_status_passes(status: int) -> None:
    assert answer(status, b"") == Busy(f"the provider answered HTTP {status}")
    assert answer(status, b"", retry_after="7") == Busy(f"the provider answered HTTP {status}", 7.0)


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
def test_retry_after_is_seconds_or_a_date_within_ten_minutes(value: str, seconds: float) -> None:
    assert answer(429, b"", retry_after=value) == Busy("the provider answered HTTP 429", seconds)


@pytest.mark.parametrize(
    "value",
    ["", " ", "soon", "-1", "1.5", "NaN", "inf", "1e3", "0x10", "²", "٣", "Tue, 99 Nov 2023", "2023-11-14T22:13:30Z"],
)
def test_a_retry_after_that_means_nothing_is_left_out(value: str) -> None:
    assert answer(429, b"", retry_after=value) == Busy("the provider answered HTTP 429", None)


@pytest.mark.parametrize("wrong", [59, -59, 7200, -7200])
def test_a_date_to_retry_after_is_meant_by_the_clock_that_the_answer_was_sent_by(wrong: float) -> None:
    then, at = (formatdate(NOW + wrong + later, usegmt=True) for later in (0, 10))
    assert answer(503, b"", retry_after=at, date=then) == Busy("the provider answered HTTP 503", 10.0)
    assert answer(503, b"", retry_after="10", date=then) == Busy("the provider answered HTTP 503", 10.0)


@pytest.mark.parametrize("date", ["", "today", "Tue, 99 Nov 2023"])
def test_where_an_answer_has_no_date_its_retry_after_is_meant_by_the_clock_here(date: str) -> None:
    at = "Tue, 14 Nov 2023 22:13:30 GMT"
    assert answer(503, b"", retry_after=at, date=date) == Busy("the provider answered HTTP 503", 10.0)


@given(st.text() | st.text("0123456789:,+- MonJaGTu."))
def test_whatever_retry_after_says_it_is_nothing_or_within_ten_minutes(value: str) -> None:
    busy = answer(503, b"", retry_after=value)
    assert isinstance(busy, Busy)
    assert busy.retry_after is None or 0 <= busy.retry_after <= 600


# ---- replies


def test_a_whole_reply_is_read() -> None:
    reply = granted(token_type="DPoP", refresh_token="rt", scope="openid email", id_token="a.b.c", new_field=7)
    assert reply == TokenResponse(
        access_token=Secret("at"),
        token_type="DPoP",
        lifetime=3600.0,
        refresh_token=Secret("rt"),
        scope="openid email",
        id_token=Secret("a.b.c"),
    )


def test_a_reply_without_a_new_refresh_token_or_an_id_token_is_a_reply() -> None:
    reply = granted()
    assert (reply.refresh_token, reply.id_token, reply.scope) == (None, None, None)


def test_a_refresh_token_without_an_access_token_is_kept() -> None:
    reply = answer(200, {"refresh_token": "rt"})
    assert isinstance(reply, TokenResponse), reply
    assert (reply.access_token, reply.refresh_token) == (None, Secret("rt"))


@pytest.mark.parametrize(
    ("given_type", "token_type"),
    [("Bearer", "Bearer"), ("bearer", "bearer"), ("DPoP", "DPoP"), (None, "Bearer"), ("", "Bearer"), (7, "Bearer")],
)
def test_the_token_type_is_the_provider_s_and_bearer_where_it_is_missing(given_type: object, token_type: str) -> None:
    assert granted(token_type=given_type).token_type == token_type


def test_a_reply_without_a_token_type_is_bearer() -> None:
    reply = answer(200, {"access_token": "at"})
    assert isinstance(reply, TokenResponse), reply
    assert reply.token_type == "Bearer"


def test_a_token_type_can_not_forge_a_header() -> None:
    assert granted(token_type="Bearer\r\nX-Forged: 1").token_type == "Bearer"


@pytest.mark.parametrize("scope", [None, 7, ["openid"], {}])
def test_a_scope_that_is_no_text_is_left_out(scope: object) -> None:
    assert granted(scope=scope).scope is None


NO_TOKENS: list[object] = [
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


@pytest.mark.parametrize("token", NO_TOKENS)
def test_an_access_token_of_anything_but_visible_ascii_is_none(token: object) -> None:
    assert answer(200, {"access_token": token, "expires_in": 3600}).__class__ is Lost


@pytest.mark.parametrize("token", NO_TOKENS)
def test_other_tokens_of_anything_but_visible_ascii_are_none(token: object) -> None:
    reply = granted(refresh_token=token, id_token=token)
    assert (reply.access_token, reply.refresh_token, reply.id_token) == (Secret("at"), None, None)


def test_a_refresh_token_is_kept_where_the_access_token_is_none() -> None:
    reply = answer(200, {"access_token": "forged\r\n", "refresh_token": "rt"})
    assert isinstance(reply, TokenResponse), reply
    assert (reply.access_token, reply.refresh_token) == (None, Secret("rt"))


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
def test_expires_in_is_a_number_or_a_text_of_one_and_ten_years_at_most(expires_in: object, lifetime: float) -> None:
    assert granted(expires_in=expires_in).lifetime == lifetime


@pytest.mark.parametrize(
    "expires_in",
    [None, 0, 0.0, -0.0, -1, -3600, "0", "-1", "", "soon", "nan", float("nan"), float("-inf"), True, False, [3600], {}],
)
def test_an_expires_in_that_says_nothing_is_left_out(expires_in: object) -> None:
    assert granted(expires_in=expires_in).lifetime is None


@pytest.mark.parametrize(
    ("text", "lifetime"), [(b"NaN", None), (b"Infinity", TEN_YEARS), (b"-Infinity", None), (b"1e999", TEN_YEARS)]
)
def test_numbers_that_json_does_not_have_are_read_all_the_same(text: bytes, lifetime: float | None) -> None:
    reply = answer(200, b'{"access_token": "at", "expires_in": ' + text + b"}")
    assert isinstance(reply, TokenResponse), reply
    assert reply.lifetime == lifetime


@pytest.mark.parametrize("name", ["refresh_token_expires_in", "refresh_expires_in"])
def test_a_session_lasts_as_long_as_its_refresh_token(name: str) -> None:
    assert granted(**{name: 86_400}).session_lifetime == 86_400
    assert granted(**{name: 0}).session_lifetime is None  # Keycloak's word for "for ever"
    assert granted().session_lifetime is None


@pytest.mark.parametrize("value", [b"9" * 5000, b'"\xfcber"', b"1e999", b'"\\ud83d"'])
@pytest.mark.parametrize("field", [b"expires_in", b"scope", b"token_type", b"id_token", b"anything"])
def test_a_field_that_is_broken_costs_no_refresh_token_beside_it(field: bytes, value: bytes) -> None:
    reply = answer(200, b'{"refresh_token": "rt", %s: %s, "access_token": "at"}' % (b'"' + field + b'"', value))
    assert isinstance(reply, TokenResponse), reply
    assert (reply.access_token, reply.refresh_token) == (Secret("at"), Secret("rt"))


def test_a_verdict_is_read_though_its_text_is_in_another_encoding() -> None:
    verdict = b'{"error": "invalid_grant", "error_description": "ung\xfcltig"}'
    assert answer(400, verdict) == InvalidGrant("invalid_grant: ung\ufffdltig")


def test_a_reply_without_expires_in_has_no_lifetime() -> None:
    reply = answer(200, {"access_token": "at"})
    assert isinstance(reply, TokenResponse), reply
    assert reply.lifetime is None


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2))
def test_whatever_expires_in_is_a_lifetime_is_above_zero_and_ten_years_at_most(value: object) -> None:
    lifetime = parse_lifetime(value)
    assert lifetime is None or 0 < lifetime <= TEN_YEARS


# ---- anything at all

STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503, 504])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ANSWERS = st.dictionaries(
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
@given(STATUSES, st.binary(max_size=100) | ANSWERS)
def test_whatever_comes_is_a_usable_reply_or_a_failure_whose_reason_can_be_printed(status: int, body: bytes) -> None:
    came = answer(status, body)
    if isinstance(came, TokenResponse):
        tokens = [token for token in (came.access_token, came.refresh_token, came.id_token) if token is not None]
        assert came.access_token or came.refresh_token
        assert [token.reveal() for token in tokens if not token.reveal().isascii()] == []
        assert [token.reveal() for token in tokens if not token.reveal().isprintable()] == []
    else:
        assert isinstance(came, Failure)
        assert came.reason
        assert "\n" not in came.reason
        assert "\x1b" not in came.reason


@given(STATUSES, st.binary(max_size=200))
def test_no_answer_without_invalid_grant_ends_a_session(status: int, body: bytes) -> None:
    assert not isinstance(answer(status, body), InvalidGrant) or b"invalid_grant" in body


def test_the_repr_of_a_reply_shows_no_secret() -> None:
    shown = repr(granted(access_token="hunter2-a", refresh_token="hunter2-r", id_token="hunter2-i"))
    assert "hunter2" not in shown
    assert shown.count("Secret(…)") == 3


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500, 502])
def test_the_repr_of_a_failure_shows_no_secret_of_the_answer(status: int) -> None:
    fields = {"error": "invalid_request", "refresh_token": "hunter2", "access_token": "hunter2"}
    assert "hunter2" not in repr(answer(status, fields))
    assert "hunter2" not in repr(answer(status, b'{"refresh_token": "hunter2'))
