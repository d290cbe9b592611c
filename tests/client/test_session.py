"""The client's results besides access tokens: ID token, profile, user, logout."""

from collections.abc import Mapping

import pytest

from auth_agent_client import Agent, IDToken, Internal, InvalidRequest, Logout, Profile


class FixedAgent(Agent):
    """Returns the same result for every call, and records the last call."""

    def __init__(self, result: Mapping[str, object]) -> None:
        super().__init__("/nonexistent/agent.sock")
        self._result = result
        self.last_call: Mapping[str, object] = {}

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self.last_call = {"method": method, **parameters}
        return {**self._result}


def profile(**claims: object) -> Profile:
    return FixedAgent({"account": "work", "claims": claims, "fetched_at": 7, "stale": False}).profile()


# ---- the ID token


def test_an_id_token_has_the_values_that_the_agent_sent() -> None:
    token = FixedAgent({"account": "work", "id_token": "e30.e30.s", "expires_at": 4e9}).id_token()
    assert isinstance(token, IDToken)
    assert (token.account, token.id_token, token.expires_at) == ("work", "e30.e30.s", 4e9)


def test_the_repr_of_an_id_token_does_not_contain_it() -> None:
    text = repr(IDToken("work", "e30.e30.s", 4e9))
    assert text == "IDToken(account='work', id_token=…, expires_at=4000000000.0)"


@pytest.mark.parametrize("missing", ["account", "id_token", "expires_at"])
def test_a_result_without_an_id_token_is_an_internal_error(missing: str) -> None:
    result = {"account": "work", "id_token": "e30.e30.s", "expires_at": 4e9, missing: None}
    with pytest.raises(Internal):
        FixedAgent(result).id_token()


# ---- the profile


def test_a_profile_has_standard_claims_as_properties_and_all_in_claims() -> None:
    claims: dict[str, object] = {
        "sub": "auth0|alice",
        "name": "Alice Example",
        "given_name": "Alice",
        "family_name": "Example",
        "nickname": "al",
        "email": "alice@example.org",
        "email_verified": True,
        "picture": "https://example.org/alice.png",
        "updated_at": 1_700_000_000,
        "https://acme.example/roles": ["admin", {"of": 7}],
    }
    result = profile(**claims)
    properties = {name: getattr(result, name) for name in claims if not name.startswith("https:")}
    assert result.claims == claims
    assert properties == {name: value for name, value in claims.items() if not name.startswith("https:")}
    assert (result.account, result.fetched_at, result.stale) == ("work", 7.0, False)


def test_a_missing_claim_is_none() -> None:
    result = profile(sub="auth0|alice")
    names = [name for name, value in vars(Profile).items() if isinstance(value, property)]
    assert len(names) == 9
    assert {name: getattr(result, name) for name in names} == {**dict.fromkeys(names), "sub": "auth0|alice"}


@pytest.mark.parametrize("value", [7, None, True, ["Alice"], {"first": "Alice"}, b"Alice"])
def test_a_standard_claim_of_a_wrong_type_is_none_and_kept_in_claims(value: object) -> None:
    names = ["sub", "name", "given_name", "family_name", "nickname", "email", "picture"]
    result = profile(**dict.fromkeys(names, value))
    assert [getattr(result, name) for name in names] == [None] * len(names)
    assert result.claims["name"] == value


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("yes", None),
        (1, None),
        (None, None),
        ([], None),
    ],
)
def test_email_verified_is_a_boolean_or_a_string(claim: object, expected: object) -> None:
    assert profile(email_verified=claim).email_verified is expected


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (1_700_000_000, 1_700_000_000.0),
        (1_700_000_000.5, 1_700_000_000.5),
        ("2023-11-14T22:13:20.500Z", 1_700_000_000.5),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("yesterday", None),
        ("", None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        (["2023-11-14"], None),
    ],
)
def test_updated_at_is_a_number_or_a_string(claim: object, expected: float | None) -> None:
    assert profile(updated_at=claim).updated_at == expected


