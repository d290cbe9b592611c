"""Desktop notifications: the Desktop Notifications Specification over D-Bus, and macOS's own."""

import subprocess
import sys
from importlib import import_module
from typing import Any, Final

from auth_agent.host.session_bus import session_bus_address
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.vocabulary import FAILED, MISSING

_NAME: Final = "org.freedesktop.Notifications"
_PATH: Final = "/org/freedesktop/Notifications"
_TIMEOUT: Final = 4.0  # s
_OSASCRIPT: Final = "/usr/bin/osascript"
# The arguments are data: nothing of them is AppleScript.
_SCRIPT: Final = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"


def notify(summary: str, body: str) -> None:
    """Show a notification.

    Raises:
        CallFailure: there is no notification service, or it failed.

    """
    if sys.platform == "darwin":
        notify_macos(summary, body)
    else:
        _notify_desktop(summary, body)


def notify_macos(summary: str, body: str, osascript: str = _OSASCRIPT) -> None:
    """Show a notification of macOS, as `notify` does."""
    command = [osascript, "-e", _SCRIPT, summary, body]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT)  # noqa: S603 -- macOS's own program
    except (OSError, subprocess.SubprocessError) as error:
        raise CallFailure(FAILED, f"osascript failed: {type(error).__name__}") from error


def _notify_desktop(summary: str, body: str) -> None:
    jeepney: Any = import_module("jeepney")  # it has no types
    blocking: Any = import_module("jeepney.io.blocking")
    address = session_bus_address()
    if address is None:
        raise CallFailure(MISSING, "there is no D-Bus session, and so no desktop")
    service = jeepney.DBusAddress(_PATH, _NAME, _NAME)
    # The body is markup where the service supports that.
    escaped = body.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    actions: list[str] = []
    hints = {"urgency": ("y", 1)}  # normal
    arguments = ("auth-agent", 0, "dialog-password", summary, escaped, actions, hints, -1)
    message = jeepney.new_method_call(service, "Notify", "susssasa{sv}i", arguments)
    try:
        with blocking.open_dbus_connection(address, auth_timeout=_TIMEOUT) as connection:
            reply = connection.send_and_get_reply(message, timeout=_TIMEOUT)
    except (OSError, ValueError, RuntimeError, EOFError) as error:  # some are jeepney's own
        raise CallFailure(FAILED, f"the D-Bus session can't be used: {type(error).__name__}") from error
    if reply.header.message_type.name == "error":
        raise CallFailure(MISSING, "there is no notification service on the D-Bus session")
