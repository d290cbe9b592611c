"""Remedies: the command line accepts each of their commands."""

import ast
import errno
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
from auth_agent.host.private_directory import ForeignDirectoryError
from auth_agent_client.remedy import Remedy

ROOT = Path(__file__).parents[2]
PRODUCT = sorted([*(ROOT / "agent").rglob("*.py"), *(ROOT / "client").rglob("*.py")])

# Values that a configuration may have and that a shell must not interpret.
ISSUER = "https://id.example/$(reboot)/'*;x'"
CLIENT = 'a "client"; id'
AUDIENCE = "https://api.example/a b"
SCOPE = "openid read:all"
SOCKET = "/run/user/1000/my agent/agent.sock"

EXAMPLES: dict[str, Callable[[], Remedy | tuple[Remedy, ...]]] = {
    "account_of_its_own": lambda: remedies.account_of_its_own("work", ISSUER, CLIENT, AUDIENCE, SCOPE),
    "account_of_another_client": lambda: remedies.account_of_another_client("work", ISSUER, AUDIENCE, SCOPE),
    "allow_at_the_provider": lambda: remedies.allow_at_the_provider("work"),
    "another_listen_stream": remedies.another_listen_stream,
    "adopt": remedies.adopt,
    "log_in_by_pasting": lambda: remedies.log_in_by_pasting("work"),
    "another_name": remedies.another_name,
    "another_socket": remedies.another_socket,
    "add_host": lambda: remedies.add_host("git.example.com:8443", "/home/anna/my config.toml"),
    "change_directory": lambda: remedies.change_directory("git.example.com:8443", "/home/anna/my config.toml"),
    "ask_for_bearer_tokens": lambda: remedies.ask_for_bearer_tokens("work"),
    "ask_the_provider": remedies.ask_the_provider,
    "begin": remedies.begin,
    "add_client_library": lambda: remedies.add_client_library("/home/anna/.local/bin/keyring"),
    "extend_path": lambda: remedies.extend_path("/opt/my agent/bin"),
    "name_api_by_audience": lambda: remedies.name_api_by_audience("work"),
    "choose_passphrase": remedies.choose_passphrase,
    "change_account": remedies.change_account,
    "certificates": remedies.certificates,
    "trust_and_log_in": lambda: remedies.trust_and_log_in("work"),
    "check_network": remedies.check_network,
    "close_file": lambda: remedies.close_file("/home/anna/my config.toml"),
    "correct_proxy": lambda: remedies.correct_proxy("HTTPS_PROXY"),
    "as_yourself": remedies.as_yourself,
    "for_file": lambda: tuple(
        remedy
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOLCK, errno.EMFILE, errno.EACCES)
        for remedy in remedies.for_file(OSError(number, ""), f"{Path.home()}/my file")
    ),
    "for_path": lambda: remedies.for_path(f"{Path.home()}/my file"),
    "raise_limit": remedies.raise_limit,
    "own_state_directory": remedies.own_state_directory,
    "unset_variable": lambda: remedies.unset_variable("PYTHONPATH"),
    "check_what_the_api_expects": remedies.check_what_the_api_expects,
    "choose_default": lambda: remedies.choose_default("work"),
    "close_directory": lambda: remedies.close_directory("/run/user/1000/my agent"),
    "correct_and_log_in": lambda: remedies.correct_and_log_in("work", ["issuer", "client_id"]),
    "correct_and_reload": lambda: remedies.correct_and_reload(["issuer"]),
    "correct_clock": remedies.correct_clock,
    "correct_configuration": remedies.correct_configuration,
    "directory_mode": remedies.directory_mode,
    "give_secret": lambda: (remedies.give_secret("login", "work"), remedies.give_secret("import", "work")),
    "log_in": lambda: remedies.log_in("work"),
    "log_in_by_device": lambda: remedies.log_in_by_device("work"),
    "log_in_again": lambda: remedies.log_in_again("work"),
    "log_in_as_the_same": lambda: remedies.log_in_as_the_same("work.users"),
    "log_in_at_the_source": remedies.log_in_at_the_source,
    "log_in_for_id_tokens": lambda: remedies.log_in_for_id_tokens("work", "email"),
    "log_in_once": lambda: remedies.log_in_once("work", (("acr_values", "gold silver"),)),
    "log_in_with_scopes": lambda: remedies.log_in_with_scopes("work", "read", "openid"),
    "log_in_without_offline_access": lambda: remedies.log_in_without_offline_access("work", "openid email"),
    "log_in_before_end": lambda: remedies.log_in_before_end("work"),
    "log_in_with": lambda: remedies.log_in_with(
        "work", ("--issuer", ISSUER, "--authorize", "prompt=login"), remedies.give_secret("login", "work")
    ),
    "log_out": lambda: remedies.log_out("work"),
    "log_out_and_remove": lambda: remedies.log_out_and_remove("work"),
    "show_metadata": lambda: remedies.show_metadata("work"),
    "management_account": lambda: remedies.management_account("work", None, ISSUER, CLIENT, AUDIENCE, SCOPE),
    "one_listen_stream": remedies.one_listen_stream,
    "other_ports": lambda: remedies.other_ports("work"),
    "restore_account_and_reload": remedies.restore_account_and_reload,
    "read_the_log": remedies.read_the_log,
    "hide_url": remedies.hide_url,
    "open_shown_url": remedies.open_shown_url,
    "paste_url": remedies.paste_url,
    "refresh": lambda: remedies.refresh("work"),
    "refresh_when_corrected": lambda: remedies.refresh_when_corrected("work"),
    "install_by_force": remedies.install_by_force,
    "install_service": remedies.install_service,
    "start": remedies.start,
    "reload": remedies.reload,
    "restart": remedies.restart,
    "restart_by_force": remedies.restart_by_force,
    "stop_at": lambda: remedies.stop_at(SOCKET),
    "stop_first": remedies.stop_first,
    "free_space": remedies.free_space,
    "wait_for_agent": remedies.wait_for_agent,
    "end_agent": lambda: remedies.end_agent(4711),
    "restart_socket_unit": remedies.restart_socket_unit,
    "run_beside": lambda: remedies.run_beside(SOCKET),
    "deactivate": lambda: (
        remedies.deactivate(("systemctl", "--user", "disable", "--now", "auth-agent.socket")),
        remedies.deactivate(("launchctl", "bootout", "gui/501/auth-agent")),
    ),
    "run_in_memory": remedies.run_in_memory,
    "run_where_the_agent_is": remedies.run_where_the_agent_is,
    "start_with_store": lambda: remedies.start_with_store("file"),
    "same_configuration": remedies.same_configuration,
    "see_status": remedies.see_status,
    "see_status_at": lambda: remedies.see_status_at(SOCKET),
    "set_variable": lambda: remedies.set_variable("XDG_STATE_HOME"),
    "start_agent": remedies.start_agent,
    "repair_and_restart": remedies.repair_and_restart,
    "stop_old_agent": remedies.stop_old_agent,
    "run_with_keyring": remedies.run_with_keyring,
    "start_keyring": remedies.start_keyring,
    "install_tool": lambda: remedies.install_tool("git"),
    "take_from": remedies.take_from,
    "trust_issuer": remedies.trust_issuer,
    "trust_in_role": remedies.trust_in_role,
    "free_path": lambda: remedies.free_path("/run/user/1000/auth-agent/token"),
    "make_folder": lambda: remedies.make_folder("/home/anna/.cache/app"),
    "close_folder": lambda: remedies.close_folder("/home/anna/shared"),
    "own_folder": remedies.own_folder,
    "name_real_path": lambda: remedies.name_real_path("/data/anna"),
    "let_unit_write": lambda: remedies.let_unit_write("/srv/app"),
    "provide_cluster_info": remedies.provide_cluster_info,
    "upgrade_kubectl": remedies.upgrade_kubectl,
    "use_agents_user": lambda: remedies.use_agents_user("prod", "auth-agent"),
    "switch_user": lambda: remedies.switch_user("work"),
    "switch_user_by_import": lambda: remedies.switch_user_by_import("work"),
    "try_again": lambda: remedies.try_again("work"),
    "try_the_import_again": remedies.try_the_import_again,
    "restore_file": remedies.restore_file,
    "move_to": lambda: remedies.move_to("file"),
    "move_to_file": remedies.move_to_file,
    "restore_record": remedies.restore_record,
    "lock_memory": remedies.lock_memory,
    "unlock": remedies.unlock,
    "unlock_keychain": remedies.unlock_keychain,
    "create_kwallet": remedies.create_kwallet,
    "find_entry": lambda: remedies.find_entry("work"),
    "expose_keepassxc": remedies.expose_keepassxc,
    "unlock_keepassxc": remedies.unlock_keepassxc,
    "unlock_keyring": remedies.unlock_keyring,
    "unlock_kwallet": remedies.unlock_kwallet,
    "unlock_store": remedies.unlock_store,
    "widen_scope": lambda: remedies.widen_scope("work", SCOPE, "email"),
}

