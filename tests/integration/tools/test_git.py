"""The real git, of two releases, at a real `git http-backend` that takes the provider's tokens alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.tools.debian_tree import in_tree
from tests.integration.tools.git_server import GitServer
from tests.integration.tools.token_server import BASIC, BEARER
from tests.integration.tools.tool_home import rotating
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

pytestmark = pytest.mark.timeout(900)  # the first test makes the Debian tree, which takes minutes

PAGE = "docs/tools/git.md"
OLD, NEW = "the machine's git", "Debian 13's git"


def _here(*command: str) -> list[str]:
    return ["env", f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}", *command]


GITS: dict[str, Callable[..., list[str]]] = {OLD: _here, NEW: in_tree}


class Workplace:
    """A person's home directory with git, an agent that is logged in, and a server."""

    def __init__(self, name: str, agent: AgentProcess, server: GitServer) -> None:
        self.agent = agent
        self.server = server
        self._in = GITS[name]
        self.environment = {
            **agent.environment,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "no_proxy": "*",
            **{f"GIT_{who}_{what}": "a@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def run(self, *command: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._in(*command),
            cwd=cwd or self.agent.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        result = self.run("git", *arguments, cwd=cwd)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def map(self, rules: str) -> None:
        self.agent.config.write_text(self.agent.config.read_text().partition("\n[hosts")[0] + "\n" + rules)
        for command in (("reload",), ("setup", "git")):
            result = self.run("auth-agent", *command)
            assert result.returncode == 0, result.stderr


@pytest.fixture
def provider(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> OpenIDProvider:
    return start_provider(access_token_lifetime=lifetime)


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider), "home": account(provider)}) as agent:
        with agent.client() as client:
            log_in(client, provider, "work")
            log_in(client, provider, "home")
        yield agent


@pytest.fixture
def serve(tmp_path: Path, provider: OpenIDProvider) -> Generator[Callable[..., GitServer], None, None]:
    with ExitStack() as stack:

        def start(*challenges: str) -> GitServer:
            directory = tmp_path / f"repositories-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            server = GitServer(directory, provider, *challenges)
            stack.enter_context(server)
            return server

        yield start


@pytest.fixture(params=GITS)
def workplace(request: pytest.FixtureRequest, agent: AgentProcess, serve: Callable[..., GitServer]) -> Workplace:
    """A workplace with the server's host mapped to `work`, and git set up."""
    server = serve(BASIC, BEARER)
    place = Workplace(request.param, agent, server)
    server.create("team/project.git")
    place.map(f'[hosts."{server.url}"]\naccount = "work"\n')
    return place


def commit(place: Workplace, clone: Path, name: str) -> None:
    (clone / name).write_text(name)
    place.git("add", name, cwd=clone)
    place.git("commit", "--quiet", "-m", name, cwd=clone)