def test_the_repr_of_a_profile_contains_no_claim_but_sub() -> None:
    assert repr(profile(sub="auth0|alice", email="a@b.example")) == (
        "Profile(account='work', sub='auth0|alice', claims=…, stale=False)"
    )


@pytest.mark.parametrize("missing", ["account", "claims", "fetched_at"])
def test_a_result_without_a_profile_is_an_internal_error(missing: str) -> None:
    claims: dict[str, object] = {}
    result: dict[str, object] = {"account": "work", "claims": claims, "fetched_at": 7.0, "stale": False, missing: None}
    with pytest.raises(Internal):
        FixedAgent(result).profile()


# ---- the user


@pytest.mark.parametrize("fields", [("name", "email"), ["name", "email"], {"name": 1, "email": 2}.keys()])
def test_fields_may_be_any_collection(fields: object) -> None:
    client = FixedAgent({"user": {"name": "Alice"}})
    assert client.user(fields=fields) == {"name": "Alice"}  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] -- any collection
    assert client.last_call["fields"] == ["name", "email"]


def test_a_string_is_not_a_list_of_fields() -> None:
    with pytest.raises(InvalidRequest) as raised:
        Agent("/nonexistent/agent.sock").user(fields="name")
    assert raised.value.parameter == "fields"


def test_metadata_are_read_and_changed() -> None:
    client = FixedAgent({"user_metadata": {"country": "Canada"}})
    assert client.user_metadata("work") == {"country": "Canada"}
    assert client.update_user_metadata("work", {"country": "Canada", "city": None}) == {"country": "Canada"}
    assert client.last_call == {
        "method": "update_user_metadata",
        "account": "work",
        "user_metadata": {"country": "Canada", "city": None},
        "clear": False,
        "timeout": None,
    }


@pytest.mark.parametrize("value", [{1}, object(), float("nan"), b"x", 2**70])
def test_metadata_that_are_not_json_are_not_sent(value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Agent("/nonexistent/agent.sock").update_user_metadata(None, {"x": value})
    assert caught.value.parameter == "user_metadata"


@pytest.mark.parametrize("result", [{}, {"user_metadata": None}, {"user_metadata": []}])
def test_a_result_without_metadata_is_an_internal_error(result: dict[str, object]) -> None:
    with pytest.raises(Internal):
        FixedAgent(result).user_metadata()


# ---- the logout


@pytest.mark.parametrize("revoked", [True, False])
def test_a_logout_is_true_if_the_refresh_token_was_revoked(revoked: bool) -> None:
    result = FixedAgent({"revoked": revoked}).logout()
    assert isinstance(result, Logout)
    # An older agent gives no reason.
    assert (bool(result), result.revoked, result.end_session_url, result.reason) == (revoked, revoked, None, None)


def test_a_logout_has_the_reason_why_nothing_was_revoked() -> None:
    result = FixedAgent({"revoked": False, "reason": "it may end another session"}).logout()
    assert (result.revoked, result.reason) == (False, "it may end another session")


@pytest.mark.parametrize("reason", [None, "", 7, b"it", ["it"]])
def test_a_reason_that_is_not_a_sentence_is_none(reason: object) -> None:
    assert FixedAgent({"revoked": False, "reason": reason}).logout().reason is None


def test_a_parameter_that_older_agents_lack_is_sent_only_if_set() -> None:
    agent = FixedAgent({"revoked": True})
    for value, sent in ((False, None), (True, True)):  # a parameter of None is left out of a request
        agent.logout("work", revoke_shared=value)
        assert agent.last_call["revoke_shared"] is sent


def test_a_logout_has_the_logout_url_and_its_repr_does_not_contain_it() -> None:
    url = "https://id.example/logout?id_token_hint=e30.e30.s"
    result = FixedAgent({"revoked": True, "end_session_url": url}).logout()
    assert result.end_session_url == url
    assert repr(result) == "Logout(revoked=True, end_session_url=…, reason=None)"
    assert repr(Logout(revoked=False, end_session_url=None)) == (
        "Logout(revoked=False, end_session_url=None, reason=None)"
    )
