"""Hostile providers and a live agent: a clear error in time; nothing is lost, leaked or executed.

The parsers alone are tested in tests/agent; the faults that a certified provider can simulate in tests/integration.
"""

import gzip
import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from auth_agent.oauth.http_client import MAX_BODY, REQUEST_TIMEOUT
from auth_agent_client import Agent, Denied, LoginRequired, Misconfigured, ProviderError, Timeout, Unavailable, errors
from tests.faults.hostile_server import (
    CHUNKED,
    METADATA,
    SIZED,
    HostileServer,
    Responder,
    endless,
    in_turn,
    plain,
    raw,
    silence,
)
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.terminal import Terminal
from tests.op import forge
from tests.op.provider import OpenIDProvider

# Controls for a terminal: a title, clearing the screen, a colour in one byte, a line break, a change of direction.
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\x00\x7f\u202e\u2066evil"
ANY_PORT: dict[str, Any] = {"redirect_ports": [0]}
API = "https://api.acme.example"


@pytest.fixture(scope="module")
def shared() -> Generator[OpenIDProvider, None, None]:
    with OpenIDProvider(access_token_lifetime=3600, device_interval=1) as one:
        yield one


@pytest.fixture
def provider(shared: OpenIDProvider) -> OpenIDProvider:
    """Return a certified provider with rotation and reuse detection, which can simulate faults."""
    shared.reset()
    return shared


