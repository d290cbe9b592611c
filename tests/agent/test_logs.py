"""The agent's log: one line for each event; a reader that is slow or gone can't block the agent."""

import contextlib
import fcntl
import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given, strategies as st

from auth_agent.log_limit import SUBJECT_LINES
from auth_agent.logs import log_to_stderr
from auth_agent.secret import Secret

TEXTS = st.text(alphabet=st.characters(codec=None))
FILLER = b"\x00\n"
WAITING = 1000  # lines that are queued for a reader that doesn't read
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} (debug|info|warning|error) (.*)")


class Terminal:
    """A terminal that can be stopped, as by Ctrl-S: writes to it block. It is a pipe with little room."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self._reading, False)
        self._is_running = True
        self._is_open = True
        self._turn = threading.Lock()
        self._output = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def fileno(self) -> int:
        return self._writing

    def stop(self) -> None:
        """Read no more, and fill the pipe."""
        with self._turn:
            self._is_running = False
        # Opened anew: not to block is a property of an open file, which the writer has too.
        filler = os.open(f"/proc/self/fd/{self._writing}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(filler, FILLER)
        os.close(filler)

    def resume(self) -> None:
        with self._turn:
            self._is_running = True

    def blocks(self, writer: threading.Thread) -> bool:
        """Return whether that thread waits in a call with the terminal's descriptor."""
        call = Path(f"/proc/self/task/{writer.native_id}/syscall").read_text().split()
        return call[1:2] == [hex(self._writing)]

    def lines(self) -> list[str]:
        """Return what was written, if nothing more is."""
        self._drain()
        return self._output.replace(FILLER, b"").decode().splitlines()

    def close(self) -> None:
        self._is_open = False
        self._reader.join()
        os.close(self._reading)
        os.close(self._writing)

    def _read(self) -> None:
        while self._is_open:
            self._drain()
            time.sleep(0.001)

    def _drain(self) -> None:
        with self._turn, contextlib.suppress(BlockingIOError):
            while self._is_running and (data := os.read(self._reading, 4096)):
                self._output += data


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
        deadline = time.monotonic() + 60
        while self._writer.is_alive() and time.monotonic() < deadline:
            self.handler.close()
        assert not self._writer.is_alive()

    def wait_until_blocked(self) -> None:
        """Wait until the writer waits for the terminal, with a line in hand."""
        deadline = time.monotonic() + 60
        while not self._terminal.blocks(self._writer):
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def events(self) -> list[tuple[str, str]]:
        """Return level and text of each line, once all are written."""
        self.finish()
        matches = [LINE.fullmatch(line) for line in self._terminal.lines()]
        return [("?", "?") if match is None else (match[1], match[2]) for match in matches]


Begin = Callable[..., Log]


@pytest.fixture
def terminal() -> Generator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


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
    deadline = time.monotonic() + 60
    while any(writer.is_alive() for writer in writers) and time.monotonic() < deadline:
        for handler in ours:
            handler.close()
    assert [writer.name for writer in writers if writer.is_alive()] == []


