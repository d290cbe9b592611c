"""Programs that read their token from a file, unmodified, with the files that the agent keeps: docs/tools/files.md."""

from collections.abc import Callable, Generator

import pytest

from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

PAGE = "docs/tools/files.md"
LIFETIME = 5  # s, of access tokens


@pytest.fixture
def provider(start_provider: Callable[..., OpenIDProvider]) -> OpenIDProvider:
    return start_provider(access_token_lifetime=LIFETIME)


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent that is logged in."""
    with AgentProcess({"work": account(provider)}) as process:
        with process.client() as client:
            log_in(client, provider)
        yield process


def configure(agent: AgentProcess, text: str) -> None:
    """Have the agent keep the files of that configuration, beside its accounts."""
    accounts, _, _ = agent.config.read_text().partition("[files.")
    agent.config.write_text(f"{accounts}\n{text}")
    assert agent.run("reload").returncode == 0


def test_the_page_works_as_it_stands(agent: AgentProcess) -> None:
    folder = agent.home / ".config" / "app"
    folder.mkdir(parents=True, mode=0o700)
    page = snippets(PAGE)
    configure(agent, "\n".join(snippet.text for snippet in page if snippet.language == "toml"))
    for snippet in page:
        for command, _ in snippet.commands if snippet.language == "console" else []:
            result = agent.run(*command.split()[1:])
            assert result.returncode == 0, result.stderr
    until((agent.home / "auth-agent" / "azure.jwt").exists)
    until(lambda: agent.logged(f"{folder}/token problem="))  # this provider has no such API
