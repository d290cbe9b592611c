"""What `auth-agent service` needs of a service manager, and how its commands are run."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from auth_agent.printable import printable
from auth_agent_client.paths import runtime_directory
from auth_agent_client.remedy import Remedy

# Seconds for one command of the manager: to start a unit it waits until the agent serves.
_TIMEOUT: Final = 60.0
# A file with this line was written by this package, which may replace and remove it.
MARK: Final = "Written when the service was installed; removed when it is uninstalled."


class ServiceError(Exception):
    """The service manager failed, or something is in the way; the message is printable.

    Args:
        reason: what happened.
        remedy: what helps.

    """

    def __init__(self, reason: str, *remedy: Remedy) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Program:
    """What the manager starts: the command, and the variables that it needs in its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of the installed service.

    `manager`: its name for people. `installed`: whether the files are there. `enabled`: whether it is there at each
    login. `at_boot`: whether it is there before a login, too. `active`: the manager's word for the agent's state.
    `pid`: of the agent; None if it doesn't run. `restarts`: how often the manager restarted it. `files`: its files.
    `log`: the command that shows the log.
    """

    manager: str
    installed: bool
    enabled: bool
    at_boot: bool
    active: str
    pid: int | None
    restarts: int
    files: tuple[Path, ...]
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A service of an agent.

    `name`: as the manager calls it. `deactivation`: the command after which no program that connects starts it; empty
    if none does.
    """

    name: str
    deactivation: tuple[str, ...] = ()


class Manager(Protocol):
    """A service manager: systemd's user manager, or launchd. Each method raises a `ServiceError`."""

    name: str

    @classmethod
    def seems_to_run(cls) -> bool:
        """Return whether the manager is there, without running a program."""
        ...

    def has_files(self) -> bool:
        """Return whether the service's files are there, without running a program."""
        ...

    def is_enabled(self) -> bool:
        """Return whether the service is there at each login, without running a program."""
        ...

    def store(self) -> str | None:
        """Return the store that the service's own files name, if they name one: earlier versions named all stores."""
        ...

    def state(self) -> ServiceState:
        """Return the service's state."""
        ...

    def service_of(self, pid: int) -> Service | None:
        """Return the service whose main process that is, also one of another name; None if there is none."""
        ...

    def waiting_service(self) -> Service | None:
        """Return the installed service if it doesn't run, and starts when a program connects; else None."""
        ...

    def stop(self, name: str) -> None:
        """Stop that service until a program or a person starts it again."""
        ...

    def send(self, name: str, signum: signal.Signals) -> None:
        """Send the main process of that service a signal."""
        ...

    def write(self, program: Program, *, replace: bool) -> list[Path]:
        """Write the service's files, and return those that changed.

        `replace`: also files that something else wrote.
        """
        ...

    def enable(self) -> None:
        """Have the service at each login, and from now on."""
        ...

    def reload(self) -> None:
        """Start a running agent again, if its service has changed."""
        ...

    def linger(self) -> None:
        """Have the service from boot on, before and after the user's sessions."""
        ...

    def disable(self) -> None:
        """Stop the service, and have it no more."""
        ...

    def remove(self) -> list[Path]:
        """Remove the files that `write` wrote; return them."""
        ...

    def log_command(self, lines: int, *, follow: bool) -> tuple[str, ...]:
        """Return the command that shows the last lines of the log."""
        ...


def run(command: Sequence[str]) -> str:
    """Run a command of the service manager; return its output.

    Raises:
        ServiceError: it is missing, failed, or hangs; with what it printed.

    """
    try:
        done = subprocess.run(  # noqa: S603 -- a program of the service manager, without a shell
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"{' '.join(command)} did not end within {_TIMEOUT:g} s") from error
    except OSError as error:
        raise ServiceError(f"{command[0]} can't be run: {error.strerror}") from error
    output, errors = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode != 0:
        said = printable(errors.strip() or output.strip(), 500) or f"exit code {done.returncode}"
        raise ServiceError(f"{' '.join(command)} failed: {said}")
    return output


def _environment() -> dict[str, str]:
    """Return this environment with English messages, and with the bus where systemd puts it."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    runtime = runtime_directory()
    return environment if runtime is None else {**environment, "XDG_RUNTIME_DIR": runtime}
