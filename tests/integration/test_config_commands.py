"""`auth-agent config`, and the options that all commands have."""

import json
import tomllib
from collections.abc import Generator

import pytest

from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider


@pytest.fixture
def nowhere() -> Generator[AgentProcess, None, None]:
    """A place where no agent runs."""
    with AgentProcess(started=False) as process:
        yield process


# ---- config


def test_the_path_is_printed_though_there_is_no_file(nowhere: AgentProcess) -> None:
    nowhere.config.unlink()
    assert nowhere.run("config", "path").stdout == f"{nowhere.config}\n"


def test_a_valid_file_is_in_use_until_it_is_changed(agent: AgentProcess) -> None:
    result = agent.run("config", "check")
    assert result.returncode == 0
    assert "is valid: 1 account" in result.stderr
    assert "uses it" in result.stderr
    agent.config.write_text(f"{agent.config.read_text()}# a comment\n")
    result = agent.run("config", "check")
    assert (result.returncode, "auth-agent reload" in result.stderr) == (0, True)
    assert agent.run("reload").returncode == 0
    assert "uses it" in agent.run("config", "check").stderr


def test_an_agent_with_another_file_is_named(agent: AgentProcess) -> None:
    other = agent.home / "other.toml"
    other.touch()
    result = agent.run("config", "check", "--config", str(other))
    assert result.returncode == 0
    assert str(agent.config) in result.stderr


def test_without_an_agent_and_a_file_the_check_succeeds(nowhere: AgentProcess) -> None:
    nowhere.config.unlink()
    result = nowhere.run("config", "check")
    assert result.returncode == 0
    assert "does not exist yet" in result.stderr
    assert "No agent runs" in result.stderr


def test_a_mistake_is_printed_with_its_line(agent: AgentProcess) -> None:
    agent.config.write_text("[accounts.work]\nisuer = 1\n")
    result = agent.run("config", "check")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{agent.config}:2:" in result.stderr
    assert "did you mean issuer?" in result.stderr


def test_the_configuration_is_shown_with_its_defaults_and_can_be_read_again(
    nowhere: AgentProcess, provider: OpenIDProvider
) -> None:
    keys = account(provider, proxy="http://anna:secret@proxy.example:3128")
    nowhere.configure({"home": account(provider), "work": keys})
    with nowhere.config.open("a") as file:
        file.write('authorize = { prompt = "login" }\n')
        file.write('[hosts."git.example.com"]\naccount = "work"\n[notify]\ncommand = ["tell-me"]\n')
    output = nowhere.run("config", "show").stdout
    assert "secret" not in output
    tables = tomllib.loads(output)
    assert tables["accounts"]["work"]["redirect_ports"] == [48631, 48632, 48633]
    assert tables["accounts"]["work"]["authorize"] == {"prompt": "login"}
    assert tables["hosts"] == {"git.example.com": {"account": "work"}}
    assert tables["notify"]["command"] == ["tell-me"]
    nowhere.config.write_text(output)
    assert nowhere.run("config", "check").returncode == 0
    assert nowhere.run("config", "show").stdout == output
    as_json = json.loads(nowhere.run("config", "show", "--json").stdout)
    proxies = {name: keys["proxy"] for name, keys in as_json["accounts"].items()}
    assert proxies == {"work": tables["accounts"]["work"]["proxy"], "home": None}
    assert "secret" not in json.dumps(as_json)


# ---- options of all commands


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("command", [("token", "work"), ("status",), ("doctor", "--json")])
def test_a_socket_wins_over_the_environment(
    command: tuple[str, ...], place: str, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    with agent.client() as client:
        log_in(client, provider)
    agent.environment["AUTH_AGENT_SOCK"] = "/nonexistent/agent.sock"
    assert agent.run("token", "work").returncode == 3
    option = ("--socket", str(agent.socket))
    result = agent.run(*option, *command) if place == "before" else agent.run(*command, *option)
    assert "no agent listens" not in result.stderr + result.stdout
    assert result.returncode in (0, 1)


def test_quiet_leaves_results_and_errors(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client:
        log_in(client, provider)
    assert agent.run("refresh", "work", "-q").stderr == ""
    assert agent.run("-q", "token", "work").stdout.strip()
    assert "no account wrok" in agent.run("-q", "refresh", "wrok").stderr
    result = agent.run("-q", "stop")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_verbose_prints_where_the_command_looked(agent: AgentProcess) -> None:
    for command in (("token", "work"), ("status",)):
        result = agent.run("-v", *command)
        last = result.stderr.splitlines()[-1]
        assert str(agent.socket) in last
        assert f"exit code {result.returncode}" in last


def test_a_missing_value_is_wrong_usage(nowhere: AgentProcess) -> None:
    result = nowhere.run("status", "--socket")
    assert (result.returncode, "--socket" in result.stderr) == (2, True)


def test_options_are_in_the_help_and_completed(nowhere: AgentProcess) -> None:
    output = nowhere.run("--help").stdout
    completed = nowhere.run("completion", "--complete", "bash", "--").stdout.split()
    for option in ("--socket", "--config", "--verbose", "--quiet"):
        assert option in output
        assert option in completed
