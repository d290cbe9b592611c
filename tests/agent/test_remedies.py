"""What helps: every remedy there is, each command of which the command line takes."""

import ast
import inspect
import shlex
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from auth_agent import remedies
from auth_agent.cli import light
from auth_agent.cli.commands import cli
from auth_agent_client.remedy import Remedy

ROOT = Path(__file__).parents[2]
PRODUCT = sorted([*(ROOT / "agent").rglob("*.py"), *(ROOT / "client").rglob("*.py")])

# What a person may have in a configuration, and a shell must not take for more.
ISSUER = "https://id.example/$(reboot)/'`x`'"
CLIENT = 'a "client"; id'
AUDIENCE = "https://api.example/a b"
SCOPE = "openid read:all"
SOCKET = "/run/user/1000/my agent/agent.sock"

EXAMPLES: dict[str, Callable[[], Remedy | tuple[Remedy, ...]]] = {
    "account_of_its_own": lambda: remedies.account_of_its_own("work", ISSUER, CLIENT, AUDIENCE, SCOPE),
    "allow_at_the_provider": lambda: remedies.allow_at_the_provider("work"),
    "another_listen_stream": remedies.another_listen_stream,
    "another_name": remedies.another_name,
    "another_socket": remedies.another_socket,
    "add_host": lambda: remedies.add_host("git.example.com:8443", "/home/anna/my config.toml"),
    "ask_the_provider": remedies.ask_the_provider,
    "begin": remedies.begin,
    "change_account": remedies.change_account,
    "check_what_the_api_expects": remedies.check_what_the_api_expects,
    "close_directory": lambda: remedies.close_directory("/run/user/1000/my agent"),
    "correct_and_log_in": lambda: remedies.correct_and_log_in("work", ["issuer", "client_id"]),
    "correct_and_reload": lambda: remedies.correct_and_reload(["issuer"]),
    "correct_clock": remedies.correct_clock,
    "correct_configuration": remedies.correct_configuration,
    "directory_mode": remedies.directory_mode,
    "give_secret": lambda: (remedies.give_secret("login", "work"), remedies.give_secret("import", "work")),
    "log_in": lambda: remedies.log_in("work"),
    "log_in_again": lambda: remedies.log_in_again("work"),
    "log_in_as_the_same": lambda: remedies.log_in_as_the_same("work.users"),
    "log_in_at_the_source": remedies.log_in_at_the_source,
    "log_in_for_id_tokens": lambda: remedies.log_in_for_id_tokens("work", "email"),
    "log_in_in_time": lambda: remedies.log_in_in_time("work"),
    "log_in_for": lambda: remedies.log_in_for("work", remedies.try_again("work.users")),
    "log_out": lambda: remedies.log_out("work"),
    "log_out_and_remove": lambda: remedies.log_out_and_remove("work"),
    "look_at_metadata": lambda: remedies.look_at_metadata("work"),
    "management_account": lambda: remedies.management_account("work", None, ISSUER, CLIENT, AUDIENCE, SCOPE),
    "one_listen_stream": remedies.one_listen_stream,
    "other_ports": lambda: remedies.other_ports("work"),
    "put_back_and_reload": remedies.put_back_and_reload,
    "read_the_log": remedies.read_the_log,
    "refresh": lambda: remedies.refresh("work"),
    "refresh_when_corrected": lambda: remedies.refresh_when_corrected("work"),
    "restart": remedies.restart,
    "restart_by_force": remedies.restart_by_force,
    "run_beside": lambda: remedies.run_beside(SOCKET),
    "run_in_memory": remedies.run_in_memory,
    "same_configuration": remedies.same_configuration,
    "see_status": remedies.see_status,
    "see_status_at": lambda: remedies.see_status_at(SOCKET),
    "set_variable": lambda: remedies.set_variable("XDG_STATE_HOME"),
    "start_agent": remedies.start_agent,
    "start_anew": remedies.start_anew,
    "start_keyring": remedies.start_keyring,
    "take_from_hosts": remedies.take_from_hosts,
    "switch_user": lambda: remedies.switch_user("work"),
    "switch_user_by_import": lambda: remedies.switch_user_by_import("work"),
    "try_again": lambda: remedies.try_again("work"),
    "try_the_import_again": remedies.try_the_import_again,
    "unlock_keychain": remedies.unlock_keychain,
    "unlock_keyring": remedies.unlock_keyring,
    "unlock_store": remedies.unlock_store,
    "widen_scope": lambda: remedies.widen_scope("work", SCOPE, "email"),
}

