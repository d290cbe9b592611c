"""A provider in trouble: invisible while a token is good, plain afterwards, over when it is over."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from auth_agent_client import Agent, LoginRequired, Misconfigured, Timeout, Unavailable
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.op.provider import HELD, FaultMode, OpenIDProvider, fingerprint

# Seconds between two attempts, at most: for a session that somebody asks for, and for another one.
ASKED_CAP, BACKOFF_CAP = 2.0, 30.0


def test_an_outage_is_invisible_until_the_token_expires_and_short_afterwards(
    start_provider: Callable[..., OpenIDProvider],
) -> None:
    provider = start_provider(access_token_lifetime=8)
    with AgentProcess({"asked": account(provider), "left": account(provider, "second-app")}) as agent:
        with agent.client() as client:
            log_in(client, provider, "asked")
            log_in(client, provider, "left", client_id="second-app")
            provider.fault("status", status=500, times=None)

            expires_at = client.token("asked").expires_at or 0.0
            assert served_until_refused(client, "asked") == {expires_at}
            assert time.time() > expires_at - 0.05

            until(lambda: not client.has_valid("asked"))
            attempts = provider.count(provider.token_path)
            for _ in range(40):
                with pytest.raises(Unavailable) as raised:
                    client.token("asked")
                assert raised.value.retry_after is not None
                assert raised.value.retry_after <= ASKED_CAP
            # Nobody waited for an attempt of its own.
            assert provider.count(provider.token_path) - attempts < 20

            until(lambda: not client.has_valid("left"))
            provider.clear_faults()
            until(lambda: served_again(client, "asked"))
            until(lambda: client.has_valid("left"), timeout=BACKOFF_CAP + PATIENCE)
        assert [row.presented for row in provider.ledger().values() if row.succeeded > 1] == []


def served_until_refused(client: Agent, name: str) -> set[float | None]:
    """Return the ends of all tokens that are served until none is."""
    ends: set[float | None] = set()
    with suppress(Unavailable):
        while True:
            ends.add(client.token(name).expires_at)
    return ends


def served_again(client: Agent, name: str) -> bool:
    try:
        client.token(name)
    except Unavailable:
        return False
    return True


def test_a_slow_provider_does_not_delay_valid_tokens(
    start_provider: Callable[..., OpenIDProvider],
) -> None:
    provider = start_provider(access_token_lifetime=20)
    accounts = {"a": account(provider), "b": account(provider, "second-app")}
    with AgentProcess(accounts) as agent, agent.client() as client:
        log_in(client, provider, "a")
        log_in(client, provider, "b", client_id="second-app")
        provider.fault("delay-after", ms=HELD, client_id="native-app", grant_type="refresh_token")
        with pytest.raises(Timeout):
            client.refresh("a", timeout=0.1)
        for _ in range(100):
            for name in accounts:
                assert client.token(name).access_token
        assert record(client, "a")["renewal"] == "running"  # all of that before the provider responded
        provider.release()
        until(lambda: record(client, "a")["renewal"] == "idle")
        assert record(client, "a")["refreshes"] == 1


def test_a_lost_response_within_the_overlap_loses_nothing(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=3600, overlap=30)
    tokens = provider.login()
    assert tokens.refresh_token is not None
    with AgentProcess({"work": account(provider)}) as agent, agent.client() as client:
        provider.fault("drop-after", grant_type="refresh_token")
        client.import_refresh_token(tokens.refresh_token)
        assert provider.ledger()[fingerprint(tokens.refresh_token)].presented == 2
        for mode in ("drop-after", "half"):
            provider.fault(mode, times=2, grant_type="refresh_token")
            before = client.token().access_token
            assert client.refresh().access_token != before
        assert provider.userinfo(client.token().access_token).status_code == 200
        assert record(client)["refreshes"] == 2


def test_a_response_lost_without_an_overlap_ends_the_session_with_the_reason(
    client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault("drop-after", grant_type="refresh_token")
    with pytest.raises(LoginRequired) as raised:
        client.refresh()
    assert raised.value.reason is not None
    assert "invalid_grant" in raised.value.reason
    assert record(client)["state"] == "login_required"


@pytest.mark.parametrize("mode", ["drop-before", "garbage"])
def test_a_request_that_the_provider_did_not_process_is_sent_again(
    mode: FaultMode, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault(mode, times=2, grant_type="refresh_token")
    assert provider.userinfo(client.refresh().access_token).status_code == 200


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 307])
def test_an_http_error_without_an_oauth_error_does_not_end_the_session(
    status: int, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    good = client.token().access_token
    provider.fault("status", status=status, body="", headers={"location": provider.url + "/elsewhere"}, times=None)
    with pytest.raises(Unavailable):
        client.refresh()
    assert client.token().access_token == good
    assert provider.count("/elsewhere") == 0  # no redirect is followed with a refresh token
    provider.clear_faults()
    assert client.refresh().access_token != good


@pytest.mark.parametrize(
    ("error", "raised", "state"),
    [
        ("invalid_grant", LoginRequired, "login_required"),
        ("mfa_required", LoginRequired, "ready"),  # while its token is valid
        ("invalid_client", Misconfigured, "ready"),
        ("invalid_target", Unavailable, "ready"),
        ("made_up", Unavailable, "ready"),
        ("temporarily_unavailable", Unavailable, "ready"),
    ],
)
@pytest.mark.parametrize("status", [400, 403])
def test_the_error_decides_with_any_http_status(
    error: str, raised: type[Exception], state: str, status: int, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault(
        "status", status=status, body={"error": error, "error_description": "of the\x1b[31m test"}, times=None
    )
    with pytest.raises(raised, match="of the"):
        client.refresh()
    result = record(client)
    assert result["state"] == state
    assert str(result["reason"]) == f"{error}: of the [31m test"


@pytest.mark.parametrize(
    ("status", "set_"), [(200, {"error": "none"}), (500, {}), (502, {}), (403, {}), (400, {"error": "invalid_grant"})]
)
def test_a_new_refresh_token_beside_a_failure_is_the_one_that_is_sent_next(
    status: int, set_: dict[str, object], client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault("merge", status=status, set=set_, grant_type="refresh_token")
    with pytest.raises(Unavailable):
        client.refresh()
    # The provider detects a reuse: had the replaced refresh token been sent again, the session would be over.
    assert provider.userinfo(client.refresh().access_token).status_code == 200
    assert [row.presented for row in provider.ledger().values()] == [1, 1, 1]


def test_a_session_revoked_at_the_provider_needs_a_login(client: Agent, provider: OpenIDProvider) -> None:
    tokens = provider.login()
    assert tokens.refresh_token is not None
    client.import_refresh_token(tokens.refresh_token)
    provider.refresh(tokens.refresh_token)  # a reuse: the provider revokes the whole family
    with pytest.raises(LoginRequired):
        client.refresh()
    with pytest.raises(LoginRequired):
        client.token()
    assert record(client)["renewal"] == "none"


@pytest.mark.parametrize("lifetime", [0, -5, "soon", [1], None])
def test_a_lifetime_that_is_not_valid_is_assumed_to_be_an_hour(
    lifetime: object, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault("merge", set={"expires_in": lifetime}, grant_type="refresh_token")
    left = (client.refresh().expires_at or 0.0) - time.time()
    assert 3500 < left < 3600


@pytest.mark.parametrize(("lifetime", "least", "most"), [("7200", 7100, 7200), (1e300, 3e8, 4e8)])
def test_a_lifetime_that_is_a_string_or_huge_is_accepted(
    lifetime: object, least: float, most: float, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault("merge", set={"expires_in": lifetime}, grant_type="refresh_token")
    assert least < (client.refresh().expires_at or 0.0) - time.time() < most


def test_an_endless_response_is_cut_off(client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider)
    provider.fault("huge", times=3, grant_type="refresh_token")
    with pytest.raises(Unavailable, match="bytes"):
        client.refresh()
    assert provider.userinfo(client.refresh().access_token).status_code == 200
