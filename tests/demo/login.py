"""The login, by the real command and on the provider's own pages."""

import contextlib
import queue
import subprocess
import threading
from collections.abc import Callable, Generator
from typing import Final

from auth_agent.cli import browser
from tests.demo.ending import Ending
from tests.demo.screen import Screen
from tests.demo.stage import ACCOUNT, AUTH_AGENT, CLIENT_ID, Stage

_PAUSE: Final = 0.2  # s, between two checks for the end of the demo
_STOP_TIMEOUT: Final = 5.0  # s


class LoginFailed(Exception):
    """The command failed."""


def has_browser() -> bool:
    """Return whether a person can log in here; otherwise a script does."""
    return browser.command() is not None


def log_in(stage: Stage, screen: Screen, ending: Ending) -> None:
    """Log in, in the browser if there is one, and otherwise by a script.

    Raises:
        LoginFailed: nobody is logged in.

    """
    by_hand = has_browser()
    account = ["--issuer", stage.provider.issuer, "--client-id", CLIENT_ID, "--redirect-port", "0"]
    command = ["login", ACCOUNT, *account, *([] if by_hand else ["--no-browser"])]
    screen.detail(f"$ auth-agent {' '.join(command)}")
    has_entered = False
    with _running([*AUTH_AGENT, *command], stage) as next_line:
        output: list[str] = []
        while (line := next_line()) is not None:
            ending.check()
            if not line:
                continue
            output.append(line)
            if by_hand:
                screen.detail(line)
            elif line.startswith(stage.provider.url) and not has_entered:
                has_entered = True
                stage.provider.enter(line).raise_for_status()
            elif line.startswith("Logged in"):
                screen.detail(line)
        if not any(printed_line.startswith("Logged in") for printed_line in output):
            raise LoginFailed(output[-1] if output else "the login ended without a word")


@contextlib.contextmanager
def _running(command: list[str], stage: Stage) -> Generator[Callable[[], str | None]]:
    """Run a command; yield a function that returns its next line: "" after a pause without one, None at the end."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    process = subprocess.Popen(
        command,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # Ctrl-C is the demo's
    )
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.put(line.strip())
        lines.put(None)

    def next_line() -> str | None:
        try:
            return lines.get(timeout=_PAUSE)
        except queue.Empty:
            return ""

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield next_line
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        output.close()
