"""Taking a session over: proved in full before it replaces anything."""

from collections.abc import Callable

import pytest

from auth_agent_client import Agent, Denied, InvalidRequest, LoginRequired, Misconfigured, ProviderError, Unavailable
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in, record
from tests.op.provider import OpenIDProvider, fingerprint


def refresh_token(provider: OpenIDProvider, user: str = "auth0|alice") -> str:
    result = provider.login(user).refresh_token
    assert result is not None
    return result


def test_an_import_creates_a_session_with_its_user(client: Agent, provider: OpenIDProvider) -> None:
    imported = client.import_refresh_token(refresh_token(provider))
    assert (imported["subject"], imported["state"], imported["renewal"]) == ("auth0|alice", "ready", "idle")
    assert provider.userinfo(client.token().access_token).json()["sub"] == "auth0|alice"


def test_the_record_and_the_repr_of_a_token_have_no_secret(client: Agent, provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    client.import_refresh_token(token)
    output = repr(client.status()) + repr(client.token())
    assert token not in output
    assert client.token().access_token not in output


def test_a_refused_refresh_token_does_not_replace_the_session(client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider)
    before = client.token().access_token
    with pytest.raises(LoginRequired, match="invalid_grant"):
        client.import_refresh_token("never-issued")
    assert client.token().access_token == before


def test_an_import_during_an_outage_does_not_replace_the_session(client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider)
    before = client.token().access_token
    token = refresh_token(provider)
    provider.fault("status", status=503)
    with pytest.raises(Unavailable):
        client.import_refresh_token(token)
    assert client.token().access_token == before
    client.import_refresh_token(token)  # it was not used up


def test_an_import_of_another_user_needs_switch_user(client: Agent, provider: OpenIDProvider) -> None:
    alice = refresh_token(provider)
    client.import_refresh_token(alice)
    provider.reset()
    with pytest.raises(Denied, match="--switch-user"):
        client.import_refresh_token(refresh_token(provider, "auth0|bob"))
    assert record(client)["subject"] == "auth0|alice"
    assert provider.count(provider.paths["revocation"]) == 1  # the one that was refused
    client.import_refresh_token(refresh_token(provider, "auth0|bob"), switch_user=True)
    assert record(client)["subject"] == "auth0|bob"
    assert provider.count(provider.paths["revocation"]) == 2  # the one that was replaced
    assert provider.refresh(alice).status_code == 403


def test_a_used_refresh_token_is_not_sent_again(client: Agent, provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    client.import_refresh_token(token)
    with pytest.raises(InvalidRequest, match="used before"):
        client.import_refresh_token(token)
    assert provider.ledger()[fingerprint(token)].presented == 1
    assert provider.userinfo(client.refresh().access_token).status_code == 200


def test_a_logout_revokes_the_tokens_at_the_provider(client: Agent, provider: OpenIDProvider) -> None:
    start = refresh_token(provider)
    client.import_refresh_token(start)
    access_token = client.token().access_token
    assert client.logout().revoked
    assert provider.userinfo(access_token).status_code == 401
    with pytest.raises(LoginRequired) as raised:
        client.token()
    assert raised.value.reason == "logged_out"


def test_a_logout_offline_forgets_the_session_too(client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider)
    provider.fault("drop-before", route=None, times=None)
    assert client.logout().revoked is False
    provider.clear_faults()
    with pytest.raises(LoginRequired):
        client.token()


def test_metadata_of_another_issuer_is_refused(provider: OpenIDProvider) -> None:
    mistaken = account(provider, issuer=provider.issuer.replace("127.0.0.1", "localhost"))
    token = refresh_token(provider)
    with AgentProcess({"work": mistaken}) as agent, agent.client() as client:
        provider.reset()
        with pytest.raises(Misconfigured, match=provider.issuer) as caught:
            client.import_refresh_token(token)
        assert caught.value.failure == "misconfigured"
        assert "issuer" in caught.value.remedy[0].text
    assert provider.requests(provider.token_path) == []


def test_an_issuer_without_its_trailing_slash_is_the_same_issuer(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider, issuer=provider.url)}) as agent, agent.client() as client:
        log_in(client, provider)
        assert provider.userinfo(client.refresh().access_token).status_code == 200


def test_a_provider_other_than_auth0_works_too(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(flavor="plain", rotate=False, access_token_lifetime=3600)
    with AgentProcess({"work": account(provider)}) as agent, agent.client() as client:
        log_in(client, provider)
        provider.fault("merge", set={"token_type": "bearer"}, unset=["id_token", "refresh_token"])
        token = client.refresh()
        assert token.authorization.startswith("Bearer ")
        assert provider.userinfo(token.access_token).status_code == 200
        provider.fault("status", status=400, body={"error": "invalid_grant"})
        with pytest.raises(LoginRequired):
            client.refresh()


def test_a_token_for_another_audience_is_never_served(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=3600, audience_fallback=True)
    tokens = provider.login(audience="https://api.acme.example", scope="openid offline_access read:things")
    assert tokens.refresh_token is not None
    wanted = account(provider, audience="https://another.acme.example")
    with AgentProcess({"work": wanted}) as agent, agent.client() as client:
        with pytest.raises(Denied, match="another audience"):
            client.import_refresh_token(tokens.refresh_token)
        with pytest.raises(LoginRequired):
            client.token()


@pytest.mark.parametrize(
    "forged",
    [{"id_token": "e30.e30.e30"}, {"id_token": "eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZS8ifQ"}],
    ids=["no claims", "no JWT"],
)
def test_a_forged_id_token_is_not_accepted(forged: dict[str, str], client: Agent, provider: OpenIDProvider) -> None:
    provider.fault("merge", set=forged, grant_type="refresh_token")
    with pytest.raises(ProviderError, match="ID token"):
        client.import_refresh_token(refresh_token(provider))
    assert record(client)["state"] == "logged_out"