@pytest.fixture(scope="module")
def agent(shared: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """Start an agent with an account for each test: an agent for each would take too long."""
    names = [f"work{number}" for number in range(40)]
    accounts = {name: account(shared, **ANY_PORT) for name in names}
    accounts |= {"api": account(shared, audience=API, scope="openid offline_access read:things", **ANY_PORT)}
    with AgentProcess(accounts, environment={"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}) as process:
        yield process


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"work{number}" for number in itertools.count())


@pytest.fixture
def work(names: Iterator[str]) -> str:
    """Return an account that no other test uses."""
    return next(names)


@pytest.fixture
def client(agent: AgentProcess) -> Generator[Agent, None, None]:
    with agent.client() as one:
        yield one


def name_of(kind: str) -> str:
    """Return the account's name for that kind of fault."""
    return re.sub(r"[^A-Za-z0-9]+", "-", kind)


def hostile_account(issuer: str, **more: object) -> dict[str, object]:
    return {"issuer": issuer, "client_id": "native-app", "scope": "read:things", **ANY_PORT, **more}


def token_response(name: str, serial: int = 0, **fields: object) -> dict[str, object]:
    """Return a token response for that account."""
    return {
        "access_token": f"at-of-{name}-{serial}",
        "refresh_token": f"rt-of-{name}-{serial}",
        "token_type": "Bearer",
        "expires_in": 3600,
        **fields,
    }


def error_of(call: Callable[[], object]) -> errors.AgentError:
    """Return the error of a call; check that it is printable."""
    with pytest.raises(errors.AgentError) as caught:
        call()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 2000
    assert caught.value.code != "internal"
    return caught.value


@contextmanager
def allow_provider_errors() -> Generator[None, None, None]:
    """Allow an error of the provider, and check that it is printable."""
    try:
        yield
    except (ProviderError, Unavailable) as error:
        failure = error
        assert failure.message.isprintable()
        assert len(failure.message) < 2000


def begin_login(client: Agent, name: str, flow: str = "browser", **more: object) -> dict[str, object]:
    return client.call("login", {"account": name, "flow": flow, **more})


def result_of(client: Agent, login: Mapping[str, object]) -> dict[str, object]:
    return client.call("login_result", {"login_id": login["login_id"]})


def log_in_by_browser(client: Agent, provider: OpenIDProvider, name: str) -> None:
    login = begin_login(client, name)
    provider.enter(str(login["authorization_url"]))
    result_of(client, login)


@contextmanager
def session_survives(client: Agent, provider: OpenIDProvider, name: str) -> Generator[None, None, None]:
    """Check that the session survives the block, and is valid."""
    log_in(client, provider, name)
    before, token = record(client, name), client.token(name).access_token
    yield
    after = record(client, name)
    assert (after["state"], after["subject"], after["epoch"]) == ("ready", before["subject"], before["epoch"])
    assert client.token(name).access_token == token
    assert provider.userinfo(client.refresh(name).access_token).status_code == 200


def is_saved(client: Agent, name: str) -> bool:
    return record(client, name)["saved"] is True


# ---- metadata

OAUTH_METADATA = "/.well-known/oauth-authorization-server"
DEEP = b"[" * 400_000
# Changed metadata, or the response in its place; the class of the error of a login and an import; data in its text.
METADATA_KINDS: dict[str, tuple[dict[str, Any] | Responder, type[errors.AgentError], str]] = {
    "another issuer": ({"issuer": "https://evil.example/"}, Misconfigured, "'https://evil.example/'"),
    "an issuer with escapes": ({"issuer": ESCAPES}, Misconfigured, "]0;owned"),
    "no issuer": ({"issuer": None}, Misconfigured, "''"),
    "an issuer of another type": ({"issuer": ["https://evil.example/"]}, Misconfigured, "''"),
    "tokens over http": ({"token_endpoint": "http://evil.example/token"}, Misconfigured, "http://evil.example/token"),
    "tokens at a user": (
        {"token_endpoint": "https://a.example@evil.example/"},
        Misconfigured,
        "https://a.example@evil.example/",
    ),
    "tokens at a script": ({"token_endpoint": "javascript:alert(1)"}, Misconfigured, "token_endpoint"),
    "tokens at escapes": ({"token_endpoint": f"https://a.example/{ESCAPES}"}, Misconfigured, "token_endpoint"),
    "tokens at a list": ({"token_endpoint": [API]}, Misconfigured, "token_endpoint"),
    "tokens nowhere": ({"token_endpoint": None}, Misconfigured, "token_endpoint"),
    "tokens at the end of the world": ({"token_endpoint": f"{API}/{'a' * 60_000}"}, Misconfigured, "2000"),
    "a redirect": (plain(b"", 302, "location: /evil/"), Unavailable, "HTTP 302"),
    "a redirect to no address": (plain(b"", 302, "location: https://xn--0.example/"), Unavailable, "HTTP 302"),
    "nothing there": (plain(b"", 404), Misconfigured, METADATA),
    "trouble": (plain(b"", 500), Unavailable, "HTTP 500"),
    "a page": (plain(b"<html>\x1b[2J"), Unavailable, "JSON"),
    "a list": (plain(b"[]"), Unavailable, "JSON"),
    "depths": (plain(DEEP), Unavailable, "JSON"),
    "another encoding": (plain(b"\xff\xfe{\x00}\x00"), Unavailable, "JSON"),
    # A few kilobytes that would be 64 megabytes.
    "packed": (plain(gzip.compress(bytes(1 << 26)), 200, "content-encoding: gzip"), Unavailable, "more than"),
    "half": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"), Unavailable, "127.0.0.1"),
    "no HTTP": (raw(b"220 mail.example ESMTP\x1b[2J\r\n\r\n"), Unavailable, "127.0.0.1"),
    "an empty answer": (raw(b""), Unavailable, "127.0.0.1"),
    "two lengths": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        Unavailable,
        "127.0.0.1",
    ),
    "another protocol": (raw(b"HTTP/1.1 101 x\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), Unavailable, "127.0.0.1"),
    "gigabytes": (endless(SIZED, b"x" * 65_536), Unavailable, f"{MAX_BODY}"),
    "gigabytes in chunks": (endless(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"), Unavailable, f"{MAX_BODY}"),
    "countless pieces": (endless(CHUNKED, b"1\r\nx\r\n" * 1000), Unavailable, "16384"),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000), Unavailable, "127.0.0.1"),
    "a header without end": (endless(b"HTTP/1.1 200 OK\r\na: ", b"b" * 4096), Unavailable, "127.0.0.1"),
}
# Endpoints that a login needs, and a refresh doesn't.
LOGIN_KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "login over http": ({"authorization_endpoint": "http://evil.example/"}, "authorization_endpoint"),
    "login at a script": ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
    "login at escapes": ({"authorization_endpoint": f"https://a.example/{ESCAPES}"}, "authorization_endpoint"),
    "login at a number": ({"authorization_endpoint": 7}, "authorization_endpoint"),
    "device over http": ({"device_authorization_endpoint": "http://evil.example/"}, "device_authorization_endpoint"),
    "device at a file": ({"device_authorization_endpoint": "file:///etc/passwd"}, "device_authorization_endpoint"),
}


@pytest.fixture(scope="module")
def hostile_metadata() -> Generator[tuple[HostileServer, AgentProcess], None, None]:
    """Start a server with a provider for each kind of metadata, and an agent with an account at each."""
    with HostileServer() as server:
        accounts: dict[str, dict[str, object]] = {}
        for kind in (*METADATA_KINDS, *LOGIN_KINDS):
            metadata, name = (METADATA_KINDS.get(kind) or LOGIN_KINDS[kind])[0], name_of(kind)
            issuer = server.provider(name, **(metadata if isinstance(metadata, dict) else {}))
            if not isinstance(metadata, dict):
                server.set_response(name, METADATA, metadata)
            accounts[name] = hostile_account(issuer)
        with AgentProcess(accounts) as agent:
            yield server, agent


@pytest.mark.parametrize("kind", METADATA_KINDS)
def test_unusable_metadata_is_an_error_and_nothing_else_is_requested(
    kind: str, hostile_metadata: tuple[HostileServer, AgentProcess]
) -> None:
    server, agent = hostile_metadata
    _, error, text = METADATA_KINDS[kind]
    name = name_of(kind)
    with agent.client() as client:
        for call in (
            lambda: client.import_refresh_token("canary", name),
            lambda: begin_login(client, name),
            lambda: begin_login(client, name, "device"),
        ):
            raised = error_of(call)
            assert isinstance(raised, error)
            assert text in raised.message
            if isinstance(raised, Misconfigured):
                assert raised.failure == "misconfigured"
                assert "issuer" in raised.remedy[0].text
        assert record(client, name)["state"] == "logged_out"
    assert server.requests(name) == []
    assert not [one for one in server.received if one.path.startswith("/evil")]
    assert "canary" not in agent.log


@pytest.mark.parametrize("kind", LOGIN_KINDS)
def test_no_login_begins_at_an_unsafe_endpoint(kind: str, hostile_metadata: tuple[HostileServer, AgentProcess]) -> None:
    server, agent = hostile_metadata
    flow = kind.partition(" ")[0].replace("login", "browser")
    with agent.client() as client:
        raised = error_of(lambda: begin_login(client, name_of(kind), flow))
    assert isinstance(raised, Misconfigured)
    assert LOGIN_KINDS[kind][1] in raised.message
    assert server.requests(name_of(kind)) == []


@pytest.mark.parametrize("address", ["http://evil.example/", 7])
def test_an_unsafe_revocation_endpoint_is_not_used_and_refreshes_continue(address: object) -> None:
    with HostileServer() as server:
        answers = in_turn(plain(token_response("one")), plain(token_response("one", 1)))
        issuer = server.provider("one", {"/token": answers}, revocation_endpoint=address)
        with AgentProcess({"one": hostile_account(issuer)}) as agent, agent.client() as client:
            client.import_refresh_token("rt-of-one")
            assert client.refresh().access_token == "at-of-one-1"
            assert not client.logout().revoked
        assert server.requests("one") == ["/token", "/token"]


def test_metadata_that_becomes_unusable_ends_no_session(provider: OpenIDProvider) -> None:
    """A restarted agent, which doesn't know the endpoints, serves valid tokens and sends nothing."""
    faults: dict[str, dict[str, Any]] = {
        "one": {"mode": "merge", "set": {"issuer": "https://evil.example/"}},
        "two": {"mode": "merge", "set": {"token_endpoint": "http://evil.example/token"}},
        "three": {"mode": "status", "status": 302, "headers": {"location": f"{provider.url}/elsewhere"}},
    }
    accounts = {name: account(provider) for name in faults}
    with (
        KeyringSession() as keyring,
        AgentProcess(accounts, environment=keyring.environment, store="keyring") as agent,
    ):
        tokens: dict[str, str] = {}
        for name in faults:
            with agent.client() as client:
                log_in(client, provider, name, user=f"auth0|{name}")
                tokens[name] = client.token(name).access_token
                until(partial(is_saved, client, name))
        agent.kill()
        agent.start()
        provider.reset()
        for name, fault in faults.items():
            for document in (METADATA, OAUTH_METADATA):
                provider.fault(**fault, route=document, times=None)
            before = provider.count(provider.token_path)
            with agent.client() as client:
                until(partial(client.has_valid, name))
                error_of(partial(client.refresh, name))
                assert client.token(name).access_token == tokens[name]
            assert provider.count(provider.token_path) == before
            provider.clear_faults()  # from here on the agent may retry by itself
        assert provider.count("/elsewhere") == 0
        for name in faults:
            with agent.client() as client:
                assert provider.userinfo(client.refresh(name).access_token).status_code == 200
    assert {row.presented for row in provider.ledger().values()} == {1}


# ---- every wrong type in every field of a response

WRONG_VALUES: dict[str, object] = {
    "null": None,
    "true": True,
    "seven": 7,
    "minus": -1.5,
    "infinity": float("inf"),
    "many-digits": 10**300,
    "empty": "",
    "text": "x",
    "escapes": ESCAPES,
    "long": "x" * 50_000,
    "list": [],
    "list-of-lists": [["x"], {}],
    "map": {"error": "invalid_grant"},
}


@pytest.fixture(scope="module")
def wrong_types() -> Generator[tuple[HostileServer, AgentProcess], None, None]:
    """Start a provider and an account for each wrong value."""
    with HostileServer() as server:
        accounts = {name: hostile_account(server.provider(name)) for name in WRONG_VALUES}
        with AgentProcess(accounts) as agent:
            yield server, agent


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_wrong_types_in_a_token_response_lose_nothing(
    name: str, wrong_types: tuple[HostileServer, AgentProcess]
) -> None:
    server, agent = wrong_types
    value = WRONG_VALUES[name]
    fields = dict.fromkeys(("expires_in", "scope", "token_type", "id_token", "error_description", ESCAPES), value)
    server.set_response(
        name,
        "/token",
        in_turn(
            plain(token_response(name, 0)),
            plain(token_response(name, 1, **fields)),
            plain(token_response(name, 2, access_token=[value])),
            plain({"error": value, "error_description": value, "error_uri": value}, 400),
            plain(token_response(name, 3, error=[value])),
        ),
    )
    with agent.client() as client:
        client.import_refresh_token(f"rt-of-{name}", name)
        for _ in range(3):
            with allow_provider_errors():
                # The agent itself may have tried again meanwhile.
                assert client.refresh(name).access_token in {f"at-of-{name}-1", f"at-of-{name}-3"}
            assert record(client, name)["state"] == "ready"
            token = client.token(name)
            assert token.access_token in {f"at-of-{name}-{serial}" for serial in (0, 1, 3)}
            assert re.fullmatch(r"[A-Za-z0-9-]+", token.token_type)
            assert (token.scope or "").isprintable()
        assert client.refresh(name).access_token == f"at-of-{name}-3"
    presented = [
        parse_qs(request.body)["refresh_token"] for request in server.received if request.path == f"/{name}/token"
    ]
    first, *later = (f"rt-of-{name}{suffix}" for suffix in ("", "-0", "-1", "-2", "-2"))
    assert presented[:5] == [[first], *([request] for request in later)]


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_wrong_types_in_a_device_authorization_response_are_safe(
    name: str, wrong_types: tuple[HostileServer, AgentProcess]
) -> None:
    server, agent = wrong_types
    valid = {"device_code": "canary", "user_code": "WDJB-MJHT", "verification_uri": f"{server.origin}/activate"}
    value = WRONG_VALUES[name]
    server.set_response(
        name,
        "/device",
        in_turn(
            plain({**valid, "expires_in": value, "interval": value, "error_description": value}),
            plain({**valid, "user_code": value}),
            plain({**valid, "verification_uri": value, "verification_uri_complete": value}),
            plain({**valid, "device_code": [value]}),
        ),
    )
    with agent.client() as client:
        login = begin_login(client, name, "device")
        assert 0 < float(str(login["expires_at"])) - time.time() <= 3600
        client.call("login_cancel", {"login_id": login["login_id"]})
        with allow_provider_errors():
            code = str(begin_login(client, name, "device")["user_code"])
            assert code.isprintable()
            assert len(code) <= 64
        error_of(lambda: begin_login(client, name, "device"))
        error_of(lambda: begin_login(client, name, "device"))
    assert "canary" not in agent.log


KEY_SETS: dict[str, dict[str, Any]] = {
    "no keys": {"mode": "merge", "set": {"keys": []}},
    "keys of wrong types": {"mode": "merge", "set": {"keys": [None, 7, ESCAPES, [], {}, {"kty": "RSA", "n": 7}]}},
}
# What may be another response the next time.
NO_KEY_SETS: dict[str, dict[str, Any]] = {
    "a redirect": {"mode": "status", "status": 307, "headers": {"location": "/elsewhere"}},
    "a page": {"mode": "garbage"},
    "half a text": {"mode": "half"},
    "gigabytes": {"mode": "huge"},
}


@pytest.mark.parametrize("kind", KEY_SETS)
def test_unusable_keys_create_no_session(kind: str, provider: OpenIDProvider, client: Agent, work: str) -> None:
    with session_survives(client, provider, work):
        revoked = provider.count(provider.paths["revocation"])
        login = begin_login(client, work)
        provider.fault(**KEY_SETS[kind], route=provider.paths["jwks"])
        provider.enter(str(login["authorization_url"]))
        raised = error_of(lambda: result_of(client, login))
        assert isinstance(raised, ProviderError | Unavailable)
        assert re.search("ID token|the provider's keys|the provider has no key", raised.message)
        assert provider.count("/elsewhere") == 0
        # The new tokens are discarded and not revoked: they may be of the same grant as the session.
        assert provider.count(provider.paths["revocation"]) == revoked


@pytest.mark.parametrize("kind", NO_KEY_SETS)
def test_what_is_no_key_set_is_asked_for_again(kind: str, provider: OpenIDProvider, client: Agent, work: str) -> None:
    login = begin_login(client, work)
    provider.fault(**NO_KEY_SETS[kind], route=provider.paths["jwks"])
    assert provider.enter(str(login["authorization_url"])).status_code == httpx.codes.OK
    assert result_of(client, login)["state"] == "ready"
    assert provider.count("/elsewhere") == 0


# ---- redirects and mix-ups


@pytest.mark.parametrize("status", [301, 307, 308])
def test_no_redirect_is_followed_with_a_secret(status: int, provider: OpenIDProvider, client: Agent, work: str) -> None:
    elsewhere: dict[str, Any] = {"status": status, "headers": {"location": f"{provider.url}/elsewhere"}}
    with session_survives(client, provider, work):
        for route, call in (
            (provider.token_path, lambda: client.refresh(work)),
            (provider.paths["device_authorization"], lambda: begin_login(client, work, "device")),
        ):
            provider.fault("status", route=route, **elsewhere)
            raised = error_of(call)
            assert isinstance(raised, Unavailable)
            assert str(status) in raised.message
    provider.fault("status", route=provider.paths["revocation"], **elsewhere)
    assert not client.logout(work, revoke_shared=True).revoked
    assert provider.count("/elsewhere") == 0


def test_a_response_without_iss_is_refused_if_the_metadata_promises_it(
    provider: OpenIDProvider, client: Agent, work: str
) -> None:
    """RFC 9207: without `iss`, another provider's response could be used."""
    login = begin_login(client, work)
    redirect = httpx.URL(provider.visit(str(login["authorization_url"]))).copy_remove_param("iss")
    assert "unknown issuer" in httpx.get(redirect).text
    assert isinstance(error_of(lambda: result_of(client, login)), ProviderError)
    assert provider.count(provider.token_path) == 0


# ---- tokens of a refresh


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"iss": "https://evil.example/"}, "'https://evil.example/'"),
        ({"iss": ESCAPES}, "]0;owned"),
        ({"aud": "another"}, "aud is"),
        ({"aud": [7, ESCAPES]}, "aud is"),
        ({"sub": None}, "subject"),
        ({"sub": ESCAPES}, "subject"),
    ],
)
def test_a_wrong_id_token_at_a_refresh_is_not_used(
    claims: dict[str, object], text: str, provider: OpenIDProvider, client: Agent, work: str
) -> None:
    with session_survives(client, provider, work):
        provider.fault("merge", claims=claims, grant_type="refresh_token")
        raised = error_of(lambda: client.refresh(work))
        assert isinstance(raised, ProviderError)
        assert text in raised.message


