"""What to type instead of a command or an option that doesn't exist."""

import re

import click
import pytest

from auth_agent.cli import suggestions
from auth_agent.cli.commands import cli, main
from auth_agent.cli.completion.tree import TREE
from auth_agent.cli.login import login
from auth_agent_client import __version__

COMMANDS = ("account", "login", "logout", "status", "token")


@pytest.mark.parametrize(
    ("word", "group", "instead"),
    [
        ("whoami", "auth-agent", "Use: auth-agent profile"),
        ("ls", "auth-agent", "Use: auth-agent account list"),
        ("tokn", "auth-agent", "Did you mean token?"),
        ("xyzzy", "auth-agent", ""),
        ("whoami", "auth-agent account", ""),
        ("staus", "auth-agent account", "Did you mean status?"),
    ],
)
def test_the_command_instead_of_one_that_does_not_exist(word: str, group: str, instead: str) -> None:
    assert suggestions.instead_of_command(word, group, COMMANDS) == instead


def test_each_suggested_command_exists_and_no_word_hides_one() -> None:
    for word, command in suggestions.COMMANDS.items():
        assert word not in TREE
        assert command in TREE or command in TREE[""][2]


def test_each_suggested_option_exists_and_no_word_hides_one() -> None:
    options = {name for parameter in login.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word, instead in suggestions.OPTIONS["login"].items():
        assert word not in options
        first, *value = instead.split()
        assert first in options or first == "auth-agent"
        if first == "--flow":
            assert value[0] in ("browser", "device")


def test_an_option_of_another_command_has_no_suggestion() -> None:
    assert suggestions.instead_of_option("--device", "login") == "Use: --flow device"
    assert suggestions.instead_of_option("--device", "token") == ""
    assert suggestions.instead_of_option("--xyzzy", "login") == ""


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_has_a_short_option(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert __version__ in capsys.readouterr().out


def test_the_help_lists_each_command_once_below_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"], standalone_mode=False)
    _, *sections = re.split(r"^(?=[A-Z][\w ]+:$)", capsys.readouterr().out, flags=re.MULTILINE)
    headings = [section.partition(":")[0] for section in sections]
    listed = [name for section in sections for name in re.findall(r"^  ([a-z][\w-]*)(?:  |$)", section, re.MULTILINE)]
    assert sorted(listed) == cli.list_commands(click.Context(cli))
    assert "Commands" not in headings


@pytest.mark.parametrize("arguments", [["--help"], ["account", "--help"], ["metadata", "--help"]])
def test_no_summary_is_cut_in_the_list_of_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(arguments, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "..." not in shown.partition("Options:")[2]
    assert max(map(len, shown.splitlines())) <= 80
