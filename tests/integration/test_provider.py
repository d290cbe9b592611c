"""The HTTP side of a provider, against the real one: what was sent, what was lost, what was never reached."""

import errno
import gzip
import json
import os
import resource
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import trustme
from anyio.streams.tls import TLSStream

from auth_agent.host.clock import Clock, Moment
from auth_agent.oauth import http_client as module
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.client import Client
from auth_agent.oauth.device import DeviceAuthorization
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Busy, Failure, Lost, Misconfigured, TokenResponse, Unsent, Unusable
from auth_agent.oauth.provider import MAX_REQUESTS, MAX_USER_REQUESTS, HttpProvider
from auth_agent.oauth.token_request import refresh_request
from auth_agent.oauth.transport import MAX_HEAD, Transport
from auth_agent.proxies import Proxies
from auth_agent.secret import Secret
from tests.integration.agent_process import PATIENCE
from tests.op.provider import FaultMode, OpenIDProvider

pytestmark = pytest.mark.anyio
CLIENT = Client("native-app")
DISCOVERY = "/.well-known/openid-configuration"
OAUTH_DISCOVERY = "/.well-known/oauth-authorization-server"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def connect(issuer: str, endpoints: dict[str, str] | None = None) -> AsyncGenerator[HttpProvider]:
    async with anyio.create_task_group() as tasks:
        yield HttpProvider(issuer, Transport(trusted_certificates(), Proxies()), tasks, endpoints)
        tasks.cancel_scope.cancel()


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


