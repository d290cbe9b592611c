"""How a defect is logged: its type and line, without its message."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

from auth_agent.defect import place, places


def fail(secret: str) -> None:
    raise ValueError(f"no use for {secret}")


def fail_deeper(secret: str) -> None:
    fail(secret)


def fail_because(secret: str) -> None:
    try:
        fail(secret)
    except ValueError as error:
        raise KeyError(secret) from error


class TextlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("its text is not available")


def fail_without_text(_: str) -> None:
    raise TextlessError


def error_of(function: Callable[[str], object], argument: str = "canary") -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- each test knows which one
        function(argument)
    return caught.value


def line(function: object, after: int) -> str:
    """Return the file and line so many lines after a function's first line."""
    assert isinstance(function, FunctionType)
    return f"test_defect.py:{function.__code__.co_firstlineno + after}"


def test_the_place_of_a_defect_is_its_type_and_line() -> None:
    assert place(error_of(fail)) == f"ValueError@{line(fail, 1)}"


def test_the_line_is_where_the_error_was_raised() -> None:
    assert place(error_of(fail_deeper)) == f"ValueError@{line(fail, 1)}"


def test_the_place_of_a_chain_is_that_of_its_last_error() -> None:
    assert place(error_of(fail_because)) == f"KeyError@{line(fail_because, 4)}"


@pytest.mark.parametrize("function", [fail, fail_deeper, fail_because, json.loads])
def test_the_place_contains_no_message_argument_or_note(function: Callable[[str], object]) -> None:
    error = error_of(function)
    error.add_note("canary")
    assert "canary" not in place(error)


def test_the_place_of_an_error_in_a_library_is_the_librarys_file() -> None:
    text = place(error_of(json.loads, "{"))
    assert text.rpartition(":")[0] == "JSONDecodeError@decoder.py"


def test_an_error_whose_text_is_not_available_has_a_place() -> None:
    assert place(error_of(fail_without_text)) == f"TextlessError@{line(fail_without_text, 1)}"


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert place(ValueError("canary")) == "ValueError@?"


def test_the_place_of_none_is_a_question_mark() -> None:
    assert place(None) == "?"


def test_the_places_of_a_group_are_those_of_each_error() -> None:
    group = ExceptionGroup("canary", [error_of(fail), ExceptionGroup("", [error_of(fail_without_text)])])
    assert places(group) == f"ValueError@{line(fail, 1)},TextlessError@{line(fail_without_text, 1)}"
    assert places(error_of(fail)) == f"ValueError@{line(fail, 1)}"


def test_a_defect_that_ends_the_agent_is_reported_without_its_message(tmp_path: Path) -> None:
    script = """
import sys
from auth_agent import daemon
from auth_agent.cli import commands

def serve(*_, **__):
    raise ExceptionGroup("canary", [ValueError("canary")]) from KeyError("canary")

daemon.serve = serve
sys.exit(commands.main(["run", "--store", "memory"]))
"""
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {**os.environ, "AUTH_AGENT_CONFIG": str(tmp_path / "config.toml")}
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("auth-agent: ")
    assert process.stderr.endswith(": ValueError@?\n")
    assert "canary" not in process.stderr