# All other programs that a remedy may name, with a check of their arguments.
OTHER_PROGRAMS: dict[str, Callable[[list[str]], bool]] = {
    "chmod": lambda rest: rest[0] in ("600", "700", "go-w") and len([word for word in rest if word != "--"]) == 2,
    "ls": lambda rest: rest[:2] == ["-ld", "--"] and len(rest) == 3,
    "mkdir": lambda rest: rest[:4] == ["-p", "-m", "700", "--"] and len(rest) == 5,
    "dbus-run-session": lambda rest: rest[:3] == ["--", "sh", "-c"] and rest[3].endswith("exec auth-agent run"),
    "kill": lambda rest: len(rest) == 1 and rest[0].isdigit(),
    "kubectl": lambda rest: rest == ["config", "set-context", "prod", "--user=auth-agent"],
    "launchctl": lambda rest: rest == ["bootout", "gui/501/auth-agent"],
    "lsof": lambda rest: rest == ["-nP", "-iTCP", "-sTCP:LISTEN"],
    "security": lambda rest: rest == ["unlock-keychain"],
    "sh": lambda rest: rest == ["-c", "systemd-ask-password -n | gnome-keyring-daemon --replace --unlock"],
    "ss": lambda rest: rest == ["-ltnp"],
    "systemctl": lambda rest: (
        rest[-1] == "auth-agent.socket" and rest[:-1] in (["--user", "disable", "--now"], ["--user", "restart"])
    ),
    "timedatectl": lambda rest: rest == ["status"],
}


