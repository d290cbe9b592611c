"""The candidates that a shell gets when a person presses TAB."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from auth_agent.cli import completion
from auth_agent.cli.completion import SHELLS, accounts
from auth_agent.cli.completion.accounts import account_names
from auth_agent.cli.completion.candidates import candidates, whole_words
from auth_agent.cli.completion.tree import TREE
from tests.client.test_imports import TOO_HEAVY, modules_after
from tests.command_tree import tree

CONFIG = """
[accounts.work]
issuer = "https://acme.example/"
client_id = "client"
[accounts."not a name"]
[accounts.home]
"""


def candidate_words(line: str) -> list[str]:
    """Return the candidates for the last word of that line."""
    return [value for value, _ in candidates(line.split(" "), lambda: ["work", "work.users", "home"])]


def test_the_stored_tree_equals_the_tree_of_the_commands() -> None:
    assert tree() == TREE, "after a change to the commands: make command-tree"


def test_all_commands_are_candidates_with_their_help() -> None:
    help_by_command = dict(candidates([""], list))
    assert {"token", "completion", "login", "status", "account", "metadata"} <= help_by_command.keys()
    assert help_by_command["token"] == "Print a valid access token."
    assert not any(" " in name for name in help_by_command)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lo", ["lock", "login", "logout"]),
        ("account ", ["add", "default", "list", "remove", "rename", "show"]),
        ("account re", ["remove", "rename"]),
        ("metadata s", ["set"]),
        ("nothing ", []),
        ("nothing --", ["--socket", "--config", "--verbose", "--quiet", "--version", "--help"]),
        # accounts
        ("token ", ["work", "work.users", "home"]),
        ("token work", ["work", "work.users"]),
        ("token work ", []),
        ("token --json ho", ["home"]),
        ("token --min-ttl 60 ho", ["home"]),
        ("token --min-ttl=60 ho", ["home"]),
        ("token -- ho", ["home"]),
        ("token -- home ", []),
        ("watch work ho", ["home"]),
        ("status h", ["home"]),
        ("account remove h", ["home"]),
        ("account add h", []),
        ("account show h", ["home"]),
        ("account default h", ["home"]),
        ("account rename h", ["home"]),
        ("account rename home h", []),
        ("account list h", []),
        ("metadata get h", ["home"]),
        ("metadata get home ", []),
        ("metadata set home ", []),
        ("login h", ["home"]),
        ("login --management-for h", ["home"]),
        ("login --management-account=h", ["--management-account=home"]),
        # options
        ("token --m", ["--min-ttl"]),
        ("token work --m", ["--min-ttl"]),
        ("token -", list(TREE["token"][2])),
        ("token -- -", []),
        ("-", ["--socket", "--config", "-v", "--verbose", "-q", "--quiet", "-V", "--version", "--help"]),
        ("account add --no-d", ["--no-default"]),
        # their values
        ("login --flow ", ["browser", "device"]),
        ("login --flow d", ["device"]),
        ("login --flow=", ["--flow=browser", "--flow=device"]),
        ("login --flow=d", ["--flow=device"]),
        ("login --flow device h", ["home"]),
        ("run --store m", ["memory"]),
        ("account add x --grant c", ["client_credentials"]),
        ("token --min-ttl ", []),
        ("token --min-ttl h", []),
        ("token --json=h", []),
        ("completion ", ["bash", "zsh", "fish"]),
        ("completion f", ["fish"]),
    ],
)
def test_the_candidates_for_a_line(line: str, expected: list[str]) -> None:
    assert candidate_words(line) == expected


def test_account_names_are_looked_up_only_where_one_is_expected() -> None:
    def never() -> list[str]:
        raise AssertionError

    lines: list[str] = ["", "to", "token --", "login --flow ", "metadata get work ", "run "]
    for line in lines:
        candidates(line.split(" "), never)


@pytest.mark.parametrize(
    ("words", "joined", "prefix"),
    [
        (["login", "--flow", "=", "d"], ["login", "--flow=d"], "--flow="),
        (["login", "--flow", "="], ["login", "--flow="], "--flow="),
        (["login", "--flow", "=", "device", "wo"], ["login", "--flow=device", "wo"], ""),
        (["login", "--flow=d"], ["login", "--flow=d"], ""),
        (["login", "--flow", "d"], ["login", "--flow", "d"], ""),
        (["login", "--flow", ""], ["login", "--flow", ""], ""),
        (["metadata", "set", "a", "=", "b"], ["metadata", "set", "a", "=", "b"], ""),
        ([], [], ""),
    ],
)
def test_words_that_bash_splits_at_an_equals_sign_are_joined(words: list[str], joined: list[str], prefix: str) -> None:
    assert whole_words(words) == (joined, prefix)


def test_bash_gets_the_replaced_part_and_other_shells_the_help_too(capsys: pytest.CaptureFixture[str]) -> None:
    completion.main(["--complete", "bash", "login", "--flow", "=", "d"])
    completion.main(["--complete", "zsh", "login", "--flow=d"])
    completion.main(["--complete", "fish", "tok"])
    assert capsys.readouterr().out == "device\n--flow=device\t\ntoken\tPrint a valid access token.\n"


# ---- the shells' scripts


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_for_a_shell_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main([shell]) == 0
    assert f"auth-agent completion --complete {shell} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'bash|zsh|fish'."),
        (["tcsh"], "Invalid value for 'bash|zsh|fish': 'tcsh' is not one of bash, zsh, fish."),
        (["bash", "zsh"], "Got unexpected extra argument (zsh)"),
        (["--shell"], "No such option: --shell"),
    ],
)
def test_wrong_arguments_are_a_usage_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completion.main(arguments) == 2
    assert message in capsys.readouterr().err


# ---- the names of accounts


@pytest.fixture
def config_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a socket path at which no agent listens; return the configuration's path."""
    monkeypatch.setenv("AUTH_AGENT_SOCK", str(tmp_path / "agent.sock"))
    path = tmp_path / "config.toml"
    monkeypatch.setenv("AUTH_AGENT_CONFIG", str(path))
    return path


