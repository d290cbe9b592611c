"""Whether an ID token says what was asked for."""

import json

import pytest

from auth_agent.oauth.asked import lacks, login_problem, names_organization, refresh_problem
from auth_agent.oauth.id_token import acr, difference

NOW = 1_700_000_000
CLIENT = "app"


def is_refused(asked: dict[str, str], claims: dict[str, object] | None, *, is_auth0: bool = True) -> bool:
    return login_problem(asked, claims, is_auth0=is_auth0, required={}) is not None


# ---- organizations


@pytest.mark.parametrize(
    ("asked", "claims"),
    [
        ("org_abc", {"org_id": "org_abc"}),
        ("org_abc", {"org_id": "org_abc", "org_name": "other"}),
        ("acme", {"org_name": "acme"}),
        ("Acme", {"org_name": "aCME"}),
        ("Zu\u0308rich", {"org_name": "z\u00fcrich"}),
    ],
)
def test_the_organization_that_was_asked_for(asked: str, claims: dict[str, object]) -> None:
    assert not is_refused({"organization": asked}, claims)


@pytest.mark.parametrize(
    ("asked", "claims"),
    [
        ("org_abc", {"org_id": "org_xyz"}),
        ("org_abc", {"org_id": "ORG_ABC"}),
        ("org_abc", {"org_name": "org_abc"}),
        ("org_abc", {"org_id": None}),
        ("org_abc", {"org_id": ["org_abc"]}),
        ("org_abc", {"org_id": 7}),
        ("org_abc", {}),
        ("acme", {"org_name": "other", "org_id": "acme"}),
        ("acme", {}),
    ],
)
def test_another_organization_or_none_is_refused(asked: str, claims: dict[str, object]) -> None:
    assert is_refused({"organization": asked}, claims)
    assert not is_refused({"organization": asked}, claims, is_auth0=False)  # its claims may have other names
    assert not is_refused({}, claims)


def test_without_an_id_token_nothing_is_as_it_was_asked_for() -> None:
    for asked in ({"organization": "acme"}, {"max_age": "600"}, {"claims": essential("urn:mfa")}):
        assert is_refused(asked, None)
    assert login_problem({}, None, is_auth0=False, required={"org": "acme"}) is not None
    assert not is_refused({}, None)


# ---- the time and the kind of the login


@pytest.mark.parametrize(
    ("max_age", "auth_time", "refused"),
    [
        ("600", NOW - 600, False),
        ("600", NOW - 660, False),  # the leeway
        ("600", NOW - 661, True),
        ("600", None, True),
        ("600", "1700000000", True),
        ("600", True, True),
        ("600", float("nan"), True),
        ("0", NOW - 3600, False),
        ("0", None, True),
        ("", None, False),  # left out
        ("-5", NOW, True),
        ("600.0", NOW, True),
        (" 600", NOW, True),
        ("9" * 400, NOW, True),
    ],
)
def test_max_age_is_compared_with_the_tokens_own_time(max_age: str, auth_time: object, *, refused: bool) -> None:
    claims = {"iat": NOW, "auth_time": auth_time}
    assert is_refused({"max_age": max_age}, claims, is_auth0=False) is refused


def essential(*values: str, essential: object = True) -> str:
    first, *others = values
    wanted: dict[str, object] = {"values": [first, *others]} if others else {"value": first}
    return json.dumps({"id_token": {"acr": {"essential": essential, **wanted}}})


@pytest.mark.parametrize(
    ("asked", "found", "refused"),
    [
        (essential("urn:mfa"), "urn:mfa", False),
        (essential("urn:mfa", "urn:key"), "urn:key", False),
        (essential("urn:mfa"), "urn:pwd", True),
        (essential("urn:mfa"), None, True),
        (essential("urn:mfa", essential=False), "urn:pwd", False),
        ('{"id_token": {"acr": null}}', None, False),
        ("not JSON", None, False),
        ('{"id_token": {"acr": {"essential": true}}}', "urn:any", False),
        ('{"id_token": {"acr": {"essential": true}}}', None, True),
        ('{"id_token": {"acr": {"essential": true, "values": "urn:mfa"}}}', "urn:pwd", True),
        ('{"id_token": {"acr": {"essential": true, "values": []}}}', None, True),
        ('{"id_token": {"acr": {"essential": true, "value": 7}}}', "urn:pwd", True),
        ('{"id_token": {"acr": {"essential": true, "values": [null]}}}', "urn:pwd", True),
    ],
)
def test_an_essential_acr_is_required(asked: str, found: object, *, refused: bool) -> None:
    assert is_refused({"claims": asked}, {"acr": found}) is refused
    assert not is_refused({"acr_values": "urn:mfa"}, {"acr": found})  # always voluntary