def examples(name: str) -> tuple[Remedy, ...]:
    """Return the remedies of that function's example."""
    result = EXAMPLES[name]()
    return (result,) if isinstance(result, Remedy) else result


def check_command(words: list[str]) -> None:
    """Let the command line parse a command without running it; raise what it would reject it with."""
    if words[0] in light.COMMANDS:  # click passes their arguments on unparsed
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
    functions = {
        name
        for name, value in vars(remedies).items()
        if isinstance(value, types.FunctionType) and not name.startswith("_") and name not in inspect.__all__
    } - {"is_account_name"}
    assert functions == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_line_accepts_every_command_of_a_remedy(name: str) -> None:
    for remedy in examples(name):
        words = list(remedy.command)
        if words[:1] == ["env"]:
            assert words[1].startswith("AUTH_AGENT_SOCK=/")
            words = words[2:]
        if not words:
            continue
        program, *rest = words
        if program == "auth-agent":
            check_command(rest)
        else:
            assert OTHER_PROGRAMS[program](rest), remedy


def test_the_check_detects_a_command_that_the_command_line_rejects() -> None:
    for words in (
        ["login", "--no-such-option"],
        ["no-such-command"],
        ["token", "--no-such-option"],
        ["reload", "work"],
    ):
        with pytest.raises(Exception, match=r"No such|unexpected"):
            check_command(words)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_value_in_a_printed_command_is_quoted(name: str) -> None:
    for remedy in examples(name):
        assert shlex.split(remedy.line) == list(remedy.command)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_text_of_a_remedy_can_be_followed_by_a_command(name: str) -> None:
    for remedy in examples(name):
        assert remedy.text
        assert not remedy.text.endswith((".", ":", " "))
        assert "auth-agent" not in remedy.text