@pytest.mark.parametrize("forgery", ["unsigned", "by another key", "keyed by the public key"])
def test_the_subject_of_a_forged_id_token_at_a_refresh_is_checked(
    forgery: str, provider: OpenIDProvider, client: Agent, work: str
) -> None:
    """TLS to the token endpoint replaces the signature; another user's ID token is never accepted."""
    bob = provider.login("auth0|bob").id_token
    assert bob is not None
    forged = {
        "unsigned": forge.unsigned(bob),
        "by another key": forge.by_another_key(bob),
        "keyed by the public key": forge.keyed_by_public_key(bob, provider.jwks()),
    }[forgery]
    log_in(client, provider, work)
    provider.fault("merge", set={"id_token": forged}, grant_type="refresh_token")
    assert error_of(lambda: client.refresh(work)).code == "login_required"
    assert record(client, work)["subject"] == "auth0|alice"


def test_another_user_at_a_refresh_is_quarantined_and_not_served(provider: OpenIDProvider) -> None:
    with (
        KeyringSession() as keyring,
        AgentProcess(
            {"work": account(provider, **ANY_PORT)}, environment=keyring.environment, store="keyring"
        ) as agent,
    ):
        with agent.client() as client:
            log_in(client, provider)
            provider.fault("merge", claims={"sub": "auth0|bob"}, grant_type="refresh_token")
            assert "another_user" in error_of(lambda: client.refresh("work")).message
            assert "another_user" in error_of(lambda: client.token("work")).message
            until(lambda: stored_entry(keyring)["ended"])
            until(partial(is_saved, client, "work"))
        successor = stored_entry(keyring)["login"]["refresh_token"]
        assert stored_entry(keyring).get("token") is None
        agent.kill()
        agent.start()
        provider.reset()
        with agent.client() as client:
            until(lambda: record(client)["state"] == "login_required")
            assert isinstance(error_of(lambda: client.refresh("work")), LoginRequired)  # not even on request
            assert provider.requests(provider.token_path) == []
            # The last refresh token was kept, so that it could be revoked.
            assert client.logout("work").revoked
            assert provider.refresh(successor).status_code == 403
            log_in_by_browser(client, provider, "work")
            assert provider.userinfo(client.token("work").access_token).json()["sub"] == "auth0|alice"


