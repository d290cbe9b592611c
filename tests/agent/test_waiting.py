"""Waiting for a login: how long, its result, and the lines that a person types."""

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


class RecordingAgent(Agent):
    """Begins logins at a scripted agent, and records all other calls."""

    def __init__(self, error: AgentError | None, calls: list[str]) -> None:
        super().__init__("agent.sock")
        self._calls = calls
        self._error = error

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self._calls.append(f"{method} {parameters['login_id']}")
        if self._error is not None:
            raise self._error
        return {}


@contextlib.contextmanager
def begin_login(
    *results: object, seconds_left: float = 600.0, error: AgentError | None = None, calls: list[str] | None = None
) -> Generator[Login, None, None]:
    """Begin a login that ends as given; any other call fails with `error`."""
    response = {"login_id": "id", "expires_at": time.time() + seconds_left}
    with (
        listening(Path("agent.sock")) as server,
        scripted(server, response, *results),
        RecordingAgent(error, [] if calls is None else calls) as agent,
        agent.login("work") as login,
    ):
        yield login


@pytest.fixture(autouse=True)
def agent_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to the directory in which the scripted agent listens."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Generator[int, None, None]:
    """Return the descriptor to write standard input to."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield writing


@pytest.mark.parametrize("seconds_left", [900, -5])
def test_waiting_returns_the_record(seconds_left: float) -> None:
    with begin_login({"account": "work"}, seconds_left=seconds_left) as login:
        assert waiting.wait(login, "id.example") == {"account": "work"}


@pytest.mark.parametrize(("seconds_left", "least"), [(900, 900), (600, 600), (-5, 60)])
def test_the_deadline_is_later_than_the_end_of_the_login(seconds_left: float, least: float) -> None:
    with begin_login({"account": "work"}, seconds_left=seconds_left) as login:
        assert least + 10 < login.deadline - time.monotonic() < least + 300


def test_an_agent_that_hangs_is_a_timeout() -> None:
    ended = threading.Event()
    with begin_login(ended) as login:
        login.deadline = time.monotonic() - 1.0
        try:
            with pytest.raises(Timeout):
                waiting.wait(login, "id.example")
        finally:
            ended.set()


def test_a_failed_login_raises_its_error() -> None:
    with (
        begin_login(LoginRequired("nobody logged in", reason="expired"), seconds_left=10) as login,
        pytest.raises(LoginRequired, match=r"^nobody logged in$"),
    ):
        waiting.wait(login, "id.example")


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate Ctrl-C during the wait."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("auth_agent.cli.waiting.select.select", interrupt)


def test_ctrl_c_cancels_the_login_at_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    with begin_login(Denied("the login was cancelled"), calls=calls) as login:
        press_ctrl_c(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            waiting.wait(login, "id.example")
    assert calls == ["login_cancel id"]


def test_ctrl_c_after_the_end_returns_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    with begin_login({"account": "work"}, error=InvalidRequest("there is no such login")) as login:
        press_ctrl_c(monkeypatch)
        assert waiting.wait(login, "id.example") == {"account": "work"}


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


def test_the_last_line_needs_no_line_end(stdin: int) -> None:
    reader = waiting.Lines()
    os.write(stdin, b"abc")
    assert reader.read() == []
    os.close(stdin)
    assert reader.read() == ["abc"]
    assert reader.ended


def test_an_endless_line_is_cut(stdin: int) -> None:
    reader = waiting.Lines()
    for _ in range(100):
        os.write(stdin, b"x" * 4096)
        assert reader.read() == []
    os.write(stdin, b"\n")
    (line,) = reader.read()
    assert len(line) <= 65_536
    os.close(stdin)


def test_a_wrong_redirect_url_is_reported_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with begin_login({}, error=InvalidRequest("this is not the URL", parameter="url")) as login:
        waiting.hand_in(login, "http://127.0.0.1/callback?code=hush")
    output = capsys.readouterr().err
    assert "This is not the URL" in output
    assert "hush" not in output


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (None, ""),
        (
            "https://id.example/authorize?client_id=c&redirect_uri=http%3A%2F%2F127.0.0.1%3A48631%2Fcallback",
            (
                "If the page of id.example shows an error: the client ID may be wrong, "
                "or the client may not allow the callback URL http://127.0.0.1:48631/callback."
            ),
        ),
        (
            "https://id.example/authorize?request_uri=urn:x",
            "If the page of id.example shows an error: the client ID may be wrong.",
        ),
    ],
)
def test_what_may_be_wrong_where_only_the_provider_s_page_says_so(url: str | None, hint: str) -> None:
    assert waiting.error_hint(url, "id.example") == hint
