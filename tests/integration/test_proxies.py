"""Proxies of every kind, between the real provider over TLS and the agent; and what the environment may say of them."""

import gc
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Literal

import anyio
import pytest
import trustme

from auth_agent.oauth import http_client
from auth_agent.oauth.client import Client
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Failure, Misconfigured, TokenResponse, Unsent
from auth_agent.oauth.provider import HttpProvider
from auth_agent.oauth.token_request import refresh_request
from auth_agent.oauth.transport import Transport
from auth_agent.proxies import environment_proxies
from auth_agent.secret import Secret
from auth_agent_client import Misconfigured as MisconfiguredError, Unavailable
from tests.integration.agent_process import PATIENCE, AgentProcess
from tests.integration.conftest import account, log_in
from tests.integration.proxy_server import ProxyServer
from tests.op.provider import OpenIDProvider
from tests.picture.tunnel import tunnel

HOST = "op.example"
ISSUER = f"https://{HOST}"
CLIENT = Client("native-app")
CREDENTIALS = ("anna", "hunter2")
VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificates(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture(scope="module")
def provider(authority: trustme.CA, certificates: Path) -> Generator[OpenIDProvider, None, None]:
    """A provider at https://op.example, which only a proxy knows."""
    files = certificates.with_name("cert.pem"), certificates.with_name("key.pem")
    issued, ports = authority.issue_cert(HOST), dict[str, int]()
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    with (
        tunnel(ports) as own,
        OpenIDProvider(tls=files, ca=certificates, origin=ISSUER, proxy=own, access_token_lifetime=3600) as one,
    ):
        ports[HOST] = one.port
        yield one


@pytest.fixture
def start_proxy(authority: trustme.CA, provider: OpenIDProvider) -> Generator[Callable[..., ProxyServer], None, None]:
    with ExitStack() as stack:

        def start(
            kind: Literal["http", "socks5"] = "http",
            credentials: tuple[str, str] | None = None,
            *,
            tls: bool = False,
            **ports: int,
        ) -> ProxyServer:
            context = None
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                issued = authority.issue_cert("localhost")
                issued.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] -- pyOpenSSL's context, too
            where = ports or {HOST: provider.port, "127.0.0.1": provider.port}
            return stack.enter_context(ProxyServer(kind, where, tls=context, credentials=credentials))

        yield start


@asynccontextmanager
async def connect(certificates: Path, environ: dict[str, str], issuer: str = ISSUER) -> AsyncGenerator[HttpProvider]:
    async with anyio.create_task_group() as tasks:
        context = ssl.create_default_context(cafile=certificates)
        yield HttpProvider(issuer, Transport(lambda: context, environment_proxies(environ)), tasks)
        tasks.cancel_scope.cancel()


# ---- every kind


@pytest.mark.anyio
@pytest.mark.parametrize("credentials", [None, CREDENTIALS])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks"])
async def test_a_provider_is_reached_through_a_proxy_that_knows_its_name(
    scheme: str,
    credentials: tuple[str, str] | None,
    start_proxy: Callable[..., ProxyServer],
    provider: OpenIDProvider,
    certificates: Path,
) -> None:
    proxy = start_proxy("http" if "http" in scheme else "socks5", credentials, tls=scheme == "https")
    token = provider.login().refresh_token
    assert token is not None
    async with connect(certificates, {"HTTPS_PROXY": proxy.url(scheme, "localhost")}) as connection:
        response = await connection.token(CLIENT, refresh_request(Secret(token)))
    assert isinstance(response, TokenResponse)
    assert proxy.asked == [(HOST, 443)] * 2


