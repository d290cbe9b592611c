"""A person is waited for: what is shown meanwhile, what is pasted, and how the login ends."""

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import click

from auth_agent.cli.screen import say, say_remedies
from auth_agent.printable import printable
from auth_agent_client import Agent
from auth_agent_client.errors import AgentError, InvalidRequest

_TICK: Final = 1.0  # s, between two looks at the clock
# For the end of a login that was cancelled: a code may be with the provider, and its answer is waited for.
_CANCEL_PATIENCE: Final = 35.0  # s
# For what comes after a person has logged in at the last moment: the exchange, the checks, the keyring.
_LAST_STEPS: Final = 120.0  # s
# Longer than any address; what is longer was not meant for here.
_LONGEST_LINE: Final = 65_536
_ERASE: Final = (0x08, 0x7F)
_KILL: Final = 0x15


class Ending:
    """How a login ends, which a thread waits for."""

    def __init__(self, agent: Agent, login_id: object, expires_at: float) -> None:
        """Wait for that login's end, which comes by `expires_at` if nobody logs in (Unix time in seconds)."""
        self._agent = agent
        self._asked = {"login_id": login_id, "timeout": max(0.0, expires_at - time.time()) + _LAST_STEPS}
        self._record: Mapping[str, object] | None = None
        self._error: AgentError | None = None
        self._reading, self._writing = os.pipe()
        # A daemon: an agent that hangs must not keep the command from ending.
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """What becomes readable at the end."""
        return self._reading

    def within(self, seconds: float) -> bool:
        """Wait so long for the end; whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def record(self) -> Mapping[str, object]:
        """The account's record. Raises the `AgentError` for which no session came of it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._record or {}

    def _wait(self) -> None:
        try:
            self._record = self._agent.call("login_result", self._asked)
        except AgentError as error:
            self._error = error
        finally:
            os.close(self._writing)


def wait(agent: Agent, login_id: object, expires_at: float, *, takes_address: bool) -> Mapping[str, object]:
    """Wait until the login is over; the account's record.

    Args:
        agent: the agent, on whose connection the login was begun.
        login_id: the login.
        expires_at: Unix time in seconds, when it ends by itself.
        takes_address: whether the address that the browser ended on may be entered here.

    Raises:
        AgentError: no session came of it; the text says why.
        KeyboardInterrupt: a person has cancelled it, and it is over.

    """
    ending = Ending(agent, login_id, expires_at)
    try:
        with _typed(wanted=takes_address) as lines:
            _watch(ending, lines, expires_at, lambda line: hand_in(agent, login_id, line))
        return ending.record()
    except KeyboardInterrupt:
        with suppress(AgentError):
            agent.call("login_cancel", {"login_id": login_id})
        if not ending.within(_CANCEL_PATIENCE):
            raise
        try:
            return ending.record()  # it was too late
        except AgentError:
            raise KeyboardInterrupt from None


def _watch(ending: Ending, lines: "Lines | None", expires_at: float, take: Callable[[str], None]) -> None:
    """Show how long is left, and take what is pasted, until the login is over."""
    live = sys.stderr.isatty()
    if not live:
        say(f"Waiting for the login, {_left(expires_at)} at most.")
    try:
        while True:
            if live:
                _show(f"Waiting for the login: {_left(expires_at)} left, Ctrl-C cancels.")
            watched = [ending.fileno(), *([lines.fileno()] if lines is not None else [])]
            ready, _, _ = select.select(watched, [], [], _TICK if live else None)
            if ending.fileno() in ready:
                return
            if lines is not None and ready:
                for line in lines.read():
                    take(line)
                if lines.ended:
                    lines = None
    finally:
        if live:
            _show("")


def hand_in(agent: Agent, login_id: object, line: str) -> None:
    """Give the agent what was pasted. It isn't shown again: it holds a code."""
    if not line.strip():
        return
    try:
        agent.call("login_redirect", {"login_id": login_id, "url": line})
    except InvalidRequest as error:
        if sys.stderr.isatty():
            _show("")
        say(printable(f"{error.message[:1].upper()}{error.message[1:]}", 500), "warning")
        say_remedies(error.remedy)


def _show(text: str) -> None:
    """Put that in place of the terminal's last line."""
    click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _left(expires_at: float) -> str:
    minutes, seconds = divmod(max(0, round(expires_at - time.time())), 60)
    return f"{minutes}:{seconds:02}"


# ---- what is typed


class Lines:
    """Standard input, line by line, whole or not: a terminal is read as it is typed, and edited here.

    A terminal's own editing would cut an address off where its line's buffer ends (1,024 bytes on macOS).
    """

    def __init__(self) -> None:
        self.ended = False
        self._line = bytearray()

    def fileno(self) -> int:
        """What becomes readable when there is more."""
        return sys.stdin.fileno()

    def read(self) -> list[str]:
        """The lines that have come to their ends."""
        try:
            data = os.read(self.fileno(), 4096)
        except OSError:
            data = b""
        self.ended = not data
        lines: list[str] = []
        for byte in data or b"\n":
            if byte in b"\r\n":
                lines.append(self._line.decode("utf-8", "replace"))
                self._line.clear()
            elif byte in _ERASE:
                del self._line[-1:]
            elif byte == _KILL or len(self._line) >= _LONGEST_LINE:
                self._line.clear()
            else:
                self._line.append(byte)
        return lines


@contextmanager
def _typed(*, wanted: bool) -> Generator[Lines | None, None, None]:
    """What is typed or piped in, without an echo; None where nothing is wanted, or can be."""
    try:
        descriptor = sys.stdin.fileno()
        is_terminal = os.isatty(descriptor)
        # In the background, to read from a terminal is to be stopped.
        usable = wanted and (not is_terminal or os.tcgetpgrp(descriptor) == os.getpgrp())
    except (OSError, ValueError, AttributeError):  # it is closed, or was never there
        usable, is_terminal, descriptor = False, False, -1
    if not usable or not is_terminal:
        yield Lines() if usable else None
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Lines()
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
