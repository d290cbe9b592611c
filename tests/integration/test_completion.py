"""Completion in the shells themselves, with a live agent."""

import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.integration.agent_process import AgentProcess
from tests.integration.terminal import Terminal

ACCOUNT = {"issuer": "https://id.example/", "client_id": "client"}


@pytest.fixture
def agent() -> Generator[AgentProcess, None, None]:
    """An agent with two accounts, whose command is on the PATH; they are not in the file any more."""
    with AgentProcess({"work": ACCOUNT, "home": ACCOUNT}) as process:
        process.environment["PATH"] = f"{Path(sys.executable).parent}:{process.environment['PATH']}"
        process.config.write_text("")
        yield process


def shell(name: str) -> str:
    """Return the shell's path; skip the test if there is none."""
    result = shutil.which(name)
    if result is None:
        pytest.skip(f"there is no {name} to test with: apt-get install {name}")
    return result


def run(agent: AgentProcess, *command: str) -> list[str]:
    """Run a command; return the lines that it prints."""
    result = subprocess.run(command, env=agent.environment, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_bash_completes_commands_accounts_options_and_their_values(agent: AgentProcess) -> None:
    script = """
        eval "$(auth-agent completion bash)"
        complete -p auth-agent
        try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _auth_agent; echo "${COMPREPLY[*]}"; }
        try auth-agent lo
        try ./auth-agent account ''
        try auth-agent token w
        try auth-agent login --flow = d
        try auth-agent login --flow d
        try auth-agent token --f
        try auth-agent stop ''
    """
    assert run(agent, shell("bash"), "--norc", "-c", script) == [
        "complete -F _auth_agent auth-agent",
        "lock login logout",
        "add default list remove rename show",
        "work",
        "device",
        "device",
        "--force",
        "",
    ]


def test_fish_completes_with_descriptions(agent: AgentProcess) -> None:
    script = """
        auth-agent completion fish | source
        complete -C 'auth-agent tok'
        complete -C 'auth-agent token w'
        complete -C 'auth-agent login --flow=d'
        complete -C 'auth-agent token --f'
        complete -C 'auth-agent stop '
    """
    assert run(agent, shell("fish"), "--no-config", "-c", script) == [
        "token\tPrint a valid access token.",
        "work\taccount",
        "--flow=device",
        "--force\tGet a newer token than the current one.",
    ]


@pytest.mark.parametrize(
    ("command", "setup"),
    [
        ("bash --norc --noprofile -i", 'eval "$(auth-agent completion bash)"'),
        ("zsh -f -i", 'autoload -Uz compinit; compinit -u -D; eval "$(auth-agent completion zsh)"'),
        (
            "zsh -f -i",
            "auth-agent completion zsh > ~/_auth-agent; fpath=(~ $fpath); autoload -Uz compinit; compinit -u -D",
        ),
        ("fish --no-config -i", "auth-agent completion fish | source"),
    ],
    ids=["bash", "zsh", "zsh, by its path", "fish"],
)
def test_an_interactive_shell_completes_on_tab(agent: AgentProcess, command: str, setup: str) -> None:
    name, *flags = command.split()
    with Terminal([shell(name), *flags], {**agent.environment, "PS1": "> "}, columns=200) as terminal:
        terminal.type(f"{setup}; echo rea''dy\n")
        terminal.until("ready")
        terminal.type("echo one; auth-agent token --au\t")
        terminal.until("--audience")
        terminal.type("x wo\t")
        terminal.until("x work")
        # Nothing was run by that.
        assert "auth-agent:" not in terminal.shown
