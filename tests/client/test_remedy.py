"""Remedies as data: on the wire, in a shell, in a traceback."""

import shlex
import traceback

import pytest

from auth_agent_client import LoginRequired, Remedy
from auth_agent_client.errors import from_wire, to_wire
from auth_agent_client.remedy import remedies_from_wire, remedies_to_wire

LOG_IN = Remedy("log in again", "auth-agent", "login", "work")


def test_a_remedy_is_unchanged_by_the_wire() -> None:
    remedies = (LOG_IN, Remedy("ask whoever runs the provider"))
    assert remedies_from_wire(remedies_to_wire(remedies)) == remedies


def test_a_remedy_without_a_command_has_none_on_the_wire() -> None:
    assert remedies_to_wire((Remedy("wait"),)) == [{"text": "wait"}]


def test_a_command_is_quoted_only_where_it_is_shown() -> None:
    argument = "a b; $(reboot) 'x'"
    remedy = Remedy("do it", "auth-agent", "login", argument)
    assert remedies_to_wire((remedy,)) == [{"text": "do it", "command": ["auth-agent", "login", argument]}]
    assert shlex.split(remedy.line) == ["auth-agent", "login", argument]
    assert str(remedy) == f"do it: {remedy.line}"


def test_an_older_agents_remedy_is_text_without_a_command() -> None:
    text = "unlock it: auth-agent unlock"
    (remedy,) = remedies_from_wire(text)
    assert (remedy.text, remedy.command, remedy.line) == (text, (), "")


@pytest.mark.parametrize(
    "value",
    [None, "", 7, {}, [], [None], [{}], [{"text": 7}], [{"command": ["auth-agent"]}], [["text"]]],
    ids=repr,
)
def test_an_invalid_remedy_is_left_out(value: object) -> None:
    assert remedies_from_wire(value) == ()


def test_arguments_that_are_not_strings_are_left_out() -> None:
    assert remedies_from_wire([{"text": "x", "command": ["a", 1, None, "b"]}]) == (Remedy("x", "a", "b"),)


def test_reason_failure_and_remedy_are_unchanged_by_the_wire() -> None:
    error = LoginRequired("work: it is over", reason="it is over", failure="session_expired", remedy=(LOG_IN,))
    received = from_wire(to_wire(error))
    assert (type(received), received.message, received.reason, received.failure, received.remedy) == (
        LoginRequired,
        "work: it is over",
        "it is over",
        "session_expired",
        (LOG_IN,),
    )


def test_an_error_of_an_unknown_code_keeps_its_remedy() -> None:
    sent = {"code": "new", "message": "m", "remedy": [{"text": "log in again", "command": ["auth-agent", "login"]}]}
    assert from_wire(sent).remedy == (Remedy("log in again", "auth-agent", "login"),)


def test_an_error_without_a_remedy_has_none_on_the_wire() -> None:
    assert "remedy" not in to_wire(LoginRequired("m"))


def test_a_traceback_shows_the_remedy() -> None:
    text = "".join(traceback.format_exception(LoginRequired("work: it is over", remedy=(LOG_IN,))))
    assert text.endswith("LoginRequired: work: it is over\nwhat helps: log in again: auth-agent login work\n")