# Every other program that a remedy may name, with what must stand after it; nothing else is ever shown as a command.
OTHER_PROGRAMS: dict[str, Callable[[list[str]], bool]] = {
    "chmod": lambda rest: rest[0] == "700" and len(rest) == 2,
    "lsof": lambda rest: rest == ["-nP", "-iTCP", "-sTCP:LISTEN"],
    "security": lambda rest: rest == ["unlock-keychain"],
    "sh": lambda rest: rest == ["-c", "systemd-ask-password -n | gnome-keyring-daemon --replace --unlock"],
    "ss": lambda rest: rest == ["-ltnp"],
    "timedatectl": lambda rest: rest == ["status"],
}


def examples(name: str) -> tuple[Remedy, ...]:
    """The remedies of that function."""
    made = EXAMPLES[name]()
    return (made,) if isinstance(made, Remedy) else made


def accepts(words: list[str]) -> None:
    """Let the command line parse a command, and do nothing. Raises what it would refuse it with."""
    if words[0] in light.COMMANDS:  # which click passes on as they are
        light.module(words[0]).COMMAND.parse(words[1:])
        return
    command: click.Command = cli
    context = click.Context(cli, info_name="auth-agent", **cli.context_settings)
    while isinstance(command, click.Group):
        inner = command.get_command(context, words[0])
        if inner is None:
            raise click.UsageError(f"No such command {words[0]!r}")
        command, words = inner, words[1:]
    try:
        command.make_context(command.name, list(words), parent=context)
    except click.exceptions.Exit as end:  # --help
        if end.exit_code != 0:
            raise


def test_every_remedy_has_an_example() -> None:
    made = {
        name
        for name, value in vars(remedies).items()
        if isinstance(value, types.FunctionType) and not name.startswith("_") and name not in inspect.__all__
    } - {"is_account_name"}
    assert made == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_line_takes_every_command_of_a_remedy(name: str) -> None:
    for remedy in examples(name):
        words = list(remedy.command)
        if words[:1] == ["env"]:
            assert words[1].startswith("AUTH_AGENT_SOCK=/")
            words = words[2:]
        if not words:
            continue
        program, *rest = words
        if program == "auth-agent":
            accepts(rest)
        else:
            assert OTHER_PROGRAMS[program](rest), remedy


def test_what_the_command_line_does_not_take_would_be_seen() -> None:
    for words in (
        ["login", "--no-such-option"],
        ["no-such-command"],
        ["token", "--no-such-option"],
        ["reload", "work"],
    ):
        with pytest.raises(Exception, match=r"No such|unexpected"):
            accepts(words)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_value_in_a_command_is_quoted_where_it_is_shown(name: str) -> None:
    for remedy in examples(name):
        assert shlex.split(remedy.line) == list(remedy.command)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_words_of_a_remedy_are_an_order_that_a_command_can_follow(name: str) -> None:
    for remedy in examples(name):
        assert remedy.text
        assert not remedy.text.endswith((".", ":", " "))
        assert "auth-agent" not in remedy.text


def test_a_value_that_is_too_long_to_copy_or_cannot_be_shown_stays_out_of_a_command() -> None:
    for audience in ("https://api.example/" + "x" * 1000, "https://api.example/\x1b[2J"):
        assert remedies.account_of_its_own("work", ISSUER, CLIENT, audience, None).command == ()


def test_a_login_with_more_scopes_keeps_those_that_the_account_has() -> None:
    assert remedies.log_in_for_id_tokens("work", "email read:all").command[-1] == "openid email read:all"
    assert remedies.widen_scope("work", "openid read:it", "read:it write:it openid").command[-1] == (
        "openid read:it write:it"
    )
    assert remedies.log_in_for_id_tokens("work", "x" * 1000).command == ()


def test_what_helps_a_login_for_another_account_s_user_names_that_account() -> None:
    again = remedies.log_in_for("work", remedies.try_again("work.users"))
    assert again.command == ("auth-agent", "login", "work.users", "--management-for", "work")
    for other in (remedies.restart(), remedies.another_socket()):
        assert remedies.log_in_for("work", other) == other


def calls(path: Path, name: str) -> int:
    """How often a module calls a function of that name."""
    return sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_remedies_are_made_in_one_place_of_the_agent_and_one_of_the_client() -> None:
    assert {path.name for path in PRODUCT if calls(path, "Remedy")} == {"remedies.py", "remedy.py"}


# Where a command may stand in a string: its help, its usage, and where it is started.
_TEACHING = {"cli", "completion"}


def sentences(path: Path) -> set[str]:
    """The strings of a module that aren't docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
    }


@pytest.mark.parametrize(
    "path", [path for path in PRODUCT if path.parent.name not in _TEACHING], ids=lambda path: path.stem
)
def test_no_sentence_below_the_command_line_holds_a_command(path: Path) -> None:
    commands = {f"auth-agent {name}" for name in cli.list_commands(click.Context(cli, **cli.context_settings))}
    assert {text for text in sentences(path) if any(command in text for command in commands)} == set()
