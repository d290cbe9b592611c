"""The browser of whoever sits at this machine, if there is one."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator

from auth_agent.cli.detached import Detached
from auth_agent.urls import InvalidURLError, check_url

# What stands for the address in `$BROWSER`, as Python's `webbrowser` and others have it.
_ADDRESS = "%s"
# Long enough for a launcher that finds no browser to say so, in seconds.
_QUICK = 1.0


def command() -> list[str] | None:
    """How a browser is opened here: a program and its arguments, `%s` for the address; None: there is none.

    The first of `$BROWSER` (separated by colons) that is installed, else what opens the desktop's own.
    """
    return next(_commands(), None)


def open_address(address: str) -> bool:
    """Open a browser at that address; whether one seems to have opened.

    Only https and, on this machine, http: what else an address may start is never asked for by a login.
    """
    try:
        check_url(address)
    except InvalidURLError:
        return False
    chosen = command()
    if chosen is None:
        return False
    try:
        started = Detached([part.replace(_ADDRESS, address) for part in chosen])
    except OSError:
        return False
    # A browser that is its launcher's own process lives on; who fails does so soon.
    return not started.ends_within(_QUICK) or started.returncode == 0


def _commands() -> Iterator[list[str]]:
    for wanted in os.environ.get("BROWSER", "").split(os.pathsep):
        try:
            words = [word for word in shlex.split(wanted) if word != "&"]  # "in the background": it always is
        except ValueError:
            continue
        if words and (program := shutil.which(words[0])):
            arguments = words[1:] if any(_ADDRESS in word for word in words[1:]) else [*words[1:], _ADDRESS]
            yield [os.path.abspath(program), *arguments]  # noqa: PTH100 -- pathlib would follow links, by whose name some programs go
    yield from ([program, _ADDRESS] for name in _launchers() if (program := shutil.which(name)))


def _launchers() -> list[str]:
    if sys.platform == "darwin":
        remote = os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY")
        return [] if remote else ["open"]  # it would open on a screen that nobody looks at
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ["wslview", *(["xdg-open"] if has_display else [])]  # the former is Windows' own browser, for its Linux