def test_without_an_agent_account_names_come_from_the_configuration(config_path: Path) -> None:
    config_path.write_text(CONFIG, "utf-8")
    assert account_names() == ["work", "home"]


@pytest.mark.parametrize("text", [None, b"", b"[accounts", b"accounts = 7", b"\xff", b"[" * 100_000])
def test_without_an_agent_and_a_valid_configuration_there_are_no_account_names(
    config_path: Path, text: bytes | None
) -> None:
    if text is not None:
        config_path.write_bytes(text)
    assert account_names() == []


def test_an_agent_that_hangs_delays_completion_only_briefly(
    tmp_path: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_path.write_text(CONFIG, "utf-8")
    monkeypatch.setattr(accounts, "_PATIENCE", 0.05)
    tmp_path.chmod(0o700)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # as a parent may have left it
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "agent.sock"))
        silent.listen()
        assert account_names() == ["work", "home"]


def test_completion_imports_no_heavy_module() -> None:
    script = "import sys; from auth_agent.cli import run_command; sys.stdout = sys.stderr\n"
    script += "assert run_command(['completion', '--complete', 'fish', '{}', '{}']) == 0; sys.stdout = sys.__stdout__"
    modules = modules_after("import io, sys; sys.stderr = io.StringIO()\n" + script.format("token", "--mi"))
    assert modules & TOO_HEAVY == set()
    assert "auth_agent.cli.completion.tree" in modules


def test_the_scripts_are_in_the_package() -> None:
    folder = Path(completion.__file__).parent
    assert {path.suffix.removeprefix(".") for path in folder.glob("auth-agent.*")} == set(SHELLS)
    process = subprocess.run(
        [sys.executable, "-m", "auth_agent", "completion", "fish"], capture_output=True, text=True, check=True
    )
    assert process.stdout == (folder / "auth-agent.fish").read_text()