def stored_entry(keyring: KeyringSession) -> dict[str, Any]:
    """Return the account's entry in the keyring."""
    text = keyring.read()
    assert text is not None
    entry: dict[str, Any] = json.loads(text)
    return entry


def test_an_ignored_audience_is_detected_at_a_refresh_and_at_a_login(provider: OpenIDProvider, client: Agent) -> None:
    scope = "openid offline_access read:things"
    log_in(client, provider, "api", audience=API, scope=scope)
    valid = client.token("api").access_token
    another = provider.login(audience="https://another.acme.example", scope=scope).access_token
    provider.fault("merge", set={"access_token": another}, grant_type="refresh_token")
    raised = error_of(lambda: client.refresh("api"))
    assert isinstance(raised, Denied)
    assert API in raised.message
    assert client.token("api").access_token == valid
    assert client.refresh("api").access_token not in (valid, another)

    before = record(client, "api")
    login = begin_login(client, "api")
    provider.fault("merge", set={"access_token": another}, grant_type="authorization_code")
    provider.enter(str(login["authorization_url"]))
    assert isinstance(error_of(lambda: result_of(client, login)), Denied)
    assert record(client, "api") == before
    assert provider.count(provider.paths["revocation"]) == 0  # the tokens may be of the session's grant
    assert provider.userinfo(client.refresh("api").access_token).status_code == 200


