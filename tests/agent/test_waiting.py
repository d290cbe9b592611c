"""The wait for a person: how long it lasts, and what of the keys that are pressed becomes an address."""

import os
import sys
import time
from collections.abc import Generator, Mapping

import pytest

from auth_agent.cli import waiting
from auth_agent_client import Agent
from auth_agent_client.errors import AgentError, InvalidRequest, LoginRequired


class FakeAgent(Agent):
    """One that answers at once, if only with an error."""

    def __init__(self, error: AgentError | None = None) -> None:
        self.asked: list[tuple[str, Mapping[str, object]]] = []
        self._error = error

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self.asked.append((method, parameters))
        if self._error is not None:
            raise self._error
        return {"account": "work"}


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Generator[int, None, None]:
    """Where to write what comes on standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield writing


@pytest.mark.parametrize(("left", "least"), [(900, 900), (600, 600), (-5, 60)])
def test_the_agent_is_waited_for_longer_than_the_login_lasts(left: float, least: float) -> None:
    agent = FakeAgent()
    assert waiting.wait(agent, "id", time.time() + left, takes_address=False) == {"account": "work"}
    ((method, asked),) = agent.asked
    timeout = asked["timeout"]
    assert (method, asked["login_id"]) == ("login_result", "id")
    assert isinstance(timeout, float)
    assert least + 10 < timeout < least + 300


def test_why_no_session_came_of_it_is_told() -> None:
    with pytest.raises(LoginRequired, match="nobody"):
        waiting.wait(
            FakeAgent(LoginRequired("nobody logged in", reason="expired")), "id", time.time() + 10, takes_address=False
        )


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
    agent = FakeAgent(InvalidRequest("this is not the address", parameter="url"))
    waiting.hand_in(agent, "id", "http://127.0.0.1/callback?code=hush")
    said = capsys.readouterr().err
    assert "This is not the address" in said
    assert "hush" not in said
