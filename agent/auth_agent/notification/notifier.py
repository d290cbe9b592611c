"""Notifies a person that accounts need a login: by a notification of the desktop, or by a command of the user's own."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import anyio

from auth_agent import remedies
from auth_agent.host.environment import command_environment
from auth_agent.printable import printable
from auth_agent.worker.process import Worker, WorkerError
from auth_agent.worker.vocabulary import NOTIFICATIONS
from auth_agent_client.remedy import remedies_from_wire

_log = logging.getLogger(__name__)

# Seconds. A notification service answers in milliseconds; a command may send a message over the network.
_NOTIFICATION_LIMIT: Final = 5.0
_COMMAND_LIMIT: Final = 60.0
# More lines than that are not shown by most desktops.
_MOST_LINES: Final = 5


class Notifier(Protocol):
    """Notifies a person that accounts need a login."""

    async def notify(self, records: Sequence[Mapping[str, object]], command: Sequence[str]) -> None:
        """Notify of these accounts, by their records, once; a failure is logged.

        Args:
            records: the accounts' records, as `watch` returns them.
            command: the user's own command; empty: the desktop's notification.

        """
        ...


class DesktopNotifier:
    """Uses the desktop's notification service (the worker does, which has its library), or the user's command.

    The worker ends after each notification: they are rare.
    """

    def __init__(self) -> None:
        self._worker = Worker(NOTIFICATIONS)

    async def notify(self, records: Sequence[Mapping[str, object]], command: Sequence[str]) -> None:
        """Notify of these accounts once; a failure is logged."""
        accounts = ",".join(str(record.get("account")) for record in records)
        try:
            if command:
                await _run(command, records)
            else:
                await self._show(records)
        except (OSError, WorkerError) as error:
            _log.warning("notification accounts=%s error=%r", accounts, printable(str(error)))
        else:
            _log.info("notification accounts=%s", accounts)

    async def _show(self, records: Sequence[Mapping[str, object]]) -> None:
        summary, body = wording(records)
        try:
            response = await self._worker.call("notify", _NOTIFICATION_LIMIT, summary=summary, body=body)
        finally:
            await self._worker.release()
        if response.get("failure") is not None:
            raise OSError(printable(response.get("text")))


def wording(records: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Return the summary and the body of a notification: nothing that a provider wrote."""
    names = [str(record.get("account")) for record in records]
    summary = f"Log in to {names[0]} again" if len(names) == 1 else f"Log in to {len(names)} accounts again"
    commands = [
        next((remedy.line for remedy in remedies_from_wire(record.get("remedy")) if remedy.command), name)
        for record, name in zip(records, names, strict=True)
    ]
    more = len(commands) - _MOST_LINES
    lines = [*commands[:_MOST_LINES], *([f"and {more} more: {remedies.see_status().line}"] if more > 0 else [])]
    return summary, "\n".join(lines)


async def _run(command: Sequence[str], records: Sequence[Mapping[str, object]]) -> None:
    """Run the user's command with the records on its standard input, as JSON; kill it if it takes too long.

    Raises:
        OSError: it can't be started, it failed, or it took too long.

    """
    event = {"event": "login_required", "accounts": list(records)}
    try:
        with anyio.fail_after(_COMMAND_LIMIT):
            process = await anyio.open_process(
                [*_outside_of_the_unit(), *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=command_environment(),
                cwd="/",
                start_new_session=True,
            )
            async with process:
                assert process.stdin is not None  # noqa: S101 -- for the type checker: it is a pipe by default
                with contextlib.suppress(anyio.BrokenResourceError):  # a command need not read it
                    await process.stdin.send(json.dumps(event).encode())
                await process.stdin.aclose()
                returncode = await process.wait()
    except TimeoutError as error:
        raise OSError(f"{command[0]} did not end within {_COMMAND_LIMIT:g} s") from error
    except RuntimeError as error:  # no thread can be started to wait for it
        raise OSError(f"{command[0]}: {error}") from error
    if returncode != 0:
        raise OSError(f"{command[0]} ended with {returncode}")


def _outside_of_the_unit() -> list[str]:
    """Return what starts a command outside of the agent's unit, whose restrictions would hold for it too."""
    systemd_run = shutil.which("systemd-run")
    if os.environ.get("INVOCATION_ID") is None or systemd_run is None:
        return []
    return [systemd_run, "--user", "--quiet", "--collect", "--pipe", "--wait", "--"]