def test_clone_push_and_fetch_need_no_password(workplace: Workplace) -> None:
    url, server = f"{workplace.server.url}/team/project.git", workplace.server
    one, other = workplace.agent.home / "one", workplace.agent.home / "other"
    workplace.git("clone", "--quiet", url, str(one))
    commit(workplace, one, "file")
    workplace.git("push", "--quiet", "origin", "HEAD:main", cwd=one)
    workplace.git("clone", "--quiet", "--branch", "main", url, str(other))
    assert (other / "file").read_text() == "file"
    is_new = "authtype" in workplace.run("git", "credential", "capability").stdout
    assert server.users == ({None} if is_new else {"oauth2"})  # None: as a bearer token
    assert server.statuses == {200}
    kept = [path for path in workplace.agent.home.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert not [path for path in kept if any(token in path.read_text(errors="replace") for token in server.tokens)]


def test_large_files_of_git_lfs(workplace: Workplace) -> None:
    if workplace.run("git", "lfs", "version").returncode != 0:
        pytest.skip("this needs git-lfs: apt-get install git-lfs")
    url, content = f"{workplace.server.url}/team/project.git", os.urandom(200_000)
    one, other = workplace.agent.home / "one", workplace.agent.home / "other"
    workplace.git("lfs", "install", "--skip-repo")
    workplace.git("clone", "--quiet", url, str(one))
    workplace.git("lfs", "track", "*.bin", cwd=one)
    (one / "large.bin").write_bytes(content)
    workplace.git("add", ".gitattributes", "large.bin", cwd=one)
    workplace.git("commit", "--quiet", "-m", "large", cwd=one)
    workplace.git("push", "--quiet", "origin", "HEAD:main", cwd=one)
    assert list(workplace.server.large_files.objects.values()) == [content]
    workplace.git("clone", "--quiet", "--branch", "main", url, str(other))
    assert (other / "large.bin").read_bytes() == content
    assert workplace.server.statuses == {200}


@rotating
def test_ten_fetches_and_more_while_tokens_rotate(workplace: Workplace) -> None:
    clone = workplace.agent.home / "clone"
    workplace.git("clone", "--quiet", f"{workplace.server.url}/team/project.git", str(clone))
    fetches = 0
    while fetches < 10 or len(workplace.server.tokens) < 4:
        workplace.git("fetch", "--quiet", cwd=clone)
        fetches += 1
    assert workplace.server.statuses == {200}


def test_the_user_name_is_that_of_the_url_or_of_the_rule(workplace: Workplace, serve: Callable[..., GitServer]) -> None:
    server = serve(BASIC)
    server.create("a.git")
    workplace.map(f'[hosts."{server.url}"]\naccount = "work"\nusername = "x-token-auth"\n')
    workplace.git("ls-remote", f"{server.url}/a.git")
    workplace.git("ls-remote", f"{server.url.replace('//', '//anna@')}/a.git")
    assert list(dict.fromkeys((one.user, one.status) for one in server.seen)) == [("x-token-auth", 200), ("anna", 200)]


def test_a_submodule_of_another_host_gets_no_token(workplace: Workplace, serve: Callable[..., GitServer]) -> None:
    evil = serve(BASIC, BEARER)
    evil.create("sub.git")
    clone = workplace.agent.home / "clone"
    url = f"{workplace.server.url}/team/project.git"
    workplace.git("clone", "--quiet", url, str(clone))
    (clone / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = {evil.url}/sub.git\n')
    workplace.git("add", ".gitmodules", cwd=clone)
    workplace.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub", cwd=clone)
    workplace.git("commit", "--quiet", "-m", "sub", cwd=clone)
    workplace.git("push", "--quiet", "origin", "HEAD:main", cwd=clone)
    result = workplace.run(
        *("git", "clone", "--quiet", "--recurse-submodules", "--branch", "main", url),
        str(workplace.agent.home / "whole"),
    )
    assert result.returncode != 0
    assert "auth-agent: " not in result.stderr
    assert evil.seen == []


def test_two_accounts_on_one_host_by_path_and_by_directory(workplace: Workplace, agent: AgentProcess) -> None:
    server = workplace.server
    server.create("other.git")
    here = agent.home / "src" / "play"
    here.mkdir(parents=True)
    workplace.map(
        f'[[hosts."{server.url}"]]\naccount = "home"\n[hosts."{server.url}/team"]\naccount = "work"\n'
        f'[[hosts."{server.url}"]]\naccount = "work"\ndirectory = "{here}"\n'
    )
    with agent.client() as client:
        for name, path, cwd in (
            ("work", "team/project.git", agent.home),
            ("home", "other.git", agent.home),
            ("work", "other.git", here),
        ):
            server.seen.clear()
            before = client.token(name).access_token
            workplace.git("ls-remote", f"{server.url}/{path}", cwd=cwd)
            assert server.tokens <= {before, client.token(name).access_token}


@pytest.mark.parametrize("lifetime", [60], indirect=True)
def test_a_token_that_the_server_refuses_is_replaced_for_the_next_command(
    workplace: Workplace, agent: AgentProcess
) -> None:
    url = f"{workplace.server.url}/team/project.git"
    with agent.client() as client:
        token = client.token("work")
        # A token that was issued only recently would not be replaced: a new one would be refused likewise.
        until(lambda: time.time() > (token.expires_at or 0) - 60 + 7)
        workplace.server.refused.add(token.access_token)
        assert workplace.run("git", "ls-remote", url).returncode != 0
        until(lambda: client.token("work").access_token != token.access_token)
    workplace.git("ls-remote", url)


def test_without_a_login_git_says_what_helps(workplace: Workplace, agent: AgentProcess) -> None:
    with agent.client() as client:
        client.logout("work")
    result = workplace.run("git", "ls-remote", f"{workplace.server.url}/team/project.git")
    assert result.returncode != 0
    assert "auth-agent login work" in result.stderr
    agent.kill()
    result = workplace.run("git", "ls-remote", f"{workplace.server.url}/team/project.git")
    assert "auth-agent start" in result.stderr


def test_setup_and_undo_leave_what_a_person_wrote(workplace: Workplace) -> None:
    file, url = workplace.agent.home / ".gitconfig", workplace.server.url
    assert workplace.run("auth-agent", "setup", "git", "--undo").returncode == 0
    assert "auth-agent" not in file.read_text()
    mine = f'[user]\n\tname = Anna\n[credential]\n\thelper = cache\n[credential "{url}"]\n\thelper = store\n'
    file.write_text(mine)
    for _ in range(2):
        assert workplace.run("auth-agent", "setup", "git", url).returncode == 0
    helpers = workplace.git("config", "--global", "--get-all", f"credential.{url}.helper").splitlines()
    assert (helpers[:2], len(helpers)) == (["store", ""], 3)
    assert workplace.run("auth-agent", "setup", "git", url, "--undo").returncode == 0
    assert file.read_text() == mine
    other = workplace.run("auth-agent", "setup", "git", "other.example")
    assert other.returncode == 1
    assert '[hosts."other.example"]' in other.stderr


def test_the_commands_of_the_page(workplace: Workplace, agent: AgentProcess) -> None:
    for snippet in snippets(PAGE):
        if snippet.language == "toml":
            agent.config.write_text(f"{agent.config.read_text()}\n{snippet.text}")
        for command, output in snippet.commands if snippet.language == "console" else ():
            result = workplace.run(*command.split())
            assert result.returncode == 0, result.stderr
            assert output in result.stdout + result.stderr
