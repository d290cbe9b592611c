"""Commands that start without click: what they have in common, and that each of the table keeps to it."""

import pytest
from click.testing import CliRunner

from auth_agent.cli import light
from auth_agent.cli.commands import cli
from auth_agent.cli.light import Arguments, Command, Option, UsageError, seconds
from auth_agent_client.errors import Denied
from auth_agent_client.remedy import Remedy

COMMAND = Command(
    "look",
    "Look at something.",
    arguments="[THING]",
    most=1,
    options=(
        Option("--from", "PLACE", "Where from."),
        Option("--for", "SECONDS", "For how long.", read=seconds),
        Option("--twice", "", "Look again."),
    ),
    examples=("auth-agent look sky",),
)


def test_options_stand_anywhere_and_have_their_values_behind_a_space_or_an_equals_sign() -> None:
    given = COMMAND.parse(["--from", "here", "sky", "--for=1.5", "--twice"])
    assert (given.words, given.first) == (["sky"], "sky")
    assert (given.string("--from"), given.seconds("--for"), given.flag("--twice")) == ("here", 1.5, True)


def test_what_is_left_out_is_none() -> None:
    given = COMMAND.parse([])
    assert (given.first, given.string("--from"), given.seconds("--for"), given.flag("--twice")) == (
        None,
        None,
        None,
        False,
    )


def test_of_an_option_that_stands_twice_the_last_one_holds() -> None:
    assert COMMAND.parse(["--from=a", "--from=b"]).string("--from") == "b"


def test_behind_two_hyphens_nothing_is_an_option() -> None:
    assert COMMAND.parse(["--", "--twice"]).words == ["--twice"]
    assert COMMAND.parse(["-"]).words == ["-"]


def test_an_option_may_have_an_empty_value_or_one_that_looks_like_an_option() -> None:
    assert COMMAND.parse(["--from="]).string("--from") == ""
    assert COMMAND.parse(["--from", "--twice"]).string("--from") == "--twice"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--near"], "No such option: --near"),
        (["--near=1"], "No such option: --near"),
        (["-x"], "No such option: -x"),
        (["--from"], "Option '--from' requires an argument."),
        (["--twice=yes"], "Option '--twice' does not take a value."),
        (["--for", "ever"], "Invalid value for '--for': 'ever' is not a number of seconds."),
        (["--for", "-1"], "Invalid value for '--for': '-1' is not a number of seconds."),
        (["--for", "nan"], "Invalid value for '--for': 'nan' is not a number of seconds."),
        (["sky", "sea"], "Got unexpected extra argument (sea)"),
    ],
)
def test_a_mistake_is_told_as_click_would(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        COMMAND.parse(arguments)
    assert str(raised.value) == words


def test_help_is_laid_out_as_click_does_it(capsys: pytest.CaptureFixture[str]) -> None:
    def never(_: Arguments) -> None:
        raise AssertionError

    assert COMMAND.run(["sky", "--help"], never) == 0
    assert capsys.readouterr().out == (
        "Usage: auth-agent look [OPTIONS] [THING]\n\n"
        "  Look at something.\n\n"
        "  Example: auth-agent look sky\n\n"
        "Options:\n"
        "  --from PLACE   Where from.\n"
        "  --for SECONDS  For how long.\n"
        "  --twice        Look again.\n"
        "  --help         Show this message and exit.\n"
    )


def test_behind_two_hyphens_nobody_asks_for_help() -> None:
    seen: list[str] = []
    assert COMMAND.run(["--", "--help"], lambda given: seen.extend(given.words)) == 0
    assert seen == ["--help"]


def test_a_mistake_has_an_exit_code_and_points_at_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMAND.run(["--near"], lambda _: None) == 2
    assert capsys.readouterr() == (
        "",
        "auth-agent: No such option: --near\nTry 'auth-agent look --help' for help.\n",
    )


def test_what_the_agent_refuses_has_its_exit_code_and_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: Arguments) -> None:
        raise Denied("not this one", remedy=[Remedy("take another one", "auth-agent", "look", "sea")])

    assert COMMAND.run([], refuse) == 6
    assert capsys.readouterr() == ("", "auth-agent: not this one\n  take another one: auth-agent look sea\n")


@pytest.mark.parametrize("name", sorted(light.COMMANDS))
def test_each_command_of_the_table_is_there_and_click_lists_and_runs_it(name: str) -> None:
    command = light.module(name).COMMAND
    assert isinstance(command, Command)
    assert command.name == name
    assert command.summary.split()[-1] in CliRunner().invoke(cli, ["--help"]).output
    assert f"Usage: auth-agent {name} [OPTIONS]" in command.help
    assert "Example: " in command.help
    assert CliRunner().invoke(cli, ["--", name, "--help"]).output == command.help
