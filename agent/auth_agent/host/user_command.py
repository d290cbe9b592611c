"""Runs a command of the user's own, which the configuration names, outside of the agent's unit."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from auth_agent.host.environment import command_environment

# Seconds; a command may send a message over the network.
_LIMIT: Final = 60.0


async def run_command(command: Sequence[str], event: Mapping[str, object]) -> None:
    """Run the command with the event on its standard input, as JSON; kill it if it takes too long.

    Raises:
        OSError: it can't be started, it failed, or it took too long.

    """
    try:
        with anyio.fail_after(_LIMIT):
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
        raise OSError(f"{command[0]} did not end within {_LIMIT:g} s") from error
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