@pytest.fixture
def begin(logger: logging.Logger, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Return a function that starts to log to the terminal; pytest replaces `sys.stderr` until the test runs."""

    def begin(own: Path | None = None, *, everything: bool = False) -> Log:
        if everything:
            monkeypatch.setenv("AUTH_AGENT_LOG", "debug")
        monkeypatch.setattr(sys, "stderr", terminal)
        handlers, threads = list(logger.handlers), threading.enumerate()
        log_to_stderr(own=own)
        (handler,) = [handler for handler in logger.handlers if handler not in handlers]
        (writer,) = [thread for thread in threading.enumerate() if thread not in threads]
        return Log(logger, handler, terminal, writer)

    return begin


def replace(terminal: Terminal, path: Path) -> None:
    """Let the terminal's descriptor lead to that file, which exists or is made."""
    other = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(other, terminal.fileno())
    os.close(other)


def stall(log: Log, terminal: Terminal) -> None:
    """Stop the terminal; the writer blocks while it writes a first line."""
    terminal.stop()
    log.logger.info("in hand")
    log.wait_until_blocked()


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
    log = begin(everything=True)
    stall(log, terminal)
    for number in range(WAITING + 7):
        log.logger.info("line=%d", number)
    terminal.resume()
    log.finish()
    lines = terminal.lines()
    assert len(lines) == 1 + WAITING + 1
    assert lines[0].endswith("in hand")
    assert lines[1].endswith("warning log lost=7 problem='nobody read them'")
    assert lines[-1].endswith(f"line={WAITING - 1}")


def test_lost_lines_are_reported_once(begin: Begin, terminal: Terminal) -> None:
    log = begin(everything=True)
    stall(log, terminal)
    for _ in range(WAITING + 7):
        log.logger.info("x")
    terminal.resume()
    log.finish()
    assert len([line for line in terminal.lines() if " lost=7 " in line]) == 1
    assert len([line for line in terminal.lines() if "lost" in line]) == 1


def test_closing_the_log_takes_seconds_although_nobody_reads(begin: Begin, terminal: Terminal) -> None:
    log = begin(everything=True)
    stall(log, terminal)
    log.handler.close()
    assert terminal.lines() == []


def test_closing_the_log_takes_seconds_although_the_queue_is_full(begin: Begin, terminal: Terminal) -> None:
    log = begin(everything=True)
    stall(log, terminal)
    for _ in range(WAITING):
        log.logger.info("x")
    log.handler.close()
    assert terminal.lines() == []


@pytest.fixture
def last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a log that closes wait for its writer as long as a busy machine takes."""
    monkeypatch.setattr("auth_agent.logs._LAST_WORDS", 60.0)


@pytest.mark.usefixtures("last_words")
def test_queued_lines_are_written_before_the_log_closes(begin: Begin, terminal: Terminal) -> None:
    log = begin(everything=True)
    stall(log, terminal)
    for _ in range(WAITING - 1):
        log.logger.info("x")
    terminal.resume()
    log.handler.close()
    assert len(terminal.lines()) == WAITING


@pytest.mark.usefixtures("last_words")
def test_a_full_queue_is_written_before_the_log_closes(begin: Begin, terminal: Terminal) -> None:
    log = begin(everything=True)
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
        monkeypatch.setenv("AUTH_AGENT_LOG", "debug")
        before = set(threading.enumerate())
        log_to_stderr()
        writers = [thread for thread in threading.enumerate() if thread not in before]
        logger.info("x")
        for writer in writers:
            writer.join(60)
        assert [writer.is_alive() for writer in writers] == [False]
        for _ in range(WAITING + 7):
            logger.info("x")


# ---- a full disk, and other errors that pass


@pytest.mark.parametrize("more", [0, 7])
def test_the_log_goes_on_when_a_full_disk_has_room_again(begin: Begin, terminal: Terminal, more: int) -> None:
    log = begin(everything=True)
    room = os.dup(terminal.fileno())
    replace(terminal, Path("/dev/full"))
    for number in range(WAITING + more):
        log.logger.info("line=%d", number)
    os.dup2(room, terminal.fileno())
    os.close(room)
    log.finish()
    lines = terminal.lines()
    told = [line for line in lines if "log lost=" in line]
    lost = [int(line.partition("lost=")[2].partition(" ")[0]) for line in told]
    assert len(lines) - len(told) + sum(lost) == WAITING + more
    assert bool(lost) == bool(more)
    # Lines are lost before the first write fails, too, if the writer is slow.
    assert all("problem=" in line for line in told)


def test_a_pipe_that_does_not_block_loses_nothing(begin: Begin, terminal: Terminal) -> None:
    log = begin(everything=True)
    os.set_blocking(terminal.fileno(), False)
    terminal.stop()
    for number in range(WAITING):
        log.logger.info("line=%d", number)
    terminal.resume()
    log.finish()
    assert [line.rpartition("=")[2] for line in terminal.lines()] == list(map(str, range(WAITING)))


def test_closing_the_log_takes_seconds_although_the_disk_is_full(begin: Begin, terminal: Terminal) -> None:
    log = begin()
    replace(terminal, Path("/dev/full"))
    log.logger.info("x")
    log.handler.close()
    log.finish()


# ---- limits, and the agent's own file


def test_lines_beyond_the_limit_are_counted(begin: Begin) -> None:
    log = begin()
    for _ in range(SUBJECT_LINES + 5):
        log.logger.info("closing pid=%d reason=%r", 7, "pid=8 account=evil")
    log.logger.info("closing pid=%d reason=%r", 8, "garbage")
    log.logger.info("listening")
    texts = [text for _, text in log.events()]
    assert len([text for text in texts if text.startswith("closing pid=7")]) == SUBJECT_LINES
    assert texts[SUBJECT_LINES - 1].endswith("(more like this are left out for a minute)")
    assert texts[SUBJECT_LINES:] == ["closing pid=8 reason='garbage'", "listening", "log left_out=5 of='closing' pid=7"]


def test_who_asks_for_everything_gets_everything(begin: Begin) -> None:
    log = begin(everything=True)
    for _ in range(SUBJECT_LINES + 5):
        log.logger.info("reload")
    assert len(log.events()) == SUBJECT_LINES + 5
