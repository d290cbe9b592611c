"""The agent's log: one line for each event; a reader that is slow or gone can't block the agent."""

import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator

import httpx
import pytest
from hypothesis import example, given, strategies as st

from auth_agent.logs import log_to_stderr
from auth_agent.secret import Secret

TEXTS = st.text(alphabet=st.characters(codec=None))
WAITING = 1000  # lines that are queued for a reader that doesn't read
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} (debug|info|warning|error) (.*)")


class Terminal(io.StringIO):
    """A terminal that can be stopped, as by Ctrl-S: writes to it block."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self._is_running = threading.Event()
        self._is_running.set()

    def write(self, text: str, /) -> int:
        self.reached.set()
        self._is_running.wait()
        return super().write(text)

    def stop(self) -> None:
        self._is_running.clear()

    def resume(self) -> None:
        self._is_running.set()

    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


class Log:
    """The agent's logger, and its handler, which writes to that terminal in that thread."""

    def __init__(
        self, logger: logging.Logger, handler: logging.Handler, terminal: Terminal, writer: threading.Thread
    ) -> None:
        self.logger = logger
        self.handler = handler
        self._terminal = terminal
        self._writer = writer

    def finish(self) -> None:
        """Wait until all lines are written; `close` gives up while the queue is full."""
        deadline = time.monotonic() + 10
        while self._writer.is_alive() and time.monotonic() < deadline:
            self.handler.close()
        assert not self._writer.is_alive()

    def events(self) -> list[tuple[str, str]]:
        """Return level and text of each line, once all are written."""
        self.finish()
        matches = [LINE.fullmatch(line) for line in self._terminal.lines()]
        return [("?", "?") if match is None else (match[1], match[2]) for match in matches]


Begin = Callable[[], Log]


@pytest.fixture
def terminal() -> Generator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.resume()


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> Generator[logging.Logger]:
    """Yield the package's logger, then restore it and wait for its writers to end."""
    monkeypatch.delenv("AUTH_AGENT_LOG", raising=False)
    logger = logging.getLogger("auth_agent")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    threads = set(threading.enumerate())
    yield logger
    # pytest has added its own handlers here, and removes them itself.
    ours = [
        handler
        for handler in logger.handlers
        if type(handler).__module__ == "auth_agent.logs" and handler not in handlers
    ]
    for handler in ours:
        logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate
    writers = [thread for thread in threading.enumerate() if thread not in threads]
    deadline = time.monotonic() + 10
    while any(writer.is_alive() for writer in writers) and time.monotonic() < deadline:
        for handler in ours:
            handler.close()
    assert [writer.name for writer in writers if writer.is_alive()] == []


