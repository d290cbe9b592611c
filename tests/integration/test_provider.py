"""The HTTP side of a provider, against the real one: what was sent, what was lost, what was never reached."""

import errno
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from auth_agent.oauth import provider as module
from auth_agent.oauth.client import Client
from auth_agent.oauth.outcome import Busy, Failure, Lost, Misconfigured, TokenResponse, Unsent
from auth_agent.oauth.provider import HttpProvider, trusted_certificates
from auth_agent.oauth.token_request import refresh_request
from auth_agent.secret import Secret
from tests.op.provider import FaultMode, OpenIDProvider

pytestmark = pytest.mark.anyio
CLIENT = Client("native-app")
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def connect(issuer: str) -> AsyncGenerator[HttpProvider]:
    provider = HttpProvider(issuer, trusted_certificates())
    yield provider
    await provider.aclose()


def refresh_token(provider: OpenIDProvider) -> Secret:
    result = provider.login().refresh_token
    assert result is not None
    provider.reset()
    return Secret(result)


async def refresh(provider: OpenIDProvider) -> TokenResponse | Failure:
    token = refresh_token(provider)
    async with connect(provider.issuer) as connection:
        await connection.revoke(CLIENT, Secret("unknown"))  # so that the metadata is known
        return await connection.token(CLIENT, refresh_request(token))


async def test_a_refresh_is_granted(provider: OpenIDProvider) -> None:
    response = await refresh(provider)
    assert isinstance(response, TokenResponse)
    assert response.access_token is not None
    assert provider.userinfo(response.access_token.reveal()).status_code == 200


async def test_concurrent_requests_share_one_request_for_metadata(provider: OpenIDProvider) -> None:
    provider.reset()
    async with connect(provider.issuer) as connection, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(connection.token, CLIENT, refresh_request(Secret("unknown")))
    assert provider.count(DISCOVERY) == 1
    assert provider.count(provider.token_path) == 10


@pytest.mark.parametrize("mode", ["drop-before", "drop-after", "half", "huge"])
async def test_a_request_without_a_complete_response_is_lost(mode: FaultMode, provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    provider.fault(mode)
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), Lost)


@pytest.mark.parametrize("mode", ["drip", "delay"])
async def test_a_response_that_takes_too_long_is_lost_however_it_comes(
    mode: FaultMode, provider: OpenIDProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = refresh_token(provider)
    async with connect(provider.issuer) as connection:
        await connection.revoke(CLIENT, Secret("unknown"))
        monkeypatch.setattr(module, "REQUEST_TIMEOUT", 0.5)
        provider.fault(mode, ms=50 if mode == "drip" else 3000)
        outcome = await connection.token(CLIENT, refresh_request(token))
    assert isinstance(outcome, Lost)
    assert "0.5 s" in outcome.reason


async def test_a_request_to_a_closed_port_is_unsent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and doesn't listen: refused
        async with connect(f"http://127.0.0.1:{closed.getsockname()[1]}") as connection:
            outcome = await connection.token(CLIENT, refresh_request(Secret("canary")))
    assert isinstance(outcome, Unsent)
    assert outcome.reason == f"127.0.0.1 can't be reached: {os.strerror(errno.ECONNREFUSED)}"
    assert "canary" not in repr(outcome)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, Busy),
        ({"status": 404}, Misconfigured),
        ({"status": 200, "body": "<html>log in to this hotel's network"}, Unsent),
        ({"status": 302, "headers": {"location": "https://hotel.example/"}}, Busy),
        ({"status": 429, "headers": {"retry-after": "30"}}, Busy),
        ({"status": 200, "body": {"issuer": "https://evil.example/"}}, Misconfigured),
    ],
)
async def test_without_metadata_no_refresh_token_is_sent(
    fault: dict[str, Any], kind: type[Failure], provider: OpenIDProvider
) -> None:
    token = refresh_token(provider)
    provider.fault("status", route=DISCOVERY, **fault)
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), kind)
        assert provider.requests(provider.token_path) == []
        assert isinstance(
            await connection.token(CLIENT, refresh_request(token)), TokenResponse
        )  # and it is looked up again


