"""Where a defect is, told without what it was holding."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

from auth_agent.defect import place, places


def lose(secret: str) -> None:
    raise ValueError(f"what to do with {secret}?")


def lose_deeper(secret: str) -> None:
    lose(secret)


def lose_because(secret: str) -> None:
    try:
        lose(secret)
    except ValueError as error:
        raise KeyError(secret) from error


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its text can be had")


def be_unspeakable(_: str) -> None:
    raise UnspeakableError


def raised_by(function: Callable[[str], object], argument: str = "canary") -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- which one it is, each test says
        function(argument)
    return caught.value


def line(function: object, after: int) -> str:
    """The file and line that stand so many lines below a function's head."""
    assert isinstance(function, FunctionType)
    return f"test_defect.py:{function.__code__.co_firstlineno + after}"


def test_a_defect_is_told_by_its_type_and_line() -> None:
    assert place(raised_by(lose)) == f"ValueError@{line(lose, 1)}"


def test_the_line_is_where_it_was_raised_and_not_where_it_passed() -> None:
    assert place(raised_by(lose_deeper)) == f"ValueError@{line(lose, 1)}"


def test_the_last_of_a_chain_is_told() -> None:
    assert place(raised_by(lose_because)) == f"KeyError@{line(lose_because, 4)}"


@pytest.mark.parametrize("function", [lose, lose_deeper, lose_because, json.loads])
def test_nothing_of_what_it_held_is_told(function: Callable[[str], object]) -> None:
    error = raised_by(function)
    error.add_note("canary")
    assert "canary" not in place(error)


def test_a_defect_in_a_library_is_told_by_the_librarys_file() -> None:
    told = place(raised_by(json.loads, "{"))
    assert told.rpartition(":")[0] == "JSONDecodeError@decoder.py"


def test_an_error_without_a_text_is_told_all_the_same() -> None:
    assert place(raised_by(be_unspeakable)) == f"UnspeakableError@{line(be_unspeakable, 1)}"


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert place(ValueError("canary")) == "ValueError@?"


def test_no_error_is_a_question_mark() -> None:
    assert place(None) == "?"


def test_of_a_group_each_is_told() -> None:
    group = ExceptionGroup("canary", [raised_by(lose), ExceptionGroup("", [raised_by(be_unspeakable)])])
    assert places(group) == f"ValueError@{line(lose, 1)},UnspeakableError@{line(be_unspeakable, 1)}"
    assert places(raised_by(lose)) == f"ValueError@{line(lose, 1)}"


def test_a_defect_that_ends_the_agent_is_told_without_what_it_was_holding(tmp_path: Path) -> None:
    script = """
import sys
from auth_agent import daemon
from auth_agent.cli import commands

async def serve(*_):
    raise ExceptionGroup("canary", [ValueError("canary")]) from KeyError("canary")

daemon.serve = serve
sys.exit(commands.main(["run", "--store", "memory"]))
"""
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {**os.environ, "AUTH_AGENT_CONFIG": str(tmp_path / "config.toml")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "auth-agent: a defect ended the agent: ValueError@?\n"
