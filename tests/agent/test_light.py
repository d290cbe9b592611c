"""Commands that start without click: their arguments, help and errors, and each command of the table."""

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


def test_options_may_be_anywhere_with_their_values_after_a_space_or_an_equals_sign() -> None:
    args = COMMAND.parse(["--from", "here", "sky", "--for=1.5", "--twice"])
    assert (args.words, args.first) == (["sky"], "sky")
    assert (args.string("--from"), args.seconds("--for"), args.flag("--twice")) == ("here", 1.5, True)


def test_missing_arguments_are_none() -> None:
    args = COMMAND.parse([])
    assert (args.first, args.string("--from"), args.seconds("--for"), args.flag("--twice")) == (
        None,
        None,
        None,
        False,
    )


def test_of_a_repeated_option_the_last_value_counts() -> None:
    assert COMMAND.parse(["--from=a", "--from=b"]).string("--from") == "b"


def test_after_two_hyphens_nothing_is_an_option() -> None:
    assert COMMAND.parse(["--", "--twice"]).words == ["--twice"]
    assert COMMAND.parse(["-"]).words == ["-"]


def test_an_option_may_have_an_empty_value_or_one_that_looks_like_an_option() -> None:
    assert COMMAND.parse(["--from="]).string("--from") == ""
    assert COMMAND.parse(["--from", "--twice"]).string("--from") == "--twice"


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_a_usage_error_has_clicks_message(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        COMMAND.parse(arguments)
    assert str(raised.value) == message


def test_the_help_has_clicks_layout(capsys: pytest.CaptureFixture[str]) -> None:
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
        "  -h, --help     Show this message and exit.\n"
    )


def test_after_two_hyphens_help_is_an_argument() -> None:
    words: list[str] = []
    assert COMMAND.run(["--", "--help"], lambda args: words.extend(args.words)) == 0
    assert words == ["--help"]


def test_a_usage_error_has_an_exit_code_and_refers_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMAND.run(["--near"], lambda _: None) == 2
    assert capsys.readouterr() == (
        "",
        "auth-agent: No such option: --near\nTry 'auth-agent look --help' for help.\n",
    )


def test_an_error_of_the_agent_has_its_exit_code_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: Arguments) -> None:
        raise Denied("not this one", remedy=[Remedy("take another one", "auth-agent", "look", "sea")])

    assert COMMAND.run([], refuse) == 6
    assert capsys.readouterr() == ("", "auth-agent: not this one\n  take another one: auth-agent look sea\n")


@pytest.mark.parametrize("name", sorted(light.COMMANDS))
def test_each_light_command_exists_and_click_lists_and_runs_it(name: str) -> None:
    command = light.module(name).COMMAND
    assert isinstance(command, Command)
    assert command.name == name
    assert command.summary.split()[-1] in CliRunner().invoke(cli, ["--help"]).output
    assert f"Usage: auth-agent {name} [OPTIONS]" in command.help
    assert "Example: " in command.help
    assert CliRunner().invoke(cli, ["--", name, "--help"]).output == command.help
