"""Which program is the keyring: the one that owns the Secret Service's name on the D-Bus session."""

import os
from importlib import import_module
from typing import Any, Final, cast

from auth_agent import remedies
from auth_agent.cli.doctor.finding import WARNING, Finding
from auth_agent.host.session_bus import VARIABLE, session_bus_address
from auth_agent.worker.keyring_program import program_of

_NAME: Final = "org.freedesktop.secrets"
_TIMEOUT: Final = 3.0  # s


class KeyringUnknownError(Exception):
    """It is not known which program is the keyring; the message says why."""


def keyring_owner() -> str | None:
    """Return the program that is the keyring, such as `gnome-keyring-daemon (process 812)`.

    Returns None if none runs now; D-Bus may start one when it is used.

    Raises:
        KeyringUnknownError: there is no D-Bus session, or it does not respond; the message says which.

    """
    address = session_bus_address()
    if address is None:
        raise KeyringUnknownError(f"{VARIABLE} is not set, and there is no user bus")
    # Linux's, and without types.
    jeepney: Any = import_module("jeepney")
    blocking: Any = import_module("jeepney.io.blocking")
    bus = jeepney.DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    try:
        with blocking.open_dbus_connection(address, auth_timeout=_TIMEOUT) as connection:

            def call(method: str) -> tuple[str, object]:
                reply = connection.send_and_get_reply(
                    jeepney.new_method_call(bus, method, "s", (_NAME,)), timeout=_TIMEOUT
                )
                return reply.header.message_type.name, reply.body[0]

            _, has_owner = call("NameHasOwner")
            kind, pid = call("GetConnectionUnixProcessID") if has_owner else ("error", None)
    except TimeoutError as error:
        raise KeyringUnknownError(f"the D-Bus session did not respond within {_TIMEOUT:g} s") from error
    # Some are jeepney's own, for an address that is not valid.
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise KeyringUnknownError(f"the D-Bus session can't be used: {reason}") from error
    if kind == "error":
        return None
    return f"{program_of(cast('int', pid)) or 'a program'} (process {pid})"


def judge_bus() -> Finding | None:
    """Return a finding if the D-Bus session is elsewhere than its variable says, since its bus has ended."""
    given, address = os.environ.get(VARIABLE), session_bus_address()
    if not given or address is None or address in {given, *given.split(";")}:
        return None
    text = f"the D-Bus session of {VARIABLE} has ended; the agent uses {address}"
    return Finding("environment", WARNING, text, (remedies.unset_variable(VARIABLE),))
