"""A person is waited for: what is shown meanwhile, what is pasted, and how the login ends."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import click

from auth_agent.cli.screen import say, say_remedies
from auth_agent.printable import printable
from auth_agent_client import Login, Record
from auth_agent_client.errors import AgentError, InvalidRequest

_TICK: Final = 1.0  # s, between two looks at the clock
# For the end of a login that was cancelled: a code may be with the provider, and its answer is waited for.
_CANCEL_PATIENCE: Final = 35.0  # s
# Longer than any address; what is longer was not meant for here.
_LONGEST_LINE: Final = 65_536
_ERASE: Final = (0x08, 0x7F)
_KILL: Final = 0x15


def wait(login: Login) -> Record:
    """Wait until the login is over; the account's record.

    Raises:
        AgentError: no session came of it; the text says why.
        KeyboardInterrupt: a person has cancelled it, and it is over.

    """
    try:
        # In a browser that is on another machine, the address that it ends on may be entered here.
        with _typed(wanted=login.authorization_url is not None) as lines:
            _watch(login, lines)
        return login.result()
    except KeyboardInterrupt:
        with suppress(AgentError):
            login.cancel()
        try:
            return login.result(timeout=_CANCEL_PATIENCE)  # it was too late
        except AgentError:
            raise KeyboardInterrupt from None


def _watch(login: Login, lines: "Lines | None") -> None:
    """Show how long is left, and take what is pasted, until the login is over, or is given up on."""
    live = sys.stderr.isatty()
    if not live:
        say(f"Waiting for the login, {_left(login.expires_at)} at most.")
    try:
        while (left := login.deadline - time.monotonic()) > 0:
            if live:
                _show(f"Waiting for the login: {_left(login.expires_at)} left, Ctrl-C cancels.")
            watched: list[Login | Lines] = [login, *([lines] if lines is not None else [])]
            ready, _, _ = select.select(watched, [], [], min(_TICK, left) if live else left)
            if login in ready:
                return
            if lines is not None and ready:
                for line in lines.read():
                    hand_in(login, line)
                if lines.ended:
                    lines = None
    finally:
        if live:
            _show("")


def hand_in(login: Login, line: str) -> None:
    """Give the agent what was pasted. It isn't shown again: it holds a code."""
    if not line.strip():
        return
    try:
        login.redirect(line)
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