@pytest.mark.parametrize("endpoint", ["http://evil.example/token", "ftp://127.0.0.1/token", 7])
async def test_an_endpoint_without_https_is_not_used(endpoint: object, provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    provider.fault("merge", route=DISCOVERY, set={"token_endpoint": endpoint})
    async with connect(provider.issuer) as connection:
        outcome = await connection.token(CLIENT, refresh_request(token))
    assert isinstance(outcome, Misconfigured)
    assert "token_endpoint" in outcome.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_takes_a_refresh_token_elsewhere(status: int, provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    provider.fault("status", status=status, headers={"location": f"{provider.url}/elsewhere"})
    async with connect(provider.issuer) as connection:
        outcome = await connection.token(CLIENT, refresh_request(token))
    assert isinstance(outcome, Failure)
    assert "redirect" in outcome.reason
    assert provider.count("/elsewhere") == 0


@pytest.mark.parametrize(
    "location", ["https://xn--0.example/", "http:elsewhere", "https://[::1", "https://\u2028/", ""]
)
async def test_a_redirect_to_an_invalid_url_is_a_redirect_like_any_other(
    location: str, provider: OpenIDProvider
) -> None:
    token = refresh_token(provider)
    provider.fault("status", status=302, headers={"location": location.encode().decode("latin-1")})
    async with connect(provider.issuer) as connection:
        outcome = await connection.token(CLIENT, refresh_request(token))
    assert isinstance(outcome, Busy)
    assert "redirect" in outcome.reason
    assert len(provider.requests(provider.token_path)) == 1


async def test_the_provider_refuses_a_revoked_token(provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    async with connect(provider.issuer) as connection:
        assert await connection.revoke(CLIENT, token)
    assert provider.refresh(token.reveal()).status_code == 403


async def test_a_revocation_fails_if_the_provider_can_not_be_reached(provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    async with connect(provider.issuer) as connection:
        for route in (DISCOVERY, provider.paths["revocation"]):
            provider.fault("drop-before", route=route)
            assert not await connection.revoke(CLIENT, token)
        provider.fault("status", status=503, route=provider.paths["revocation"])
        assert not await connection.revoke(CLIENT, token)


async def test_a_body_in_countless_pieces_is_cut_off_and_does_not_block_other_tasks() -> None:
    turns = 0

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):
                if b"openid-configuration" not in await stream.receive():
                    await stream.send(
                        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100_000
                    )
                body = f'{{"issuer":"{issuer}","token_endpoint":"{issuer}/token"}}'.encode()
                await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        issuer = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, serve)
        async with connect(issuer) as connection:
            await connection.discover()
            tasks.start_soon(take_turns)
            outcome = await connection.token(CLIENT, refresh_request(Secret("unknown")))
        assert isinstance(outcome, Lost)
        assert "16384" in outcome.reason
        assert turns > 16384
        tasks.cancel_scope.cancel()


async def test_each_token_request_has_a_connection_of_its_own() -> None:
    """On one that was kept, nobody can tell whether the provider closed it before or after it read the request."""
    connections = 0

    async def serve(stream: anyio.abc.SocketStream) -> None:
        nonlocal connections
        connections += 1
        async with stream:
            while True:
                try:
                    request = await stream.receive()
                except anyio.EndOfStream:
                    return
                body = b'{"error":"temporarily_unavailable"}'
                if b"openid-configuration" in request:
                    body = f'{{"issuer":"{issuer}","token_endpoint":"{issuer}/token"}}'.encode()
                await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        issuer = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, serve)
        async with connect(issuer) as connection:
            for _ in range(3):
                outcome = await connection.token(CLIENT, refresh_request(Secret("unknown")))
                assert isinstance(outcome, Failure)
                assert outcome.reason == "temporarily_unavailable"
        tasks.cancel_scope.cancel()
    assert connections == 1 + 3