@pytest.mark.anyio
async def test_socks5_leads_to_the_address_that_this_machine_knows(
    start_proxy: Callable[..., ProxyServer], certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(name: str | bytes, port: int, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert name in (HOST, HOST.encode(), "localhost", b"localhost", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    proxy = start_proxy("socks5")
    async with connect(certificates, {"all_proxy": proxy.url("socks5", "localhost")}) as connection:
        assert isinstance(await connection.discover(), Metadata)
    assert proxy.asked == [("127.0.0.1", 443)]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scheme", "trouble"),
    [
        *product(["http", "https", "socks5h"], ["no user", "wrong password", "forbidden", "closed"]),
        # Not the other way round: an HTTP proxy waits for the end of a line.
        *product(["http", "https"], ["another protocol"]),
    ],
)
async def test_a_request_that_a_proxy_refuses_is_unsent(
    scheme: str, trouble: str, start_proxy: Callable[..., ProxyServer], certificates: Path
) -> None:
    kind = "http" if scheme != "socks5h" and trouble != "another protocol" else "socks5"
    credentials = CREDENTIALS if trouble in ("no user", "wrong password") else None
    ports = {"other.example": 1} if trouble == "forbidden" else {}
    proxy = start_proxy(kind, credentials, tls=scheme == "https", **ports)
    url = proxy.url(scheme, "localhost").replace("anna:hunter2@", "" if trouble == "no user" else "anna:hunter3@")
    if trouble == "closed":
        proxy.__exit__(None, None, None)
    async with connect(certificates, {"https_proxy": url}) as connection:
        outcome = await connection.discover()
    assert type(outcome) is Unsent
    assert "localhost" in outcome.reason
    assert "hunter" not in outcome.reason


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_a_request_to_a_proxy_that_never_answers_is_unsent(
    scheme: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a token request, of which a CONNECT is no part."""
    monkeypatch.setattr(http_client, "REQUEST_TIMEOUT", 0.4)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as silent:
        port = silent.extra(anyio.abc.SocketAttribute.local_port)
        async with connect(certificates, {"https_proxy": f"{scheme}://127.0.0.1:{port}"}) as connection:
            assert type(await connection.discover()) is Unsent


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["none", "http", "https", "socks5h"])
async def test_a_connection_whose_handshake_hangs_is_closed(
    scheme: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: without the garbage collector's help."""
    monkeypatch.setattr(http_client, "REQUEST_TIMEOUT", 0.4)
    closed = anyio.Event()

    async def hang(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            data = await stream.receive()
            if data.startswith(b"CONNECT"):
                await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
            elif data.startswith(b"\x05"):
                await stream.send(b"\x05\x00")
                await stream.receive()
                await stream.send(b"\x05\x00\x00\x01" + bytes(6))
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
        closed.set()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang)
        place = f"localhost:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        environ = {} if scheme == "none" else {"https_proxy": f"{scheme}://{place}"}
        gc.disable()
        try:
            async with connect(certificates, environ, f"https://{place}" if scheme == "none" else ISSUER) as connection:
                assert type(await connection.discover()) is Unsent
                with anyio.fail_after(PATIENCE):
                    await closed.wait()
        finally:
            gc.enable()
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_proxy_whose_certificate_is_another_hosts_is_not_used(
    start_proxy: Callable[..., ProxyServer], certificates: Path
) -> None:
    proxy = start_proxy(tls=True, credentials=CREDENTIALS)
    async with connect(certificates, {"https_proxy": proxy.url("https", "127.0.0.1")}) as connection:
        outcome = await connection.discover()
    assert isinstance(outcome, Unsent)
    assert "certificate" in outcome.reason
    assert proxy.asked == []


@pytest.mark.anyio
async def test_a_provider_whose_certificate_is_another_hosts_is_not_reached_through_a_proxy(
    start_proxy: Callable[..., ProxyServer], certificates: Path
) -> None:
    proxy = start_proxy("socks5", tls=False)
    proxy.ports = {"other.example": proxy.ports[HOST]}
    async with connect(certificates, {"all_proxy": proxy.url("socks5h")}, "https://other.example") as connection:
        outcome = await connection.discover()
    assert isinstance(outcome, Failure)
    assert "certificate" in outcome.reason


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", "-", "xn--0.example", "%41.example", "_", "a,b"])
@pytest.mark.parametrize("scheme", ["http", "socks5h", "none"])
async def test_a_host_that_can_not_be_one_is_a_failure_like_any_other(
    scheme: str, host: str, start_proxy: Callable[..., ProxyServer], certificates: Path, provider: OpenIDProvider
) -> None:
    proxy = start_proxy("http" if scheme == "http" else "socks5", **{host: provider.port})
    environ = {} if scheme == "none" else {"HTTPS_PROXY": proxy.url(scheme)}
    async with connect(certificates, environ, f"https://{host}") as connection:
        outcome = await connection.discover()
    assert isinstance(outcome, Unsent | Misconfigured)


# ---- the agent's environment


def test_an_agent_takes_its_proxy_from_the_environment(
    start_proxy: Callable[..., ProxyServer], provider: OpenIDProvider, certificates: Path
) -> None:
    proxy = start_proxy("socks5", CREDENTIALS)
    environment = {"ALL_PROXY": proxy.url("socks5h"), "SSL_CERT_FILE": str(certificates)}
    with AgentProcess({"work": account(provider)}, environment=environment) as agent, agent.client() as client:
        log_in(client, provider)
        assert client.token("work", force=True).access_token
        assert client.logout("work").revoked
        assert (HOST, 443) in proxy.asked
        assert "hunter2" not in agent.log


def test_a_host_in_no_proxy_is_asked_directly(
    start_proxy: Callable[..., ProxyServer], provider: OpenIDProvider, certificates: Path
) -> None:
    proxy = start_proxy()
    environment = {"HTTPS_PROXY": proxy.url("http"), "no_proxy": f"a,{HOST}", "SSL_CERT_FILE": str(certificates)}
    with AgentProcess({"work": account(provider)}, environment=environment) as agent, agent.client() as client:
        with pytest.raises(Unavailable):
            log_in(client, provider)
        assert proxy.asked == []


def test_this_machine_is_never_asked_through_a_proxy(
    start_proxy: Callable[..., ProxyServer], start_provider: Callable[..., OpenIDProvider]
) -> None:
    local = start_provider()
    proxy = start_proxy()
    environment = {name: proxy.url("http") for name in VARIABLES}
    accounts = {"work": account(local), "own": account(local, proxy=proxy.url("http"))}
    with AgentProcess(accounts, environment=environment) as agent, agent.client() as client:
        for name in accounts:
            log_in(client, local, name)
            assert client.profile(name).sub
    assert proxy.asked == []


@pytest.mark.parametrize(
    "value", ["ftp://anna:hunter2@proxy.example", "socks4://127.0.0.1:1", "http://anna:hunter2", "foo bar", "http://["]
)
def test_a_variable_that_can_not_be_used_concerns_only_accounts_that_need_it(
    value: str,
    start_proxy: Callable[..., ProxyServer],
    start_provider: Callable[..., OpenIDProvider],
    provider: OpenIDProvider,
    certificates: Path,
) -> None:
    local, proxy = start_provider(), start_proxy()
    accounts: dict[str, dict[str, object]] = {
        "local": account(local),
        "own": account(provider, proxy=proxy.url("http")),
        "excepted": {"issuer": "https://id.intra.example", "client_id": "a"},
        "work": account(provider),
    }
    environment = {"HTTPS_PROXY": value, "NO_PROXY": ".intra.example", "SSL_CERT_FILE": str(certificates)}
    with AgentProcess(accounts, environment=environment) as agent, agent.client() as client:
        log_in(client, local, "local")
        log_in(client, provider, "own")
        with pytest.raises(Unavailable):
            client.login("excepted")
        for call in (lambda: client.login("work"), lambda: client.import_refresh_token("unused", "work")):
            with pytest.raises(MisconfiguredError) as raised:
                call()
            assert raised.value.failure == "misconfigured"
            assert any("HTTPS_PROXY" in remedy.text for remedy in raised.value.remedy)
        for name in accounts:
            client.logout(name)
        assert "defect" not in agent.log
        assert "outcome=lost" not in agent.log
        findings = agent.run("doctor").stdout
        assert "HTTPS_PROXY can't be used" in findings
        assert "hunter2" not in findings + agent.log
