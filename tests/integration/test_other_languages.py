"""The clients in docs/clients, each in its language, with a real agent."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from auth_agent_client import Agent
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import log_in
from tests.integration.test_protocol_session import MESSAGES
from tests.op.install import node_command
from tests.op.provider import OpenIDProvider

CLIENTS: Final = Path(__file__).parents[2] / "docs" / "clients"

# Each program makes the calls that are its arguments, as JSON or as Lua, and prints what each returned, as JSON.
NODE: Final = """
import { AuthAgent } from "FILE";
const agent = new AuthAgent();
for (const [method, params] of CALLS) {
  await agent.call(method, params).then(
    (result) => console.log(JSON.stringify({ result })),
    ({ code, message, retryable, remedy }) => console.log(JSON.stringify({ code, message, retryable, remedy })),
  );
}
"""
LUA: Final = """
package.path = "DIRECTORY/?.lua;" .. package.path
local function json(value)
  if type(value) == "table" then
    local parts = {}
    for name, part in pairs(value) do
      parts[#parts + 1] = (#value > 0 and "" or json(name) .. ":") .. json(part)
    end
    return (#value > 0 and "[" or "{") .. table.concat(parts, ",") .. (#value > 0 and "]" or "}")
  end
  return type(value) == "string" and '"' .. value:gsub('[\\\\"]', "\\\\%0") .. '"' or tostring(value)
end
local agent, problem = require("auth_agent").connect()
for _, call in ipairs(CALLS) do
  local result, problem = problem, problem
  if agent then
    result, problem = agent:call(call[1], call[2])
  end
  print(json(problem or { result = result }))
end
"""

Call = tuple[str, dict[str, object]]


def _lua_value(value: Any) -> str:
    if isinstance(value, dict):
        fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType] -- any map
        return "{" + ",".join(f"[{json.dumps(name)}]={_lua_value(part)}" for name, part in fields.items()) + "}"
    if isinstance(value, list | tuple):
        parts: list[Any] = [*value]
        return "{" + ",".join(map(_lua_value, parts)) + "}"
    return json.dumps(value)


def node(agent: AgentProcess, *calls: Call) -> list[dict[str, Any]]:
    program = NODE.replace("FILE", str(CLIENTS / "auth_agent.mjs")).replace("CALLS", json.dumps(calls))
    return _run(agent, [*node_command(), "--input-type=module", "-e", program])


def lua(agent: AgentProcess, *calls: Call) -> list[dict[str, Any]]:
    program = LUA.replace("DIRECTORY", str(CLIENTS)).replace("CALLS", _lua_value(calls))
    return _run(agent, ["lua5.3", "-e", program])


def _run(agent: AgentProcess, command: list[str]) -> list[dict[str, Any]]:
    result = subprocess.run(command, env=agent.environment, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=[node, lua], ids=["node", "lua"])
def run(request: pytest.FixtureRequest) -> Run:
    """Makes calls by the client of a language."""
    chosen: Run = request.param
    if chosen is lua and (shutil.which("lua5.3") is None or not _has_lua_libraries()):
        pytest.skip("the client for Lua needs: apt-get install lua5.3 lua-messagepack lua-posix")
    return chosen


def _has_lua_libraries() -> bool:
    command = ["lua5.3", "-e", 'require("MessagePack") require("posix")']
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_client_gets_tokens_and_replaces_a_rejected_one(
    run: Run, agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    before = client.token("work").access_token
    now = client.refresh("work")
    first, second, third, fourth = run(
        agent,
        ("token", {"account": "work", "min_ttl": 60}),
        ("token", {}),
        ("rejected", {"account": "work", "access_token": before, "challenge": "Bearer"}),
        ("has_valid", {"account": "work", "min_ttl": 0.5}),
    )
    for one in (first, second, third):
        assert one["result"]["access_token"] == now.access_token
        assert one["result"]["expires_at"] == pytest.approx(now.expires_at, abs=1)
        assert one["result"]["audience_verified"] is False
    assert fourth["result"] == {"valid": True, "renewable": True}


def test_a_client_shows_the_agents_errors_with_their_remedy_and_goes_on(run: Run, agent: AgentProcess) -> None:
    first, second, third = run(agent, ("token", {"account": "work"}), ("token", {"acount": ""}), ("status", {}))
    assert (first["code"], first["retryable"]) == ("login_required", False)
    assert first["remedy"][0]["command"] == ["auth-agent", "login", "work"]
    assert second["code"] == "invalid_request"
    assert third["result"]["accounts"][0]["state"] == "logged_out"


def test_a_client_reads_messages_of_every_length(run: Run, agent: AgentProcess, client: Agent) -> None:
    names = [f"account-{number:03}" for number in range(300)]
    keys = {"issuer": "https://op.example", "client_id": "ä" * 100}
    agent.configure(dict.fromkeys(names, keys))
    client.reload()
    (status,) = run(agent, ("status", {}))
    assert [one["account"] for one in status["result"]["accounts"]] == names
    (unknown,) = run(agent, ("token", {"scope": "x" * 3000, "audience": "y" * 200, "account": "nobody"}))
    assert unknown["code"] == "unknown_account"
    (invalid,) = run(agent, ("token", {"scope": "x" * 70_000}))
    assert invalid["code"] == "invalid_request"


def test_a_client_says_that_no_agent_listens_or_that_others_may(run: Run, agent: AgentProcess) -> None:
    agent.socket.parent.chmod(0o755)
    assert run(agent, ("hello", {}))[0]["code"] == "untrusted_agent"
    agent.socket.parent.chmod(0o700)
    agent.terminate()
    (gone,) = run(agent, ("hello", {}))
    assert gone["retryable"]
    assert str(agent.socket) in gone["message"]
    agent.start()


def test_the_client_for_node_connects_again_and_makes_calls_at_once(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    program = f"""
        import {{ AuthAgent, encode }} from "{CLIENTS / "auth_agent.mjs"}";
        import {{ once }} from "node:events";
        console.log(encode([0, 1, "token", [{{ account: "work", min_ttl: 60, scope: undefined }}]]).toString("hex"));
        const agent = new AuthAgent();
        const tokens = await Promise.all(Array.from({{ length: 50 }}, () => agent.token()));
        console.log(new Set(tokens.map((token) => token.access_token)).size);
        agent.close();
        console.log((await agent.call("hello")).pid);
        await once(process.stdin, "data");
        console.log((await agent.call("hello")).pid);
        process.stdin.destroy();
    """
    with subprocess.Popen(
        [*node_command(), "--input-type=module", "-e", program],
        env=agent.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == f"{MESSAGES[0].bytes.hex()}\n"
        assert process.stdout.readline() == "1\n"
        assert process.stdout.readline() == f"{agent.process.pid}\n"
        agent.terminate()
        agent.start()
        process.stdin.write("restarted\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{agent.process.pid}\n"
    assert process.returncode == 0
