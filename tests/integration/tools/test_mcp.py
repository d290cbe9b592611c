"""The Python SDK of the Model Context Protocol on both ends of the bridge, in each revision and form."""

import json
import os
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from auth_agent_client import Agent
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.tools.mcp_process import free_port, listens, serving
from tests.op.install import node_command
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

mcp = pytest.importorskip("mcp", reason="this needs the Python SDK of MCP: make tools installs it")
types = pytest.importorskip("mcp.types")

PAGE = "docs/tools/mcp.md"
_PACKAGES = Path(__file__).parent / "mcp_everything" / "node_modules"
EVERYTHING = _PACKAGES / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
LEGACY, MODERN = "legacy", "2026-07-28"
LIFETIME = 5  # s


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def provider() -> Generator[OpenIDProvider, None, None]:
    with OpenIDProvider(access_token_lifetime=LIFETIME) as provider:
        yield provider


@pytest.fixture
def agent(provider: OpenIDProvider, port: int) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider)}) as agent:
        agent.config.write_text(f'{agent.config.read_text()}\n[hosts."{url(port)}"]\naccount = "work"\n')
        with agent.client() as client:
            client.reload()
            log_in(client, provider)
        yield agent


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"


@asynccontextmanager
async def connected(agent: AgentProcess, port: int, mode: str) -> AsyncGenerator[Any, None]:
    """Connect the SDK's client to a bridge that it starts."""

    async def elicit(_: object, __: object) -> object:
        return types.ElicitResult(action="accept", content={"name": "Anna"})

    async def sample(_: object, params: Any) -> object:
        text = params.messages[0].content.text
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text=f"{text}: hello"), model="m"
        )

    environment = {**agent.environment, "no_proxy": "*"}
    server = mcp.StdioServerParameters(
        command=agent.command[0], args=[*agent.command[1:], "mcp", url(port)], env=environment
    )
    async with mcp.Client(server, mode=mode, elicitation_callback=elicit, sampling_callback=sample) as client:
        yield client


async def call(client: Any, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    text: str = result.content[0].text
    return text


@pytest.mark.parametrize("form", ["events", "json"])
@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_calls_succeed_while_tokens_rotate(
    agent: AgentProcess, provider: OpenIDProvider, port: int, mode: str, form: str
) -> None:
    async def use() -> None:
        async with connected(agent, port, mode) as client:
            tools = await client.list_tools()
            assert {"echo", "where", "count"} <= {tool.name for tool in tools.tools}
            assert await call(client, "echo", text="hé\u2028llo") == "hé\u2028llo"
            assert await call(client, "where", region=" Nørd") == " Nørd"
            with agent.client() as own:
                while _refreshes(own) < 4:
                    results: list[str] = []

                    async def one(number: int, results: list[str] = results) -> None:
                        results.append(await call(client, "echo", text=str(number)))

                    async with anyio.create_task_group() as tasks:
                        for number in range(10):
                            tasks.start_soon(one, number)
                    assert sorted(results) == [str(number) for number in range(10)]

    with serving(provider, form, port):
        anyio.run(use)


def _refreshes(client: Agent) -> int:
    refreshes = record(client)["refreshes"]
    return refreshes if isinstance(refreshes, int) else 0


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_progress_comes_before_the_result(agent: AgentProcess, provider: OpenIDProvider, port: int, mode: str) -> None:
    seen: list[float] = []

    async def progress(done: float, _: object, __: object) -> None:
        seen.append(done)

    async def use() -> None:
        async with connected(agent, port, mode) as client:
            result = await client.call_tool("count", {"to": 3, "pause": 0.05}, progress_callback=progress)
            assert result.content[0].text == "3"

    with serving(provider, "events", port):
        anyio.run(use)
    assert seen == [1, 2, 3]


def test_the_server_asks_the_person_and_the_model(agent: AgentProcess, provider: OpenIDProvider, port: int) -> None:
    async def use() -> None:
        async with connected(agent, port, LEGACY) as client:
            assert await call(client, "ask") == "Greet Anna: hello"

    with serving(provider, "events", port):
        anyio.run(use)


def test_a_stream_that_the_server_closes_is_resumed(agent: AgentProcess, provider: OpenIDProvider, port: int) -> None:
    async def use() -> None:
        async with connected(agent, port, LEGACY) as client:
            assert await call(client, "interrupt") == "resumed"

    with serving(provider, "events", port):
        anyio.run(use)


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_a_restart_of_the_server_is_not_noticed(
    agent: AgentProcess, provider: OpenIDProvider, port: int, mode: str
) -> None:
    async def use() -> None:
        server = serving(provider, "events", port)
        await anyio.to_thread.run_sync(server.__enter__)
        async with connected(agent, port, mode) as client:
            assert await call(client, "echo", text="before") == "before"
            await anyio.to_thread.run_sync(server.__exit__, None, None, None)
            server = serving(provider, "events", port)
            await anyio.to_thread.run_sync(server.__enter__)
            assert await call(client, "echo", text="after") == "after"
        await anyio.to_thread.run_sync(server.__exit__, None, None, None)

    anyio.run(use)


# ---- the reference server, by the SDK for TypeScript


@pytest.fixture
def everything() -> Generator[str, None, None]:
    """Start the server; its URL."""
    if not EVERYTHING.exists():
        pytest.skip("this needs the reference server of MCP: make tools installs it")
    own = free_port()
    command = [*node_command(), str(EVERYTHING), "streamableHttp"]
    environment = {**os.environ, "PORT": str(own)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(own) or process.poll() is not None)
        yield f"http://127.0.0.1:{own}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_the_reference_servers_tools_resources_and_prompts(
    agent: AgentProcess, provider: OpenIDProvider, port: int, everything: str
) -> None:
    progress: list[float] = []

    async def note(done: float, _: object, __: object) -> None:
        progress.append(done)

    async def use() -> None:
        async with connected(agent, port, LEGACY) as client:
            with agent.client() as own:
                while _refreshes(own) < 4:
                    assert (await call(client, "echo", message="hé")).endswith("hé")
                    assert len((await client.list_tools()).tools) > 5
            arguments = {"duration": 1, "steps": 4}
            await client.call_tool("trigger-long-running-operation", arguments, progress_callback=note)
            resources = (await client.list_resources()).resources
            assert (await client.read_resource(resources[0].uri)).contents
            assert (await client.list_prompts()).prompts
            asked = await client.call_tool("trigger-sampling-request", {"prompt": "Greet", "maxTokens": 10})
            assert "hello" in asked.content[0].text

    with serving(provider, everything, port):
        anyio.run(use)
    assert progress == [1, 2, 3, 4]


def test_the_snippets_of_the_page(agent: AgentProcess) -> None:
    for snippet in snippets(PAGE):
        if snippet.language == "toml":
            agent.config.write_text(f"{agent.config.read_text()}\n{snippet.text}")
        elif snippet.language == "json":
            (server,) = json.loads(snippet.text)["mcpServers"].values()
            assert (server["command"], server["args"][0]) == ("auth-agent", "mcp")
        for command, _ in snippet.commands if snippet.language == "console" else ():
            assert agent.run("reload").returncode == 0
            assert agent.run(*command.partition(" > ")[0].split()[1:]).returncode == 0
