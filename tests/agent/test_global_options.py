"""Options that stand before or after any command."""

import os
from pathlib import Path

import pytest

from auth_agent.cli.global_options import GlobalOptionError, take


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that a test may change."""
    for name in ("AUTH_AGENT_SOCK", "AUTH_AGENT_CONFIG", "AUTH_AGENT_LOG"):
        monkeypatch.setenv(name, "before")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--socket", "/run/a.sock", "token", "work"],
        ["token", "--socket", "/run/a.sock", "work"],
        ["token", "work", "--socket=/run/a.sock"],
    ],
)
def test_an_option_may_stand_anywhere(arguments: list[str]) -> None:
    assert take(arguments).arguments == ["token", "work"]
    assert os.environ["AUTH_AGENT_SOCK"] == "/run/a.sock"
    assert os.environ["AUTH_AGENT_CONFIG"] == "before"


def test_a_relative_path_becomes_absolute() -> None:
    take(["--config", "here.toml", "status"])
    assert os.environ["AUTH_AGENT_CONFIG"] == str(Path.cwd() / "here.toml")


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_verbose_logs_more(flag: str) -> None:
    options = take(["run", flag])
    assert (options.arguments, options.verbose, options.quiet) == (["run"], True, False)
    assert os.environ["AUTH_AGENT_LOG"] == "debug"


@pytest.mark.parametrize("store", [["--store", "memory"], ["--store=memory"]])
def test_the_value_of_an_option_of_run_is_not_the_command_to_be_run(store: list[str]) -> None:
    options = take(["run", *store, "-v", "--socket", "/run/a.sock"])
    assert (options.arguments, options.verbose) == (["run", *store], True)
    assert os.environ["AUTH_AGENT_SOCK"] == "/run/a.sock"


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_is_taken(flag: str) -> None:
    options = take([flag, "stop"])
    assert (options.arguments, options.verbose, options.quiet) == (["stop"], False, True)
    assert os.environ["AUTH_AGENT_LOG"] == "before"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--", "make", "-v", "--socket", "x"],
        ["run", "make", "-v", "-q", "--config=x"],
        ["run", "--store", "memory", "make", "-v"],
        ["run", "--store=memory", "make", "-q", "--socket", "x"],
        ["token", "--", "-v"],
        [],
    ],
)
def test_what_is_anothers_is_left_alone(arguments: list[str]) -> None:
    options = take(arguments)
    assert (options.arguments, options.verbose, options.quiet) == (arguments, False, False)
    assert os.environ["AUTH_AGENT_SOCK"] == os.environ["AUTH_AGENT_CONFIG"] == "before"


def test_options_of_run_before_its_command_are_taken() -> None:
    options = take(["run", "-v", "--store", "memory", "make", "-q"])
    assert options.arguments == ["run", "--store", "memory", "make", "-q"]
    assert (options.verbose, options.quiet) == (True, False)


@pytest.mark.parametrize("arguments", [["--socket"], ["token", "--config"], ["--socket=", "token"]])
def test_a_missing_value_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(GlobalOptionError, match=r"--(socket|config)"):
        take(arguments)


def test_a_relative_path_is_an_error_where_the_working_directory_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(GlobalOptionError, match="--config"):
        take(["--config", "here.toml", "status"])
    assert take(["--config", "/here.toml", "status"]).arguments == ["status"]