@pytest.mark.parametrize("answer", [b"\x17\x03\x03\x00\x20" + bytes(32), b"HTTP/1.1 502 Bad Gateway\r\n\r\n"])
async def test_a_request_that_was_sent_is_lost_if_tls_breaks_after_it(answer: bytes) -> None:
    """The errors of OpenSSL are the same as those of a handshake, before which nothing is sent."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)  # pyright: ignore[reportUnknownMemberType] -- pyOpenSSL's context, too
    authority.configure_trust(client)  # pyright: ignore[reportUnknownMemberType] -- as above
    received, outcome = bytearray(), None

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with await TLSStream.wrap(stream, server_side=True, ssl_context=server, standard_compatible=False) as tls:
            while b"\r\n\r\n" not in received:
                received.extend(await tls.receive())
            await stream.send(answer)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
                while True:
                    await tls.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"https://localhost:{listener.extra(anyio.abc.SocketAttribute.local_port)}/token"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        outcome = await module.HttpClient(Transport(lambda: client, Proxies()), 1).send("POST", url, form={"a": "b"})
        tasks.cancel_scope.cancel()
    assert b"POST /token" in received
    assert isinstance(outcome, Lost)


@pytest.mark.parametrize(("size", "expected"), [(MAX_HEAD - 100, module.Response), (3 * MAX_HEAD, Lost)])
async def test_the_head_of_a_response_has_a_bound(size: int, expected: type[object]) -> None:
    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            with suppress(anyio.BrokenResourceError):
                await stream.send(b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * (size // 5) + b"Content-Length: 0\r\n\r\n")

    outcome = None
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        outcome = await module.HttpClient(Transport(trusted_certificates(), Proxies()), 1).send("GET", url)
        tasks.cancel_scope.cancel()
    assert isinstance(outcome, expected)


@pytest.mark.parametrize("off", [0, 3600, -3600])
async def test_the_providers_clock_is_known_by_its_last_date_whatever_the_wall_clock_says(
    off: int, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider, now = start_provider(clock_offset=off), Clock().now()
    async with connect(provider.issuer) as connection:
        assert connection.time(now) is None
        await connection.discover()
        for wall, passed in ((0, 0), (7200, 0), (-7200, 0), (0, 600)):
            then = Moment(now.wall + wall, now.boot + passed)
            assert connection.time(then) == pytest.approx(now.wall + off + passed, abs=5)


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


@pytest.mark.parametrize("character", ["\n", "é", "\udc80"])
async def test_an_access_token_that_no_header_may_have_is_not_sent(character: str, provider: OpenIDProvider) -> None:
    """The keyring has it from another program: the agent takes no such token from a provider."""
    async with connect(provider.issuer) as connection:
        outcome = await connection.userinfo(Secret(f"canary{character}"), "Bearer")
    assert isinstance(outcome, Unusable)
    assert "header" in outcome.reason
    assert "canary" not in outcome.reason
    assert provider.count(provider.paths["userinfo"]) == 0


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
    provider.fault("status", route=OAUTH_DISCOVERY, **fault)
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), kind)
        assert provider.requests(provider.token_path) == []
        assert isinstance(
            await connection.token(CLIENT, refresh_request(token)), TokenResponse
        )  # and it is looked up again


# ---- RFC 8414's document


async def test_a_refresh_needs_one_document(provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    provider.fault("merge", route=DISCOVERY, unset=["revocation_endpoint", "device_authorization_endpoint"])
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), TokenResponse)
    assert (len(provider.requests(DISCOVERY)), provider.requests(OAUTH_DISCOVERY)) == (1, [])


async def test_what_one_document_lacks_is_looked_up_in_the_other_once(provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    provider.fault("merge", route=DISCOVERY, unset=["revocation_endpoint", "device_authorization_endpoint"])
    provider.fault("merge", route=OAUTH_DISCOVERY, unset=["end_session_endpoint"])
    async with connect(provider.issuer) as connection:
        device = await connection.begin_device(CLIENT, "openid", {})
        assert isinstance(device, DeviceAuthorization)
        assert await connection.revoke(CLIENT, token)
        assert await connection.revoke(CLIENT, token)
    assert (len(provider.requests(DISCOVERY)), len(provider.requests(OAUTH_DISCOVERY))) == (1, 1)


async def test_another_issuers_document_adds_nothing(provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    provider.fault("merge", route=DISCOVERY, unset=["revocation_endpoint"])
    provider.fault("merge", route=OAUTH_DISCOVERY, set={"issuer": "https://evil.example"})
    async with connect(provider.issuer) as connection:
        assert not await connection.revoke(CLIENT, token)
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), TokenResponse)


async def test_a_document_that_can_not_be_fetched_now_is_asked_for_again(provider: OpenIDProvider) -> None:
    provider.fault("merge", route=DISCOVERY, unset=["device_authorization_endpoint"])
    provider.fault("status", route=OAUTH_DISCOVERY, status=503)
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.begin_device(CLIENT, "openid", {}), Busy)
        assert isinstance(await connection.begin_device(CLIENT, "openid", {}), DeviceAuthorization)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 302, 200])
async def test_a_provider_that_has_only_the_other_document_is_used_by_that(
    status: int, provider: OpenIDProvider
) -> None:
    token = refresh_token(provider)
    provider.fault("status", route=DISCOVERY, status=status, body="<html>nothing here", times=None)
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), TokenResponse)


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_a_document_that_is_only_out_of_order_has_no_substitute(status: int, provider: OpenIDProvider) -> None:
    provider.fault("status", route=DISCOVERY, status=status)
    async with connect(provider.issuer) as connection:
        assert isinstance(await connection.discover(), Busy)
        assert provider.requests(OAUTH_DISCOVERY) == []
        assert isinstance(await connection.discover(), Metadata)


async def test_with_endpoints_in_the_configuration_no_document_is_requested(provider: OpenIDProvider) -> None:
    token = refresh_token(provider)
    endpoints = {"token_endpoint": f"{provider.url}{provider.token_path}"}
    async with connect(provider.issuer, endpoints) as connection:
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), TokenResponse)
        assert isinstance(await connection.begin_device(CLIENT, "openid", {}), Misconfigured)
        assert not await connection.revoke(CLIENT, token)
    assert (provider.requests(DISCOVERY), provider.requests(OAUTH_DISCOVERY)) == ([], [])


async def test_an_endpoint_in_the_configuration_comes_before_the_documents(provider: OpenIDProvider) -> None:
    endpoints = {"device_authorization_endpoint": f"{provider.url}/elsewhere"}
    async with connect(provider.issuer, endpoints) as connection:
        metadata = await connection.discover()
    assert isinstance(metadata, Metadata)
    assert metadata.device_authorization_endpoint == f"{provider.url}/elsewhere"


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


@pytest.mark.parametrize("status", [202, 204])
async def test_any_successful_status_confirms_a_revocation(provider: OpenIDProvider, status: int) -> None:
    async with connect(provider.issuer) as connection:
        provider.fault("status", status=status, body="", route=provider.paths["revocation"])
        assert await connection.revoke(CLIENT, Secret("unknown"))


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


class Host:
    """A provider on a raw socket, which records each request, and holds those to the endpoint `held` until released."""

    def __init__(self, *headers: str, body: bytes = b'{"error":"temporarily_unavailable"}') -> None:
        self.requests: list[str] = []
        self.now = 0
        self.most = 0
        self.held: str | None = None
        self.released = anyio.Event()
        self._another = anyio.Event()
        self._headers = headers
        self._body = body

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive()
            self.requests.append(request.decode())
            body, headers = self._body, self._headers
            if b"openid-configuration" in request:
                endpoints = {name: f"{self.issuer}/{name}" for name in ("token_endpoint", "userinfo_endpoint")}
                body, headers = json.dumps({"issuer": self.issuer, **endpoints}).encode(), ()
            elif self.held is not None and f"/{self.held} ".encode() in request:
                self.now += 1
                self.most = max(self.most, self.now)
                self._another.set()
                await self.released.wait()
                self.now -= 1
            head = "\r\n".join(["HTTP/1.1 200 OK", f"content-length: {len(body)}", *headers, "", ""])
            await stream.send(head.encode() + body)

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[HttpProvider]:
        """Serve, and yield a provider there whose metadata is known."""
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            self.issuer = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            tasks.start_soon(listener.serve, self.serve)
            async with connect(self.issuer) as connection:
                await connection.discover()
                yield connection
            tasks.cancel_scope.cancel()

    async def until_held(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while self.now < count:
                self._another = anyio.Event()
                await self._another.wait()


async def request_token(connection: HttpProvider, outcomes: list[object]) -> None:
    outcomes.append(await connection.token(CLIENT, refresh_request(Secret("unknown"))))


async def request_user(connection: HttpProvider, outcomes: list[object]) -> None:
    outcomes.append(await connection.userinfo(Secret("unknown"), "Bearer"))


@pytest.mark.parametrize(
    ("request_one", "endpoint", "most"),
    [(request_token, "token_endpoint", MAX_REQUESTS), (request_user, "userinfo_endpoint", MAX_USER_REQUESTS)],
)
async def test_a_provider_gets_a_few_requests_at_once_and_the_others_in_turn(
    request_one: Callable[[HttpProvider, list[object]], Coroutine[Any, Any, None]], endpoint: str, most: int
) -> None:
    host, outcomes = Host(), list[object]()
    async with host.connected() as connection:
        host.held = endpoint
        async with anyio.create_task_group() as tasks:
            for _ in range(2 * most + 3):
                tasks.start_soon(request_one, connection, outcomes)
            await host.until_held(most)
            probe = request_user if request_one is request_token else request_token
            for _ in range(5):  # time in which more would arrive
                await probe(connection, list[object]())
            assert host.now == most
            host.released.set()
    assert host.most == most
    assert len(outcomes) == 2 * most + 3
    assert not [outcome for outcome in outcomes if isinstance(outcome, Unsent | Lost)]


async def test_requests_for_users_that_hang_delay_no_refresh() -> None:
    host, outcomes = Host(), list[object]()
    async with host.connected() as connection, anyio.create_task_group() as tasks:
        host.held = "userinfo_endpoint"
        for _ in range(3 * MAX_USER_REQUESTS):
            tasks.start_soon(request_user, connection, list[object]())
        await host.until_held(MAX_USER_REQUESTS)
        with anyio.fail_after(PATIENCE):
            await request_token(connection, outcomes)
        assert host.now == MAX_USER_REQUESTS
        host.released.set()
    (outcome,) = outcomes
    assert isinstance(outcome, Failure)
    assert outcome.reason == "temporarily_unavailable"


async def test_a_request_whose_turn_does_not_come_is_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    host, outcomes = Host(), list[object]()
    async with host.connected() as connection:
        monkeypatch.setattr(module, "REQUEST_TIMEOUT", 0.5)
        host.held = "token_endpoint"
        async with anyio.create_task_group() as tasks:
            for _ in range(3 * MAX_REQUESTS):
                tasks.start_soon(request_token, connection, outcomes)
    kinds = [type(outcome) for outcome in outcomes]
    sent = sum("POST /token_endpoint" in request for request in host.requests)
    assert kinds.count(Unsent) >= MAX_REQUESTS
    assert kinds.count(Lost) == sent == 3 * MAX_REQUESTS - kinds.count(Unsent)


async def test_a_caller_that_leaves_takes_nobodys_metadata_along(provider: OpenIDProvider) -> None:
    provider.reset()
    provider.fault("delay", route=DISCOVERY, ms=300)
    first, outcomes = anyio.CancelScope(), list[object]()
    async with connect(provider.issuer) as connection, anyio.create_task_group() as tasks:

        async def leave() -> None:
            with first:
                await connection.discover()

        async def stay() -> None:
            outcomes.append(await connection.discover())

        tasks.start_soon(leave)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(stay)
        await anyio.lowlevel.checkpoint()
        first.cancel()
    assert [type(outcome) for outcome in outcomes] == [Metadata]
    assert provider.count(DISCOVERY) == 1


async def test_known_metadata_serves_all_who_ask_while_the_provider_is_out_of_order(provider: OpenIDProvider) -> None:
    outcomes = list[object]()
    async with connect(provider.issuer) as connection:
        known = await connection.discover()
        before = provider.count(DISCOVERY)
        connection.look_again(older_than=0)
        provider.fault("status", route=DISCOVERY, status=503)

        async def ask() -> None:
            outcomes.append(await connection.discover())

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
    assert outcomes == [known] * 5
    assert provider.count(DISCOVERY) == before + 1


@pytest.mark.parametrize(
    ("answer", "failures"), [(302, 1), (308, 1), (404, 1), (410, 1), (503, 3), ("garbage", 3), ("drop-before", 3)]
)
async def test_an_endpoint_that_has_moved_is_looked_up_again(
    provider: OpenIDProvider, answer: int | FaultMode, failures: int
) -> None:
    token = refresh_token(provider)
    async with connect(provider.issuer) as connection:
        await connection.discover()
        before = provider.count(DISCOVERY)
        fault: dict[str, Any] = {"mode": "status", "status": answer} if isinstance(answer, int) else {"mode": answer}
        provider.fault(**fault, times=failures)
        for _ in range(failures):
            assert provider.count(DISCOVERY) == before
            assert isinstance(await connection.token(CLIENT, refresh_request(Secret("unknown"))), Failure)
        assert isinstance(await connection.token(CLIENT, refresh_request(token)), TokenResponse)
        assert provider.count(DISCOVERY) == before + 1
        provider.fault("status", status=308, times=None)
        for _ in range(9):
            await connection.token(CLIENT, refresh_request(Secret("unknown")))
        assert provider.count(DISCOVERY) == before + 1


async def test_no_cookie_of_one_response_is_sent_with_another_request() -> None:
    host = Host("set-cookie: sid=of-the-first; Path=/", "set-cookie: other=x; Domain=127.0.0.1; Max-Age=999")
    async with host.connected() as connection:
        for _ in range(2):
            await request_token(connection, [])
            await request_user(connection, [])
    assert len(host.requests) == 1 + 4
    assert not [request for request in host.requests if "cookie" in request.lower()]


@pytest.mark.parametrize("padding", [0, 1 << 28], ids=["small", "a bomb"])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "gzip, gzip"])
async def test_a_compressed_response_is_read_and_a_bomb_is_not(padding: int, encoding: str) -> None:
    body = b'{"access_token":"a","token_type":"Bearer","expires_in":60}' + b" " * padding
    for _ in encoding.split(","):
        body = gzip.compress(body)
    host, outcomes = Host(f"content-encoding: {encoding}", body=body), list[object]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with host.connected() as connection:
        await request_token(connection, outcomes)
    (outcome,) = outcomes
    assert isinstance(outcome, Lost if padding else TokenResponse)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16  # KiB
    assert "accept-encoding: identity" in host.requests[-1].lower()


async def test_a_url_is_sent_as_it_is_written() -> None:
    host = Host()
    async with host.connected() as connection:
        await connection.user(Secret("at"), "bearer", f"{host.issuer}/a%7Cb;c/d?e=f%20g;h#i")
        await connection.user(Secret("at"), "DPoP", f"{host.issuer}", {"ä": "é"})
    get, patch = host.requests[1:]
    assert get.startswith("GET /a%7Cb;c/d?e=f%20g;h HTTP/1.1\r\n")
    assert "authorization: Bearer at\r\n" in get
    assert f"host: {host.issuer.removeprefix('http://')}\r\n" in get.lower()
    assert patch.startswith("PATCH / HTTP/1.1\r\n")
    assert "authorization: DPoP at\r\n" in patch


@pytest.mark.parametrize(
    "url", ["", "https://", "ftp://a/", "https://a:b/", "https://[::1", "https://ä/", "https://a\n/"]
)
async def test_what_is_not_a_url_is_misconfigured(url: str) -> None:
    async with Host().connected() as connection:
        assert isinstance(await connection.user(Secret("at"), "Bearer", url), Misconfigured)


@pytest.mark.parametrize("token", ["a\r\nx: y", "a\0", "\n"])
async def test_a_token_that_no_header_may_hold_is_not_sent(token: str) -> None:
    host = Host()
    async with host.connected() as connection:
        assert isinstance(await connection.userinfo(Secret(token), "Bearer"), Unusable)
    assert len(host.requests) == 1
