"""The ends that a real provider sets: of a session, of its refresh token, and of an access token by its own word."""

import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from auth_agent_client import Agent, Denied, LoginRequired
from tests.faults import shifted_clock
from tests.faults.shifted_clock import ShiftedClock
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import OpenIDProvider

LEEWAY = 30
API = "https://api.acme.example"


def fail_with_session_expired(client: Agent) -> None:
    with pytest.raises(LoginRequired) as refused:
        client.token("work")
    assert (refused.value.reason, refused.value.failure) == ("session_expired", "session_expired")
    assert [remedy.line for remedy in refused.value.remedy] == ["auth-agent login work"]


@contextmanager
def on_a_clock(
    provider: OpenIDProvider, folder: Path, client_id: str = "native-app"
) -> Generator[tuple[AgentProcess, ShiftedClock], None, None]:
    """Run an agent on a clock that the test moves."""
    clock = ShiftedClock.make(folder / "clock")
    command = (sys.executable, "-W", "error", shifted_clock.__file__, str(folder / "clock"))
    with AgentProcess({"work": account(provider, client_id)}, command=command) as process:
        yield process, clock


# ---- the session's


def test_a_session_ends_at_its_ceiling_unasked_and_its_secrets_are_erased_and_not_revoked(
    provider: OpenIDProvider,
) -> None:
    with KeyringSession() as keyring:
        accounts, environment = {"work": account(provider)}, keyring.environment
        with AgentProcess(accounts, environment=environment, store="keyring") as process, process.client() as client:
            ceiling = int(time.time()) + LEEWAY + 12
            provider.fault("merge", times=None, claims={"session_expiry": ceiling})
            log_in(client, provider)
            watched = client.watch(["work"])
            assert next(watched).session_ends_at == ceiling
            assert client.token("work").access_token
            sent = provider.ledger()
            until(lambda: next(watched).state == "login_required")
            assert time.time() < ceiling
            shown = record(client)
            assert (shown["reason"], shown["failure"]) == ("session_expired", "session_expired")
            fail_with_session_expired(client)
            assert not client.has_valid("work")
            for method in (client.refresh, client.profile, client.id_token):
                with pytest.raises(LoginRequired):
                    method("work")
            until(lambda: json.loads(keyring.read() or "{}")["login"]["refresh_token"] is None)
            entry = json.loads(keyring.read() or "{}")
            assert (entry["login"]["id_token"], entry["token"]) == (None, None)
            assert provider.ledger() == sent  # nothing was presented, nor revoked
            assert process.run("status", "--check").returncode == 4


def test_a_login_that_ends_at_once_is_refused(client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider)
    before = client.token("work").access_token
    provider.fault("merge", times=None, claims={"session_expiry": int(time.time()) + LEEWAY - 5})
    with pytest.raises(LoginRequired) as refused:
        log_in(client, provider)
    assert refused.value.failure == "session_expired"
    assert client.token("work").access_token == before


def test_a_clock_set_forward_for_a_while_costs_no_session(provider: OpenIDProvider, tmp_path: Path) -> None:
    with on_a_clock(provider, tmp_path) as (process, clock), process.client() as client:
        provider.fault("merge", times=None, claims={"session_expiry": int(time.time()) + 3000})
        log_in(client, provider)
        before = client.token("work").access_token
        clock.set_wall(3000)
        fail_with_session_expired(client)
        assert not client.has_valid("work")
        clock.set_wall(-3000)
        assert client.token("work").access_token == before


# ---- the refresh token's


def test_a_refresh_token_that_ends_first_is_used_in_time(client: Agent, provider: OpenIDProvider) -> None:
    provider.fault("merge", times=None, set={"refresh_expires_in": 5})
    log_in(client, provider)
    assert (record(client)["session_end_moves"], record(client)["state"]) == (True, "ready")
    until(lambda: record(client).refreshes >= 3)
    ends = record(client)["session_ends_at"]
    assert isinstance(ends, float)
    assert ends > time.time()


# ---- an access token's


def test_a_jwts_own_end_is_its_life_without_expires_in(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=6)
    with AgentProcess({"work": account(provider, audience=API)}) as process, process.client() as client:
        provider.fault("merge", times=None, set={"expires_in": None})
        log_in(client, provider, audience=API)
        token = client.token("work")
        assert token.access_token.count(".") == 2
        assert token.expires_at is not None
        assert token.expires_at <= time.time() + 6
        assert record(client)["lifetime_assumed"] is False
        until(lambda: client.token("work").access_token != token.access_token)


def test_a_token_without_any_end_is_served_until_it_is_rejected(provider: OpenIDProvider, tmp_path: Path) -> None:
    with on_a_clock(provider, tmp_path, client_id="no-refresh-app") as (process, clock), process.client() as client:
        provider.fault("merge", times=None, set={"expires_in": None})
        with client.login("work") as login:
            assert httpx.get(provider.visit(login.authorization_url or "")).status_code == 200
            login.result()
        token = client.token("work", min_ttl=1e9)
        assert (token.expires_at, record(client)["expires_at"], record(client)["state"]) == (None, None, "ready")
        assert json.loads(process.run("token", "--json").stdout)["expires_at"] is None
        assert process.run("status", "--check", "--min-ttl", "1e9").returncode == 0
        assert "token without a known end" in process.run("status").stdout
        with pytest.raises(Denied):
            client.rejected(token.access_token, "work")  # it is young: another one would be rejected, too
        clock.suspend(86_400)
        with pytest.raises(Denied):
            client.rejected(token.access_token, "work")  # the provider takes it
        assert client.token("work").access_token == token.access_token
        provider.fault("status", route=provider.paths["userinfo"], status=401)
        with pytest.raises(LoginRequired) as refused:
            client.rejected(token.access_token, "work")
        assert refused.value.reason == "token_rejected"
        assert [remedy.line for remedy in refused.value.remedy] == ["auth-agent login work"]
        assert record(client)["state"] == "login_required"
        assert process.run("status", "--check").returncode == 4