def test_a_value_that_is_too_long_or_not_printable_is_in_no_command() -> None:
    for audience in ("https://api.example/" + "x" * 1000, "https://api.example/\x1b[2J"):
        assert remedies.account_of_its_own("work", ISSUER, CLIENT, audience, None).command == ()


def test_a_login_with_additional_scopes_keeps_those_of_the_account() -> None:
    assert remedies.log_in_for_id_tokens("work", "email read:all").command[-1] == "openid email read:all"
    assert remedies.widen_scope("work", "openid read:it", "read:it write:it openid").command[-1] == (
        "openid read:it write:it"
    )
    assert remedies.log_in_for_id_tokens("work", "x" * 1000, switch_user=True).command == ()
    assert remedies.log_in_for_id_tokens("work", "email", switch_user=True).command[-1] == "--switch-user"


def test_a_remedy_of_a_login_that_failed_has_its_options() -> None:
    options = ("--issuer", ISSUER, "--management-for", "work")
    again = remedies.log_in_with("users", options, remedies.give_secret("login", "users"))
    assert again.command == ("auth-agent", "login", "users", *options, "--client-secret")
    for other in (remedies.restart(), remedies.another_socket(), remedies.begin(), remedies.log_in("work")):
        assert remedies.log_in_with("users", options, other) == other


def test_an_option_that_can_not_be_copied_leaves_the_remedy_as_it_is() -> None:
    again = remedies.try_again("work")
    assert remedies.log_in_with("work", ("--scope", "x" * 1000), again) == again


def calls(path: Path, name: str) -> int:
    """Return how often a module calls a function of that name."""
    return sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_remedies_are_created_in_one_module_of_the_agent_and_one_of_the_client() -> None:
    assert {path.name for path in PRODUCT if calls(path, "Remedy")} == {"remedies.py", "remedy.py"}


# These may have a command in a string: help, usage, and starting the agent.
_MAY_CONTAIN_COMMANDS = {"cli", "completion"}


def strings(path: Path) -> set[str]:
    """Return the strings of a module, without docstrings."""
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
    "path", [path for path in PRODUCT if path.parent.name not in _MAY_CONTAIN_COMMANDS], ids=lambda path: path.stem
)
def test_no_string_outside_the_command_line_contains_a_command(path: Path) -> None:
    commands = {f"auth-agent {name}" for name in cli.list_commands(click.Context(cli, **cli.context_settings))}
    assert {text for text in strings(path) if any(command in text for command in commands)} == set()


@pytest.mark.parametrize(
    ("path", "helps"),
    [
        ("/run/user/7/auth-agent/agent.sock.lock", remedies.unset_variable("XDG_RUNTIME_DIR")),
        ("/home/anna/state/auth-agent/keyring.lock", remedies.set_variable("XDG_STATE_HOME")),
        ("/home/anna/.config/auth-agent/config.toml", remedies.set_variable("HOME")),
        ("/home/anna/sockets/agent.sock", remedies.another_socket()),
        ("/home/annabel/file", None),
        ("/home/anna/my.toml", None),
    ],
)
def test_the_variable_that_chose_a_file_is_the_one_that_is_named(
    path: str, helps: Remedy | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "HOME": "/home/anna",
        "XDG_RUNTIME_DIR": "/run/user/7/",
        "XDG_STATE_HOME": "/home/anna/state",
        "AUTH_AGENT_SOCK": "/home/anna/sockets/agent.sock",
        "AUTH_AGENT_CONFIG": "/home/anna/my.toml",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert remedies.for_path(path) == (() if helps is None else (helps,))


def test_what_helps_depends_on_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOLCK, errno.EMFILE)
    assert len({remedies.for_file(OSError(number, ""), "/srv/x") for number in numbers}) == len(numbers)
    assert remedies.for_file(OSError(errno.EACCES, ""), "/srv/x") == ()
    assert remedies.for_file(ForeignDirectoryError(), "/home/anna/x") == (remedies.as_yourself(),)
