"""The wait for a person: how long it lasts, and what of the keys that are pressed becomes an address."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from auth_agent.cli import waiting
from auth_agent_client import Agent, Login
from auth_agent_client.errors import AgentError, Denied, InvalidRequest, LoginRequired, Timeout
from tests.integration.impostor import listening, scripted


class Begun(Agent):
    """Begins logins at an agent that is played, and notes what else is asked of it."""

    def __init__(self, error: AgentError | None, asked: list[str]) -> None:
        super().__init__("agent.sock")
        self._asked = asked
        self._error = error

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self._asked.append(f"{method} {parameters['login_id']}")
        if self._error is not None:
            raise self._error
        return {}


@contextlib.contextmanager
def begun(
    *ends: object, left: float = 600.0, error: AgentError | None = None, asked: list[str] | None = None
) -> Generator[Login, None, None]:
    """A login that nobody needs a browser for, and how it ends; `error` is what else is asked of it answered with."""
    answer = {"login_id": "id", "expires_at": time.time() + left}
    with (
        listening(Path("agent.sock")) as server,
        scripted(server, answer, *ends),
        Begun(error, [] if asked is None else asked) as agent,
        agent.login("work") as login,
    ):
        yield login


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the agent that is played listens."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Generator[int, None, None]:
    """Where to write what comes on standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield writing


@pytest.mark.parametrize("left", [900, -5])
def test_the_record_is_waited_for(left: float) -> None:
    with begun({"account": "work"}, left=left) as login:
        assert waiting.wait(login) == {"account": "work"}


@pytest.mark.parametrize(("left", "least"), [(900, 900), (600, 600), (-5, 60)])
def test_the_agent_is_waited_for_longer_than_the_login_lasts(left: float, least: float) -> None:
    with begun({"account": "work"}, left=left) as login:
        assert least + 10 < login.deadline - time.monotonic() < least + 300


def test_an_agent_that_hangs_is_not_waited_for() -> None:
    ended = threading.Event()
    with begun(ended) as login:
        login.deadline = time.monotonic() - 1.0
        try:
            with pytest.raises(Timeout):
                waiting.wait(login)
        finally:
            ended.set()


def test_why_no_session_came_of_it_is_told() -> None:
    with (
        begun(LoginRequired("nobody logged in", reason="expired"), left=10) as login,
        pytest.raises(LoginRequired, match="nobody"),
    ):
        waiting.wait(login)


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C while the login is waited for."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("auth_agent.cli.waiting.select.select", interrupt)


def test_what_a_person_cancels_is_cancelled_at_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with begun(Denied("the login was cancelled"), asked=asked) as login:
        press_ctrl_c(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            waiting.wait(login)
    assert asked == ["login_cancel id"]


def test_what_a_person_cancels_too_late_is_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with begun({"account": "work"}, error=InvalidRequest("there is no such login")) as login:
        press_ctrl_c(monkeypatch)
        assert waiting.wait(login) == {"account": "work"}


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        (b"abc\n", ["abc"]),
        (b"abc\r", ["abc"]),
        (b"ab\x7fc\n", ["ac"]),
        (b"\x7f\x08a\n", ["a"]),
        (b"wrong\x15right\n", ["right"]),
        (b"one\ntwo\nthr", ["one", "two"]),
        ("é".encode() + b"\xff\n", ["é\ufffd"]),
    ],
)
def test_keys_become_lines(stdin: int, typed: bytes, lines: list[str]) -> None:
    reader = waiting.Lines()
    os.write(stdin, typed)
    assert reader.read() == lines
    assert not reader.ended
    os.close(stdin)


def test_the_last_line_needs_no_end(stdin: int) -> None:
    reader = waiting.Lines()
    os.write(stdin, b"abc")
    assert reader.read() == []
    os.close(stdin)
    assert reader.read() == ["abc"]
    assert reader.ended


def test_what_never_ends_is_not_kept(stdin: int) -> None:
    reader = waiting.Lines()
    for _ in range(100):
        os.write(stdin, b"x" * 4096)
        assert reader.read() == []
    os.write(stdin, b"\n")
    (line,) = reader.read()
    assert len(line) <= 65_536
    os.close(stdin)


def test_an_address_that_is_not_the_awaited_one_is_told_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with begun({}, error=InvalidRequest("this is not the address", parameter="url")) as login:
        waiting.hand_in(login, "http://127.0.0.1/callback?code=hush")
    said = capsys.readouterr().err
    assert "This is not the address" in said
    assert "hush" not in said
