"""Programs with `AgentAuth` run on while tokens of five seconds rotate under them, at an API that asks the provider."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.agent_process import AgentProcess
from tests.integration.api_server import ApiServer
from tests.integration.conftest import account, log_in
from tests.integration.http_programs import BODY, PROGRAMS, Program
from tests.op.provider import OpenIDProvider

LIFETIME = 5  # s
TOKENS = 4  # that each program uses at least


def test_no_request_of_a_program_fails_while_tokens_rotate(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=LIFETIME)
    with ApiServer() as api, AgentProcess({"work": account(provider)}) as agent:
        api.rejects = lambda token: token is None or provider.userinfo(token).status_code != 200
        with agent.client() as client:
            log_in(client, provider)

        def run(kind: type[Program]) -> set[int]:
            path = f"/{kind.__name__}"

            def is_over() -> bool:
                return len({one.token for one in api.requests if one.path == path}) >= TOKENS

            program = kind(account="work", origins=[api.origin], path=str(agent.socket))
            return {one.status for one in program.send_until(is_over, f"{api.origin}{path}")}

        with ThreadPoolExecutor(len(PROGRAMS)) as pool:
            assert list(pool.map(run, PROGRAMS)) == [{200}] * len(PROGRAMS)
        assert {one.body for one in api.requests} == {BODY}
        # The programs caused no refresh of their own: each refresh token was sent once, when it was due.
        assert {row.presented for row in provider.ledger().values()} <= {0, 1}


# The MCP Python SDK's own client and server. The server asks the provider about each token.
MCP = """
import asyncio, socket, sys
import httpx2, uvicorn
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from auth_agent_client.httpx2 import AgentAuth

userinfo, wanted = sys.argv[1], int(sys.argv[2])
tools, tokens = MCPServer("sums"), set()

@tools.tool()
def add(a: int, b: int) -> int:
    return a + b

server = tools.streamable_http_app()

async def check(scope, receive, send):
    if scope["type"] != "http":
        return await server(scope, receive, send)
    authorization = dict(scope["headers"]).get(b"authorization", b"").decode()
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(userinfo, headers={"Authorization": authorization})
    if answer.status_code == 200:
        tokens.add(authorization)
        return await server(scope, receive, send)
    headers = [(b"www-authenticate", b'Bearer error="invalid_token"'), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b""})

async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    origin = "http://127.0.0.1:%s" % listener.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(check, log_level="warning"))
    serving = asyncio.create_task(running.serve([listener]))
    auth = AgentAuth("work", origins=[origin])
    async with (
        httpx2.AsyncClient(auth=auth, trust_env=False) as client,
        streamable_http_client(origin + "/mcp", http_client=client) as streams,
        ClientSession(*streams[:2]) as session,
    ):
        await session.initialize()
        while len(tokens) < wanted:
            result = await session.call_tool("add", {"a": 2, "b": 3})
            assert not result.is_error and result.content[0].text == "5", result
            await asyncio.sleep(0.1)
    running.should_exit = True
    await serving

asyncio.run(main())
"""


def test_the_mcp_sdk_calls_tools_while_tokens_rotate(start_provider: Callable[..., OpenIDProvider]) -> None:
    if importlib.util.find_spec("mcp") is None:
        pytest.skip("the MCP Python SDK is missing: .venv/bin/pip install -c constraints.txt --group mcp")
    provider = start_provider(access_token_lifetime=LIFETIME)
    with AgentProcess({"work": account(provider)}) as agent:
        with agent.client() as client:
            log_in(client, provider)
        userinfo = provider.url + provider.paths["userinfo"]
        command = [sys.executable, "-c", MCP, userinfo, str(TOKENS)]
        result = subprocess.run(
            command, env=agent.environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert result.returncode == 0, result.stderr
