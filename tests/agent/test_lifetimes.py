"""How long tokens live, by all the ways in which providers say it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.lifetimes import (
    MAX_LIFETIME,
    UNLIMITED,
    access_token_lifetime,
    lifetime_by_claim,
    refresh_token_lifetime,
)
from auth_agent.oauth.outcome import TokenResponse
from auth_agent.oauth.requests import parse_token_response
from auth_agent.secret import Secret
from tests.agent.world import jwt

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"  # NOW


def response(date: str | None = DATE, now: float = NOW, **fields: object) -> TokenResponse:
    body = json.dumps({"access_token": "at", **fields}).encode()
    parsed = parse_token_response(200, {} if date is None else {"date": date}, body, now)
    assert isinstance(parsed, TokenResponse), parsed
    return parsed


# ---- the refresh token's end


@pytest.mark.parametrize(
    "name",
    [
        "refresh_token_expires_in",
        "refresh_expires_in",
        "x_refresh_token_expires_in",
        "refresh_token_expires_in_secs",
        "refresh_token_lifetime",
        "refresh_token_timeout",
        "refresh_token_ttl",
        "refresh_token_max_age",
        "refresh_token_validity",
        "refresh_token_expiration",
        "refresh_token_expiry",
        "refreshTokenExpiresIn",
        "refreshTokenLifetime",
        "refresh-token-expires-in",
    ],
)
@pytest.mark.parametrize("value", [86_400, 86_400.0, "86400"])
def test_a_duration_of_the_refresh_token_is_known_by_any_name(name: str, value: object) -> None:
    assert refresh_token_lifetime({name: value}, NOW) == 86_400


@pytest.mark.parametrize(
    "name",
    [
        "refresh_token_expires_at",
        "refresh_expires_at",
        "refresh_token_expires_on",
        "refresh_token_expires",
        "refresh_token_expiration",
        "refreshTokenExpiresAt",
        "refresh_token_expires_in",
    ],
)
@pytest.mark.parametrize(
    "value",
    [NOW + 86_400, str(NOW + 86_400), (NOW + 86_400) * 1000, "2027-01-16T08:00:00Z", "2027-01-16T09:00:00+01:00"],
)
def test_a_time_of_the_refresh_tokens_end_is_relative_to_the_response(name: str, value: object) -> None:
    assert refresh_token_lifetime({name: value}, NOW) == 86_400


@pytest.mark.parametrize("value", [0, 0.0, "0", -1, "-1"])
def test_zero_is_no_end_as_of_keycloaks_offline_tokens(value: object) -> None:
    assert refresh_token_lifetime({"refresh_expires_in": value}, NOW) == UNLIMITED


@pytest.mark.parametrize(
    "value", [None, True, False, "soon", "", [60], {}, float("nan"), NOW - 60, "2027-01-14T08:00:00Z"]
)
def test_what_is_no_end_of_the_refresh_token_is_ignored(value: object) -> None:
    assert refresh_token_lifetime({"refresh_token_expires_in": value}, NOW) is None


@pytest.mark.parametrize(
    "name", ["refresh_token", "expires_in", "refresh_in", "refresh_token_issued_at", "refresh_count", "ext_expires_in"]
)
def test_other_members_are_not_the_refresh_tokens_end(name: str) -> None:
    assert refresh_token_lifetime({name: 86_400}, NOW) is None


def test_the_first_usable_member_counts() -> None:
    assert refresh_token_lifetime({"refresh_expires_in": None, "refresh_token_expires_in": 60}, NOW) == 60


@given(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str))
def test_any_value_gives_a_lifetime_or_none(name: str, value: object) -> None:
    for key in ("refresh_token_expires_at", name):
        lifetime = refresh_token_lifetime({key: value}, NOW)
        assert lifetime is None or lifetime == UNLIMITED or 1 <= lifetime <= MAX_LIFETIME


# ---- the access token's


@pytest.mark.parametrize("value", [NOW + 600, str(int(NOW + 600)), (NOW + 600) * 1000, "2027-01-15T08:10:00Z"])
@pytest.mark.parametrize("name", ["expires_at", "expires_on"])
def test_a_time_stands_for_a_missing_expires_in(name: str, value: object) -> None:
    assert access_token_lifetime({name: value}, NOW) == 600
    assert access_token_lifetime({"expires_in": 60, name: value}, NOW) == 60


@pytest.mark.parametrize("value", [600, 0, -1, NOW - 60, None, True, "soon", "2027-01-15T07:00:00Z"])
def test_a_time_that_is_none_is_left_out(value: object) -> None:
    assert access_token_lifetime({"expires_at": value}, NOW) is None


@pytest.mark.parametrize(("exp", "lifetime"), [(NOW + 600, 600), (NOW + 600.5, 600.5), (NOW, 0), (NOW - 60, -60)])
def test_the_claim_exp_of_a_jwt_is_relative_to_the_response(exp: float, lifetime: float) -> None:
    assert lifetime_by_claim(jwt(exp=exp), NOW) == lifetime


@pytest.mark.parametrize("exp", [None, True, str(int(NOW) + 600), 0, -1, (NOW + 600) * 1000, [NOW + 600]])
def test_an_exp_that_is_not_in_plain_seconds_is_ignored(exp: object) -> None:
    assert lifetime_by_claim(jwt(exp=exp), NOW) is None


@pytest.mark.parametrize("token", [None, Secret("opaque"), Secret("a.b.c"), Secret("a.b.c.d.e")])
def test_a_token_that_cannot_be_read_says_nothing(token: Secret | None) -> None:
    assert lifetime_by_claim(token, NOW) is None


# ---- in a response


@pytest.mark.parametrize("off", [-7200.0, 0.0, 7200.0])
def test_times_are_relative_to_the_responses_date_whatever_this_machines_clock_says(off: float) -> None:
    parsed = response(now=NOW + off, access_token=jwt(exp=NOW + 600).reveal(), refresh_token_expires_at=NOW + 900)
    assert (parsed.lifetime_by_claim, parsed.refresh_token_lifetime) == (600, 900)


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_date_they_are_relative_to_now(date: str | None) -> None:
    parsed = response(date, NOW, access_token=jwt(exp=NOW + 600).reveal(), expires_at=NOW + 900)
    assert (parsed.lifetime_by_claim, parsed.lifetime) == (600, 900)


def test_the_date_of_these_tests_is_now() -> None:
    assert datetime.strptime(DATE, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp() == NOW
