"""Claude Code and Codex: their MCP servers and models, with the configuration of the page about them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in, record
from tests.integration.tools.mcp_process import free_port, serving
from tests.op.install import node_command
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

PAGE = "docs/tools/coding-agents.md"
PACKAGES: Final = Path(__file__).parent / "coding_agents" / "node_modules"
WRAPPER: Final = PACKAGES / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"
MCP, MODELS = "https://mcp.example.com/mcp", "https://models.example.com"
SAID = "hello there"
LIFETIME = 5  # s

pytestmark = pytest.mark.skipif(
    not WRAPPER.exists(), reason="this needs Claude Code and Codex: make tools installs them"
)


# ---- what a model answers


def _events(*events: Mapping[str, object]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


_MESSAGE: Final[dict[str, object]] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
MESSAGES: Final = _events(
    {"type": "message_start", "message": _MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
_ITEM: Final = {"type": "message", "role": "assistant", "id": "i", "content": [{"type": "output_text", "text": SAID}]}
RESPONSES: Final = _events(
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "response.output_item.done", "item": _ITEM},
    {"type": "response.completed", "response": {"id": "r"}},
)


class Models(ThreadingHTTPServer):
    """A gateway to models that takes the provider's access tokens alone."""

    daemon_threads = True

    def __init__(self, provider: OpenIDProvider) -> None:
        super().__init__(("127.0.0.1", 0), _Models)
        self.provider = provider
        self.good: list[str] = []
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Models(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b'{"data": [], "models": []}', "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(RESPONSES if "responses" in self.path else MESSAGES, "text/event-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        assert isinstance(self.server, Models)
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        good = bool(token) and self.server.provider.userinfo(token).status_code == 200
        self.server.refused += not good
        self.server.good.extend([token] if good else [])
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Print nothing."""


# ---- a person's machine


class Desk:
    """A home directory with the page's configuration, in which this machine's servers take the examples' place."""

    def __init__(self, agent: AgentProcess, places: Mapping[str, str]) -> None:
        self.agent = agent
        self._places = places
        # Its packages are installed without their scripts, of which one would put the program in place.
        (claude := agent.home / "bin" / "claude").parent.mkdir()
        claude.write_text(f'#!/bin/sh\nexec {node_command()[0]} {WRAPPER} "$@"\n')
        claude.chmod(0o700)
        programs = claude.parent, Path(sys.executable).parent, PACKAGES / ".bin", Path(node_command()[0]).parent
        self.environment = {
            **agent.environment,
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
            "ANTHROPIC_BASE_URL": places[MODELS],
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "no_proxy": "*",
        }
        codex = [agent.home / ".codex" / "config.toml", ""]
        for snippet in snippets(PAGE):
            text = self.filled_in(snippet.text)
            if snippet.language == "toml" and "[hosts" in text:
                agent.config.write_text(f"{agent.config.read_text()}\n{text}")
            elif snippet.language == "toml":
                # Keys before tables.
                keys, _, tables = text.partition("\n\n") if not text.startswith("[") else ("", "", text)
                codex[1] = f"{keys}\n{codex[1]}\n{tables}"
            elif "mcpServers" in text:
                self.write(".claude.json", text)
            else:
                self.write(".claude/settings.json", text)
        self.write(".codex/config.toml", f'model = "m"\n{codex[1]}')

    def filled_in(self, text: str) -> str:
        """Return the page's text with this machine's addresses."""
        for example, place in self._places.items():
            text = text.replace(example, place).replace(f'"{example.removeprefix("https://")}"', f'"{place}"')
        # Codex gives the command few of its variables.
        return text.replace(
            "auth-agent header --json --url", f"auth-agent --socket {self.agent.socket} header --json --url"
        )

    def write(self, name: str, text: str) -> None:
        path = self.agent.home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.agent.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@pytest.fixture
def provider() -> Generator[OpenIDProvider, None, None]:
    with OpenIDProvider(access_token_lifetime=LIFETIME) as provider:
        yield provider


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def models(provider: OpenIDProvider) -> Generator[Models, None, None]:
    with Models(provider) as models:
        thread = threading.Thread(target=models.serve_forever)
        thread.start()
        yield models
        models.shutdown()
        thread.join()


@pytest.fixture
def desk(provider: OpenIDProvider, models: Models, port: int) -> Generator[Desk, None, None]:
    with AgentProcess({"work": account(provider)}) as agent:
        desk = Desk(agent, {MCP: f"http://127.0.0.1:{port}/mcp", MODELS: models.url})
        with agent.client() as client:
            client.reload()
            log_in(client, provider)
        yield desk


CLAUDE: Final = ("claude", "-p", "say hello")
CODEX: Final = ("codex", "exec", "--skip-git-repo-check", "say hello")


@pytest.mark.parametrize("command", [CLAUDE, CODEX], ids=["claude", "codex"])
def test_the_models_gateway_gets_a_valid_token_while_tokens_rotate(
    desk: Desk, models: Models, provider: OpenIDProvider, port: int, command: Sequence[str]
) -> None:
    with serving(provider, "events", port), desk.agent.client() as client:
        while len(set(models.good)) < 3:
            refreshes = record(client)["refreshes"]
            result = desk.run(*command)
            assert (result.returncode, SAID in result.stdout) == (0, True), result.stdout + result.stderr
            assert models.refused == 0
            # At once, or after the next refresh.
            client.token("work", force=True) if record(client)["refreshes"] == refreshes else None


def test_claude_code_connects_to_an_mcp_server(desk: Desk, provider: OpenIDProvider, port: int) -> None:
    with serving(provider, "events", port):
        for _ in range(2):
            result = desk.run("claude", "mcp", "list")
            assert result.returncode == 0, result.stderr
            assert "acme" in result.stdout
            assert "Connected" in result.stdout
            with desk.agent.client() as client:
                client.refresh("work")
    with desk.agent.client() as client:
        client.logout("work")
    with serving(provider, "events", port):
        assert "Connected" not in desk.run("claude", "mcp", "list").stdout


def test_codex_connects_to_an_mcp_server(desk: Desk, provider: OpenIDProvider, port: int) -> None:
    with serving(provider, "events", port), desk.agent.client() as client:
        result = desk.run(*CODEX)
        assert (result.returncode, "MCP" in result.stderr) == (0, False), result.stderr
        client.logout("work")
        assert "MCP HTTP headers helper exited with status exit status: 4" in desk.run(*CODEX).stderr
