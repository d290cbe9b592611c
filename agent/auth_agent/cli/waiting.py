"""Wait for a person to log in: show the time left, and read a pasted URL."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import parse_qs, urlsplit

import click

from auth_agent.cli.screen import print_message, print_remedies
from auth_agent.printable import printable
from auth_agent_client import Login, Record
from auth_agent_client.errors import AgentError, InvalidRequest

# s, after which a login that is not over may have failed at the provider, which then tells nobody but the person.
_HINT_AFTER: Final = 30.0
_TICK: Final = 1.0  # s, between two updates of the time left
# For the end of a cancelled login: its code may be sent already, and the provider's response is awaited.
_CANCEL_PATIENCE: Final = 35.0  # s
# Longer than any URL.
_LONGEST_LINE: Final = 65_536
_ERASE: Final = (0x08, 0x7F)
_KILL: Final = 0x15


def wait(login: Login, host: str) -> Record:
    """Wait until the login at that host is over, and return the account's record.

    Raises:
        AgentError: the login failed; the message says why.
        KeyboardInterrupt: a person cancelled the login, and it is over.

    """
    try:
        # If the browser is on another machine, the URL that it ended on can be pasted here.
        with _open_input(wanted=login.authorization_url is not None) as input_lines:
            _watch(login, host, input_lines)
        return login.result()
    except KeyboardInterrupt:
        with suppress(AgentError):
            login.cancel()
        try:
            return login.result(timeout=_CANCEL_PATIENCE)  # the login had succeeded already
        except AgentError:
            raise KeyboardInterrupt from None


def _watch(login: Login, host: str, lines: "Lines | None") -> None:
    """Show the time left, and submit pasted lines, until the login is over or its deadline has passed."""
    live, progress = sys.stderr.isatty(), _Progress(login, host)
    if not live:
        print_message(f"Waiting for the login, {_left(login.expires_at)} at most.")
    try:
        while (left := login.deadline - time.monotonic()) > 0:
            if live:
                progress.show()
            watched: list[Login | Lines] = [login, *([lines] if lines is not None else [])]
            ready, _, _ = select.select(watched, [], [], min(_TICK, left) if live else left)
            if login in ready:
                return
            if lines is not None and ready:
                for line in lines.read():
                    if hand_in(login, line):
                        progress.awaited = host  # which the agent asks for the tokens now
                if lines.ended:
                    lines = None
    finally:
        if live:
            _show("")


class _Progress:
    """The line of a terminal that shows what is `awaited`, and for how long at most."""

    def __init__(self, login: Login, host: str) -> None:
        self.awaited = "the login"
        self._expires_at = login.expires_at
        self._hint, self._hint_at = error_hint(login.authorization_url, host), time.monotonic() + _HINT_AFTER

    def show(self) -> None:
        """Show the time left; once, after a while, what a person may have to correct."""
        if self._hint and time.monotonic() >= self._hint_at:
            _show("")
            print_message(self._hint)
            self._hint = ""
        _show(f"Waiting for {self.awaited}: {_left(self._expires_at)} left, Ctrl-C cancels.")


def error_hint(authorization_url: str | None, host: str) -> str:
    """Return what to correct if the provider's page has an error, which only a person sees; "" without such a page."""
    if authorization_url is None:
        return ""
    (redirect_uri,) = parse_qs(urlsplit(authorization_url).query).get("redirect_uri") or ("",)
    causes = ["the client ID may be wrong"]
    if redirect_uri:
        causes.append(f"the client may not allow the callback URL {printable(redirect_uri)}")
    return f"If the page of {host} shows an error: {', or '.join(causes)}."


def hand_in(login: Login, line: str) -> bool:
    """Send a pasted URL to the agent, and return whether it is this login's.

    It is not printed: it contains an authorization code.
    """
    if not line.strip():
        return False
    try:
        login.redirect(line)
    except InvalidRequest as error:
        if sys.stderr.isatty():
            _show("")
        print_message(printable(f"{error.message[:1].upper()}{error.message[1:]}", 500), "warning")
        print_remedies(error.remedy)
        return False
    return True


def _show(text: str) -> None:
    """Replace the terminal's current line."""
    click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _left(expires_at: float) -> str:
    minutes, seconds = divmod(max(0, round(expires_at - time.time())), 60)
    return f"{minutes}:{seconds:02}"


# ---- input


class Lines:
    """Reads standard input by line without blocking, and does the line editing itself.

    The terminal's own line editing would cut off a long URL (at 1,024 bytes on macOS).
    """

    def __init__(self) -> None:
        self.ended = False
        self._line = bytearray()

    def fileno(self) -> int:
        """Return the descriptor of standard input, for `select`."""
        return sys.stdin.fileno()

    def read(self) -> list[str]:
        """Return the lines that are complete now."""
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
def _open_input(*, wanted: bool) -> Generator[Lines | None, None, None]:
    """Yield the lines of standard input, read without echo; None if it is not `wanted` or not readable."""
    try:
        descriptor = sys.stdin.fileno()
        is_terminal = os.isatty(descriptor)
        # A background process that reads from its terminal is stopped by SIGTTIN.
        usable = wanted and (not is_terminal or os.tcgetpgrp(descriptor) == os.getpgrp())
    except (OSError, ValueError, AttributeError):  # standard input is closed or missing
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