# ---- output


def output_of(agent: AgentProcess, *arguments: str, code: int | None = None) -> str:
    """Return a command's output to a pipe, from its bytes, since Python would convert a carriage return."""
    process = subprocess.run(
        [*COMMAND, *arguments],
        env=agent.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert code is None or process.returncode == code, process
    text = (process.stdout + process.stderr).decode()
    assert_no_controls(text)
    return text


def assert_no_controls(text: str) -> None:
    assert "rt-of" not in text
    assert [character for character in text if not (character.isprintable() or character == "\n")] == []


def test_no_provider_string_controls_a_terminal_or_quotes_a_secret() -> None:
    with HostileServer() as server:
        fields: dict[str, Any] = {"scope": f"read {ESCAPES}", "token_type": f"Bearer{ESCAPES}"}
        refusals = {
            "ended": {"error": "invalid_grant", "error_description": f"{ESCAPES} rt-of-ended-0"},
            "misconfigured": {"error": "invalid_client", "error_description": f"rt-of-misconfigured-0{ESCAPES}"},
            "made-up": {"error": f"rt-of-made-up-0{ESCAPES}", "error_description": ESCAPES},
        }
        accounts = {
            name: hostile_account(
                server.provider(name, {"/token": in_turn(plain(token_response(name, **fields)), plain(refusal, 400))})
            )
            for name, refusal in refusals.items()
        }
        accounts["impostor"] = hostile_account(server.provider("impostor", issuer=f"https://evil.example/{ESCAPES}"))
        device = {"device_code": "dc", "user_code": f"AB{ESCAPES}", "verification_uri": "https://acme.example/activate"}
        accounts["device"] = hostile_account(
            server.provider(
                "device",
                {
                    "/device": in_turn(
                        plain({**device, "verification_uri": f"https://acme.example/{ESCAPES}"}),
                        plain({**device, "interval": 1}),
                    ),
                    "/token": plain({"error": "access_denied", "error_description": ESCAPES}, 400),
                },
            )
        )
        with AgentProcess(accounts) as agent:
            with agent.client() as client:
                for name in refusals:
                    client.import_refresh_token(f"rt-of-{name}", name)
            printed = json.loads(output_of(agent, "token", "ended", "--json", code=0))
            assert printed["scope"] == f"read {''.join(c if c.isprintable() else ' ' for c in ESCAPES)}"
            assert printed["token_type"] == "Bearer"
            with agent.client() as client, agent.begin("watch") as watch:
                until(lambda: "ended" in watch.output())
                for name in refusals:
                    assert "owned" in error_of(partial(client.refresh, name)).message
                until(lambda: watch.output().count("owned") >= len(refusals))
                assert_no_controls(watch.path.read_bytes().decode())
            assert "owned" in output_of(agent, "refresh", "made-up")
            assert "owned" in output_of(agent, "token", "ended", code=4)
            for command in (("status",), ("status", "--json"), ("status", "ended"), ("status", "--check")):
                assert "owned" in output_of(agent, *command)
            assert "ended" in output_of(agent, "account", "list", code=0)
            assert "evil.example" in output_of(agent, "login", "impostor", "--no-browser", code=1)
            assert "verification_uri" in output_of(agent, "login", "device", "--flow", "device", code=1)
            assert "AB ]0;owned" in output_of(agent, "login", "device", "--flow", "device", code=6)
            with agent.begin("watch", "--json") as watch_json:
                until(lambda: "owned" in watch_json.output())
                assert_no_controls(watch_json.path.read_bytes().decode())
            assert_no_controls((agent.home / "log").read_bytes().decode())


def test_no_user_name_controls_a_terminal(provider: OpenIDProvider, agent: AgentProcess, work: str) -> None:
    provider.fault("merge", claims={"name": ESCAPES, "email": ESCAPES}, grant_type="authorization_code")
    with Terminal([*COMMAND, "login", work], agent.environment) as terminal:
        url = terminal.until(r"http://127\.0\.0\.1:\d+/authorize\?\S+(?=\s)")[0]
        assert_no_controls(provider.enter(url).text)
        assert terminal.end() == 0
        assert f"Logged in to {work} as" in terminal.shown
        assert "owned" in terminal.shown
        # The command itself uses colours, and overwrites one line; all other controls would be the provider's.
        assert not re.search("\x1b\\]|\x1b\\[2J|[\x00\x07\x7f\x80-\x9f\u202e\u2066]", terminal.raw)
    for command in (("status",), ("status", "--json")):
        assert "owned" in output_of(agent, *command, code=0)
    assert_no_controls((agent.home / "log").read_bytes().decode())


def test_no_error_from_a_browser_controls_a_terminal(provider: OpenIDProvider, agent: AgentProcess, work: str) -> None:
    with agent.begin("login", work, "--no-browser") as command:
        match = until(lambda: re.search(r"http://127\.0\.0\.1:\d+/authorize\?\S+(?=\s)", command.output()))
        assert match is not None  # for the type checker: `until` has returned it
        request = {name: values[0] for name, values in parse_qs(urlsplit(match[0]).query).items()}
        response = {"state": request["state"], "iss": provider.issuer, "error": ESCAPES, "error_description": ESCAPES}
        page = httpx.get(request["redirect_uri"], params=response)
        assert "owned" in page.text
        assert_no_controls(page.text)
        command.process.wait(PATIENCE)
        assert "owned" in command.output()
        assert_no_controls(command.path.read_bytes().decode())
    assert provider.requests(provider.token_path) == []


# ---- deadlines

HANGING: dict[str, Responder] = {
    "silent": silence,
    "dripping": endless(SIZED, b" ", 0.05),
    "dripping chunks": endless(CHUNKED, b"1\r\nx\r\n", 0.05),
    "dripping headers": endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.05),
    "interim for ever": endless(b"", b"HTTP/1.1 102 Wait\r\n\r\n", 0.01),
}


