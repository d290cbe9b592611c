"""Open a URL in a browser on this machine."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator

from auth_agent.cli.detached import Detached
from auth_agent.urls import InvalidURLError, check_url

# The placeholder for the URL in `$BROWSER`, as in Python's `webbrowser`.
_URL = "%s"
# Opens the browser of Windows, from WSL.
_OF_WINDOWS = "wslview"
# Seconds in which a launcher that finds no browser exits with an error.
_QUICK = 1.0


def command() -> list[str] | None:
    """Return the command that opens a browser, with `%s` for the URL; None if there is none.

    It is the first entry of `$BROWSER` (separated by colons) that is installed, else the desktop's launcher.
    """
    return next(_commands(), None)


def open_url(url: str) -> bool:
    """Open the URL in a browser, and return whether one seems to have opened.

    Only https URLs and http URLs of this machine are opened: other schemes can start any program.
    """
    try:
        check_url(url)
    except InvalidURLError:
        return False
    words = command()
    if words is None:
        return False
    try:
        process = Detached([part.replace(_URL, url) for part in words])
    except OSError:
        return False
    # The launcher may be the browser itself, which keeps running; a launcher that fails exits soon.
    return not process.ends_within(_QUICK) or process.returncode == 0


def is_elsewhere() -> bool:
    """Whether the browser may be of another system, which perhaps can't reach the ports of this one."""
    words = command()
    return _is_remote() or (words is not None and os.path.basename(words[0]) == _OF_WINDOWS)  # noqa: PTH119 -- as in `_commands`


def _is_remote() -> bool:
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))


def _commands() -> Iterator[list[str]]:
    for entry in os.environ.get("BROWSER", "").split(os.pathsep):
        try:
            words = [word for word in shlex.split(entry) if word != "&"]  # it always runs in the background
        except ValueError:
            continue
        if words and (program := shutil.which(words[0])):
            arguments = words[1:] if any(_URL in word for word in words[1:]) else [*words[1:], _URL]
            yield [os.path.abspath(program), *arguments]  # noqa: PTH100 -- pathlib would follow links, and some programs depend on the name that they are called by
    yield from ([program, _URL] for name in _launchers() if (program := shutil.which(name)))


def _launchers() -> list[str]:
    if sys.platform == "darwin":
        return [] if _is_remote() else ["open"]  # it would open on a screen that nobody is looking at
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return [_OF_WINDOWS, *(["xdg-open"] if has_display else [])]