@pytest.fixture
def begin(logger: logging.Logger, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Return a function that starts to log to the terminal; pytest replaces `sys.stderr` until the test runs."""

    def begin() -> Log:
        monkeypatch.setattr(sys, "stderr", terminal)
        handlers, threads = list(logger.handlers), threading.enumerate()
        log_to_stderr()
        (handler,) = [handler for handler in logger.handlers if handler not in handlers]
        (writer,) = [thread for thread in threading.enumerate() if thread not in threads]
        return Log(logger, handler, terminal, writer)

    return begin


def stall(log: Log, terminal: Terminal) -> None:
    """Stop the terminal; the writer blocks while it writes a first line."""
    terminal.stop()
    log.logger.info("in hand")
    assert terminal.reached.wait(10)


# ---- lines


def test_an_event_is_a_line_with_its_time_level_and_text(begin: Begin) -> None:
    log = begin()
    log.logger.info("listening socket=%s pid=%d", "/run/x", 7)
    log.logger.warning("stopping unfinished=%d", 1)
    logging.getLogger("auth_agent.daemon").error("defect")
    assert log.events() == [
        ("info", "listening socket=/run/x pid=7"),
        ("warning", "stopping unfinished=1"),
        ("error", "defect"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines", "two lines"),
        ("a\r\nb", "a  b"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),
        ("one\u2028two\u2029three\x85four", "one two three four"),
        ("\u202eevil", " evil"),
        ("half \ud83d", "half  "),
        ("100 %s %d", "100 %s %d"),
        ("a" * 1001, "a" * 999 + "…"),
        ("", ""),
    ],
)
def test_control_characters_and_line_breaks_in_an_event_are_replaced(begin: Begin, text: str, line: str) -> None:
    log = begin()
    log.logger.info(text)
    log.logger.info("value=%s", text[:900])
    events = log.events()
    assert events[0] == ("info", line)
    assert [level for level, _ in events] == ["info", "info"]


def test_any_message_is_one_printable_line(begin: Begin) -> None:
    log = begin()

    @given(TEXTS, TEXTS)
    @example("one\u2028two", "a\nb")
    def check(text: str, argument: str) -> None:
        for record in (
            logging.makeLogRecord({"msg": text, "levelname": "INFO"}),
            logging.makeLogRecord({"msg": "value=%s", "args": (argument,), "levelname": "INFO"}),
        ):
            line = log.handler.format(record)
            assert line.splitlines() == [line]
            assert line.isprintable()
            assert line.encode().decode() == line

    check()


def test_the_log_contains_no_exception_text_or_traceback(begin: Begin) -> None:
    log = begin()
    try:
        raise ValueError("canary")  # noqa: TRY301 -- one to be logged
    except ValueError:
        log.logger.exception("defect", stack_info=True)
    assert log.events() == [("error", "defect")]


def test_a_secret_is_logged_as_a_secret(begin: Begin) -> None:
    log = begin()
    log.logger.info("refreshing with %s", Secret("canary"))
    assert log.events() == [("info", "refreshing with Secret(…)")]


# ---- levels and loggers


@pytest.mark.parametrize(
    ("chosen", "levels"),
    [
        (None, ["info", "warning"]),
        ("", ["info", "warning"]),
        ("info", ["info", "warning"]),
        ("nonsense", ["info", "warning"]),
        ("debug", ["debug", "info", "warning"]),
        ("DEBUG", ["debug", "info", "warning"]),
    ],
)
def test_the_environment_chooses_the_level(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, chosen: str | None, levels: list[str]
) -> None:
    if chosen is not None:
        monkeypatch.setenv("AUTH_AGENT_LOG", chosen)
    log = begin()
    below = logging.getLogger("auth_agent.sessions.refresher")
    below.debug("x")
    below.info("x")
    below.warning("x")
    assert [level for level, _ in log.events()] == levels


def test_httpx_logs_nothing_here(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTH_AGENT_LOG", "debug")
    log = begin()
    with (
        caplog.at_level(logging.DEBUG),
        httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as http,
    ):
        http.get("https://acme.example/authorize?code=canary")
    assert "canary" in caplog.text  # httpx logged it
    assert log.events() == []


def test_events_do_not_propagate_to_the_root_logger(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    log = begin()
    with caplog.at_level(logging.DEBUG):
        log.logger.error("logged once")
    assert (caplog.messages, log.events()) == ([], [("error", "logged once")])


# ---- a slow or missing reader


def test_unread_lines_are_dropped_and_counted(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    stall(log, terminal)
    for number in range(WAITING + 7):
        log.logger.info("line=%d", number)
    terminal.resume()
    log.finish()
    lines = terminal.lines()
    assert len(lines) == 1 + WAITING + 1
    assert [line.rpartition(" ")[2] for line in lines[:2]] == ["hand", "line=0"]
    assert lines[2] == "(and 7 lines were lost: nobody read them)"
    assert lines[-1].endswith(f"line={WAITING - 1}")


def test_lost_lines_are_reported_once(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    stall(log, terminal)
    for _ in range(WAITING + 7):
        log.logger.info("x")
    terminal.resume()
    log.finish()
    assert [line for line in terminal.lines() if "lost" in line] == ["(and 7 lines were lost: nobody read them)"]


def test_closing_the_log_takes_seconds_although_nobody_reads(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    stall(log, terminal)
    began = time.monotonic()
    log.handler.close()
    assert time.monotonic() - began < 3
    assert terminal.lines() == []


def test_closing_the_log_takes_seconds_although_the_queue_is_full(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    stall(log, terminal)
    for _ in range(WAITING):
        log.logger.info("x")
    began = time.monotonic()
    log.handler.close()
    assert time.monotonic() - began < 3
    assert terminal.lines() == []


def test_queued_lines_are_written_before_the_log_closes(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    stall(log, terminal)
    for _ in range(WAITING - 1):
        log.logger.info("x")
    terminal.resume()
    log.handler.close()
    assert len(terminal.lines()) == WAITING


def test_a_full_queue_is_written_before_the_log_closes(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    stall(log, terminal)
    for _ in range(WAITING):
        log.logger.info("x")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)  # the writer runs only when another thread waits for it
    try:
        terminal.resume()
        log.handler.close()
        written = len(terminal.lines())
    finally:
        sys.setswitchinterval(interval)
    assert written == 1 + WAITING


def test_a_log_may_be_closed_twice(begin: Begin) -> None:
    log = begin()
    log.logger.info("x")
    log.handler.close()
    log.handler.close()
    assert log.events() == [("info", "x")]


def test_a_closed_pipe_blocks_nobody(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with io.FileIO(writing, "w") as raw:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
        before = set(threading.enumerate())
        log_to_stderr()
        writers = [thread for thread in threading.enumerate() if thread not in before]
        logger.info("x")
        for writer in writers:
            writer.join(10)
        assert [writer.is_alive() for writer in writers] == [False]
        for _ in range(WAITING + 7):
            logger.info("x")
