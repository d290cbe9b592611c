"""Tokens by URL: only the user's configuration determines the account."""

import json
import subprocess
from pathlib import Path

import pytest

from auth_agent_client import Agent, Denied, InvalidRequest
from auth_agent_client.aio import AsyncAgent
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider

GIT = '\n[hosts."git.example.com/team"]\naccount = "work"\n'
WIKI = '\n[hosts."*.wiki.example:8443"]\naccount = "home"\n'


@pytest.fixture
def mapped(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    """An agent with two accounts and a host rule for each."""
    agent.configure({"work": account(provider), "home": account(provider, default=True)})
    agent.config.write_text(agent.config.read_text() + GIT + WIKI)
    client.reload()
    log_in(client, provider, "work")
    log_in(client, provider, "home")
    return agent


def test_the_command_prints_the_token_of_the_account_for_the_url(
    mapped: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    result = mapped.run("token", "--url", "https://git.example.com/team/project.git")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{client.token('work').access_token}\n"
    assert provider.userinfo(result.stdout.strip()).status_code == 200
    token = json.loads(mapped.run("token", "--json", "--url=https://a.wiki.example:8443/").stdout)
    assert token["account"] == "home"


def test_a_url_without_a_rule_gets_no_token_and_a_remedy(mapped: AgentProcess) -> None:
    result = mapped.run("token", "--url", "https://git.example.com/other?secret=hunter2")
    assert (result.returncode, result.stdout) == (6, "")
    assert "https://git.example.com" in result.stderr
    assert '[hosts."git.example.com"]' in result.stderr
    assert str(mapped.config) in result.stderr
    assert "hunter2" not in result.stderr + mapped.log


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        (("home", "--url", "https://git.example.com/team"), 6, "the account work"),
        (("--url", "https://alice:hunter2@git.example.com/team"), 2, "user name"),
        (("--url", "https://git.example.com/team/../other"), 2, ". or .."),
        (("--url", "https://git.example.com/team", "--audience", "https://api.example"), 2, "audience"),
        (("--url", ""), 2, "16 KiB"),
        (("--url",), 2, "'--url'"),
    ],
)
def test_other_arguments_can_not_change_the_account_for_a_url(
    mapped: AgentProcess, arguments: tuple[str, ...], code: int, fact: str
) -> None:
    result = mapped.run("token", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert fact in result.stderr
    assert "hunter2" not in result.stderr + mapped.log


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_both_clients_get_tokens_by_url(mapped: AgentProcess, client: Agent, anyio_backend: str) -> None:
    assert anyio_backend
    url = "https://b.wiki.example:8443/page"
    assert client.token(url=url).account == "home"
    async with AsyncAgent(str(mapped.socket)) as agent:
        assert (await agent.token(url=url)).account == "home"
        with pytest.raises(Denied):
            await agent.token(url="https://c.b.wiki.example:8443/")
    with pytest.raises(InvalidRequest):
        client.token(url="http://b.wiki.example:8443/")


def test_a_token_by_url_is_rejected_by_the_same_url(
    mapped: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    url = "https://b.wiki.example:8443/page"
    before = client.token(url=url).access_token
    newer = client.refresh("home").access_token
    token = client.rejected(before, url=url)
    assert (token.account, token.access_token) == ("home", newer)
    assert provider.userinfo(newer).status_code == 200
    with pytest.raises(Denied):
        client.rejected(token.access_token, url="https://c.b.wiki.example:8443/")
    with pytest.raises(InvalidRequest, match=r"^rejected: "):
        client.rejected(token.access_token, url="http://b.wiki.example:8443/?hunter2")
    assert "hunter2" not in mapped.log


def test_a_reload_changes_the_rules_and_the_current_directory_does_not(
    mapped: AgentProcess, client: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://git.example.com/team"
    for name in ("config.toml", ".auth-agent.toml", "auth-agent.toml"):
        (tmp_path / name).write_text(mapped.config.read_text() + '[hosts."evil.example"]\naccount = "work"\n')
    monkeypatch.chdir(tmp_path)
    assert mapped.run("token", "--url", "https://evil.example/").returncode == 6
    mapped.config.write_text(mapped.config.read_text().replace(GIT, GIT.replace("work", "home")))
    assert client.token(url=url).account == "work"
    result = mapped.run("reload")
    assert (result.returncode, "work" in result.stderr, "home" in result.stderr) == (
        0,
        False,
        False,
    )  # no account changed
    assert client.token(url=url).account == "home"


def test_a_program_in_a_directory_of_a_rule_gets_that_rules_token(
    mapped: AgentProcess, client: Agent, tmp_path: Path
) -> None:
    directory, url = tmp_path / "src" / "acme", "https://git.example.com/other"
    (directory / "project").mkdir(parents=True)
    (tmp_path / "link").symlink_to(directory)
    mapped.config.write_text(
        f'{mapped.config.read_text()}\n[[hosts."git.example.com"]]\naccount = "home"\n'
        f'[[hosts."git.example.com"]]\naccount = "work"\ndirectory = "{tmp_path}/link"\n'
    )
    client.reload()

    def account_in(place: Path) -> str:
        command = [*mapped.command, "token", "--json", "--url", url]
        result = subprocess.run(command, cwd=place, env=mapped.environment, capture_output=True, text=True, check=True)
        return str(json.loads(result.stdout)["account"])

    assert account_in(tmp_path) == "home"
    for place in (directory, directory / "project", tmp_path / "link" / "project"):
        assert account_in(place) == "work"
    assert client.token(url=url).account == "home"
    token = client.token(url=url, directory=str(directory))
    assert token.account == "work"
    assert client.rejected("no token of ours", url=url, directory=str(directory)).access_token == token.access_token
    assert client.id_token(url=url, directory=str(directory)).account == "work"
    with pytest.raises(InvalidRequest):
        client.token(directory=str(directory))