# ---- what an account requires


@pytest.mark.parametrize(
    ("value", "claim", "refused"),
    [
        ("acme", "acme", False),
        ("acme", ["other", "acme"], False),
        ("acme", "Acme", True),
        ("acme", ["other"], True),
        ("acme", None, True),
        ("acme", {"acme": 1}, True),
        (7, 7, False),
        (1, True, True),
        (True, True, False),
        (True, "true", True),
    ],
)
def test_a_claim_is_required_at_every_provider(value: str | int | bool, claim: object, *, refused: bool) -> None:
    for is_auth0 in (False, True):
        problem = login_problem({}, {"org": claim}, is_auth0=is_auth0, required={"org": value})
        assert (problem is not None) is refused


# ---- what is required since the login


@pytest.mark.parametrize(
    ("required", "met", "claims", "is_lacking"),
    [
        ({}, {}, None, False),
        ({"team": "red"}, {}, None, True),
        ({"team": "red"}, {}, {}, True),
        ({"team": "red"}, {}, {"team": "blue"}, True),
        ({"team": "red"}, {}, {"team": ["blue", "red"]}, False),
        ({"team": "red"}, {"team": "red"}, None, False),
        ({"team": "red"}, {"team": "red"}, {}, False),
        ({"team": "red"}, {"team": "blue"}, {}, True),
        ({"team": "red", "mfa": True}, {"team": "red"}, {}, True),
        ({"team": "red", "mfa": True}, {"team": "red"}, {"mfa": True}, False),
        ({"mfa": True}, {"mfa": 1}, {}, True),
    ],
)
def test_a_session_lacks_what_neither_its_login_nor_its_id_token_had(
    required: dict[str, str | int | bool],
    met: dict[str, str | int | bool],
    claims: dict[str, object] | None,
    *,
    is_lacking: bool,
) -> None:
    assert lacks(required, met, claims) is is_lacking


# ---- at a refresh


def test_at_a_refresh_only_what_is_there_is_compared() -> None:
    required = {"team": "red"}
    assert refresh_problem({}, "org_abc", required) is None
    assert refresh_problem({"org_id": "org_abc", "team": "red"}, "org_abc", required) is None
    assert refresh_problem({"org_id": "org_xyz"}, None, {}) is None
    assert refresh_problem({"org_id": "org_xyz"}, "org_abc", {}) is not None
    assert refresh_problem({"team": "blue"}, None, required) is not None
    assert names_organization({"org_id": "org_abc"}, "org_abc")


@pytest.mark.parametrize(
    ("before", "after", "is_kept"),
    [
        ({}, {}, True),
        ({"azp": CLIENT}, {}, True),
        ({}, {"azp": CLIENT}, True),
        ({"azp": "other"}, {"azp": "other"}, True),
        ({}, {"azp": "other"}, False),
        ({"nonce": "n"}, {}, True),
        ({"nonce": "n"}, {"nonce": "n"}, True),
        ({}, {"nonce": "n"}, True),
        ({"nonce": "n"}, {"nonce": "m"}, False),
        ({"auth_time": NOW}, {"auth_time": NOW + 60}, True),
        ({"auth_time": NOW}, {"auth_time": NOW - 1}, False),
        ({"auth_time": NOW}, {"auth_time": "earlier"}, True),
        ({}, {"exp": NOW + 3600}, True),
        ({}, {"exp": 3600}, False),
    ],
)
def test_another_difference_only_keeps_the_id_token_before(
    before: dict[str, object], after: dict[str, object], *, is_kept: bool
) -> None:
    assert (difference(before, after, CLIENT, NOW) is None) is is_kept


def test_the_acr_is_shown_as_text() -> None:
    assert acr({"acr": "urn:mfa"}) == "urn:mfa"
    assert acr({"acr": "a\x1b[31m"}) == "a [31m"
    assert (acr({}), acr({"acr": 7})) == (None, None)
