"""A person's home directory with an agent in it that is logged in, where other tools are run."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

SCRIPTS: Final = Path(sys.executable).parent
LIFETIME: Final = 5  # s, of a token that rotates while a tool runs
# Marks a test in which tokens rotate. In others they last, since a tool may use one for many requests.
rotating = pytest.mark.parametrize("lifetime", [LIFETIME], indirect=True)

Result = subprocess.CompletedProcess[str]


class ToolHome:
    """The home of an agent with the account `work`, and the provider of its tokens."""

    def __init__(self, agent: AgentProcess, provider: OpenIDProvider) -> None:
        self.agent = agent
        self.provider = provider
        self.path = agent.home
        self.environment = {
            **agent.environment,
            "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
            "no_proxy": "*",
            "NO_PROXY": "*",
        }

    def run(
        self,
        *command: str,
        cwd: Path | None = None,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run a command there."""
        return subprocess.run(
            command,
            cwd=cwd or self.path,
            env={**self.environment, **(environment or {})},
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def succeed(self, *command: str, cwd: Path | None = None, stdin: str | None = None) -> str:
        """Run a command that must succeed; return all that it printed."""
        result = self.run(*command, cwd=cwd, stdin=stdin)
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        return result.stdout + result.stderr

    def map(self, rules: str) -> None:
        """Replace `[hosts]` by these rules."""
        self.agent.config.write_text(f"{self.agent.config.read_text().partition(chr(10) + '[hosts')[0]}\n{rules}")
        self.succeed("auth-agent", "reload")

    def log_out(self) -> None:
        """End the session of `work`."""
        with self.agent.client() as client:
            client.logout("work")

    def files_with(self, secrets: set[str]) -> list[Path]:
        """Return the files that have one of these secrets in them."""
        files = [path for path in self.path.rglob("*") if path.is_file() and not path.is_symlink()]
        return [path for path in files if any(secret in path.read_text(errors="replace") for secret in secrets)]

    def run_page(self, page: str) -> None:
        """Run the commands of a page after its configuration; what they print must be what the page shows."""
        for snippet in snippets(page):
            if snippet.language == "toml":
                self.map(snippet.text)
            for command, output in snippet.commands if snippet.language == "console" else ():
                printed = self.succeed("sh", "-c", command)
                assert output in printed, (command, printed)


@contextmanager
def tool_home(provider: OpenIDProvider) -> Generator[ToolHome, None, None]:
    """Yield a home whose agent is logged in."""
    with AgentProcess({"work": account(provider)}) as agent:
        with agent.client() as client:
            log_in(client, provider, "work")
        yield ToolHome(agent, provider)