def peak_memory(agent: AgentProcess) -> int:
    """Return the peak of the agent's memory, in KiB."""
    match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{agent.process.pid}/status").read_text())
    assert match is not None
    return int(match[1])


@pytest.mark.slow
def test_providers_that_never_finish_time_out_after_thirty_seconds_and_delay_nobody(
    provider: OpenIDProvider,
) -> None:
    with HostileServer() as server:
        accounts: dict[str, dict[str, object]] = {"good": account(provider)}
        for kind, hanging in HANGING.items():
            issuer = server.provider(name_of(kind), {"/token": in_turn(plain(token_response(name_of(kind))), hanging)})
            accounts[name_of(kind)] = hostile_account(issuer)
        accounts["greeting"] = hostile_account(server.origin.replace("http://", "https://"))
        accounts["metadata"] = hostile_account(server.provider("metadata"))
        server.set_response("metadata", METADATA, silence)
        with AgentProcess(accounts) as agent:
            with agent.client() as client:
                log_in(client, provider, "good")
            for name in map(name_of, HANGING):
                with agent.client() as client:
                    client.import_refresh_token(f"rt-of-{name}", name)
                    with pytest.raises(Timeout):
                        client.refresh(name, timeout=0.1)
            before, start = peak_memory(agent), time.monotonic()
            seconds_taken: dict[str, float] = {}

            def log_in_there(name: str) -> None:
                with agent.client() as client:
                    assert isinstance(error_of(lambda: begin_login(client, name)), Unavailable)
                seconds_taken[name] = time.monotonic() - start

            threads = [Thread(target=log_in_there, args=(name,)) for name in ("greeting", "metadata")]
            for thread in threads:
                thread.start()
            with agent.client() as client:
                while len(accounts_with_lost_response(agent)) < len(HANGING) or any(
                    thread.is_alive() for thread in threads
                ):
                    assert time.monotonic() - start < REQUEST_TIMEOUT + PATIENCE
                    for name in ("good", *map(name_of, HANGING)):
                        assert client.token(name).access_token
                    time.sleep(0.05)
                for name in map(name_of, HANGING):
                    session_record = record(client, name)
                    assert (session_record["state"], session_record["renewal"]) == (
                        "ready",
                        "running",
                    )  # it is retried once
                assert client.refresh("good").access_token
            for thread in threads:
                thread.join()
            assert all(REQUEST_TIMEOUT - 1 < seconds < REQUEST_TIMEOUT + PATIENCE for seconds in seconds_taken.values())
            assert sorted(seconds_taken) == ["greeting", "metadata"]
            assert peak_memory(agent) - before < 16 * 1024


def accounts_with_lost_response(agent: AgentProcess) -> set[str]:
    """Return the accounts whose response took too long, by the log."""
    lines = agent.logged("outcome=lost .*30 s")
    return {line.partition("account=")[2].split(" ")[0] for line in lines}
