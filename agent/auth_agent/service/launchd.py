"""The agent as a launch agent of macOS: one property list, with the socket that starts the agent.

Never run on a Mac: tested down to the command lines of launchctl(1).
"""

import os
import plistlib
import re
import signal
import sysconfig
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

from auth_agent.host.private_directory import make_directory
from auth_agent.service.manager import MARK, Program, Service, ServiceError, ServiceState, run
from auth_agent.service.program import default_socket, named_store
from auth_agent_client.paths import home_directory

LABEL: Final = "auth-agent"
SOCKET_NAME: Final = "agent"
# A key of our own; launchd ignores those that it doesn't know.
_COMMENT: Final = "Comment"


class Launchd:
    """launchd's domain of the user's graphical session."""

    name = "launchd"

    def __init__(self, home: Path | None = None, template: Path | None = None) -> None:
        """Use the launch agents of that home directory, and the property list of this installation as a template."""
        home = home or Path(home_directory())
        self._file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self._log = home / "Library" / "Logs" / f"{LABEL}.log"
        self._template = template or Path(
            sysconfig.get_path("data"), "share", "auth-agent", "launchd", f"{LABEL}.plist"
        )
        self._domain = f"gui/{os.getuid()}"

    @classmethod
    def seems_to_run(cls) -> bool:
        """Return whether there is a service manager: launchd always runs."""
        return True

    def has_files(self) -> bool:
        """Return whether the property list is there: no program is run."""
        return self._file.exists()

    def is_enabled(self) -> bool:
        """Return whether the agent is there at each login: what is in this directory is loaded then."""
        return self.has_files()

    def store(self) -> str | None:
        """Return the store that the property list names, if it names one."""
        try:
            arguments: object = plistlib.loads(self._file.read_bytes()).get("ProgramArguments")
        except (FileNotFoundError, plistlib.InvalidFileException, ExpatError):
            return None
        return named_store(list(map(str, arguments))) if isinstance(arguments, list) else None  # pyright: ignore[reportUnknownArgumentType] -- converted to strings, whatever they are

    def state(self) -> ServiceState:
        """Return the service's state."""
        listed = self._listed()
        pid = None if listed is None else self._pid(listed)
        return ServiceState(
            manager=self.name,
            installed=self._file.exists(),
            enabled=listed is not None,
            at_boot=False,
            active="not loaded" if listed is None else "waiting" if pid is None else "running",
            pid=pid,
            restarts=0,
            files=(self._file,) if self._file.exists() else (),
            log=self.log_command(100, follow=False),
        )

    def service_of(self, pid: int) -> Service | None:
        """Return this agent's service if that is its process."""
        listed = self._listed()
        if listed is None or self._pid(listed) != pid:
            return None
        return self._service()

    def waiting_service(self) -> Service | None:
        """Return the service if it is loaded, and doesn't run; else None."""
        listed = self._listed()
        return self._service() if listed is not None and self._pid(listed) is None else None

    def stop(self, name: str) -> None:
        """Have launchd end its process, which does not start again before a program connects."""
        self.send(name, signal.SIGTERM)

    def send(self, name: str, signum: signal.Signals) -> None:
        """Send the process of that service a signal."""
        run(["launchctl", "kill", signum.name, self._target(name)])

    def write(self, program: Program, *, replace: bool) -> list[Path]:
        """Write the property list; return it if it changed.

        Raises:
            ServiceError: there is one that something else wrote, and it may not be replaced.

        """
        content = plistlib.dumps(self._property_list(program, default_socket()))
        present = self._file.read_bytes() if self._file.exists() else None
        if present is not None and MARK.encode() not in present and not replace:
            raise ServiceError(f"{self._file} was not written by this command, and was not changed")
        if present == content:
            return []
        # launchd makes the socket, but no directory for it.
        for file in (self._file, self._log, Path(default_socket())):
            make_directory(file.parent)
        self._file.write_bytes(content)
        return [self._file]

    def enable(self) -> None:
        """Load the property list; from now on and at each login launchd has the socket."""
        if not self._is_loaded():
            run(["launchctl", "bootstrap", self._domain, str(self._file)])

    def reload(self) -> None:
        """Load a changed property list in place of the one before."""
        self.disable()
        self.enable()

    def linger(self) -> None:
        """Refuse: a launch agent needs its user's session, where the keychain is.

        Raises:
            ServiceError: always.

        """
        raise ServiceError("launchd has no service of a user before the user has logged in")

    def disable(self) -> None:
        """Stop the agent, and have its socket no more."""
        if self._is_loaded():
            run(["launchctl", "bootout", self._target(LABEL)])

    def remove(self) -> list[Path]:
        """Remove the property list, if `write` wrote it; return it."""
        if not self._file.exists() or MARK.encode() not in self._file.read_bytes():
            return []
        self._file.unlink()
        return [self._file]

    def log_command(self, lines: int, *, follow: bool) -> tuple[str, ...]:
        """Return the command that shows the log, which is a file."""
        return ("tail", "-n", str(lines), *(["-f"] if follow else []), str(self._log))

    def _is_loaded(self) -> bool:
        return self._listed() is not None

    def _listed(self) -> str | None:
        """Return what launchd says of the service; None if it is not loaded."""
        try:
            return run(["launchctl", "list", LABEL])
        except ServiceError:
            return None

    def _pid(self, listed: str) -> int | None:
        pid = re.search(r'"PID" = ([0-9]+);', listed)
        return None if pid is None else int(pid[1])

    def _service(self) -> Service:
        return Service(LABEL, ("launchctl", "bootout", self._target(LABEL)))

    def _target(self, name: str) -> str:
        return f"{self._domain}/{name}"

    def _property_list(self, program: Program, socket: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = plistlib.loads(self._template.read_bytes())
        except (OSError, plistlib.InvalidFileException) as error:
            raise ServiceError(f"{self._template}, a part of this installation, can't be read") from error
        content[_COMMENT] = MARK
        content["ProgramArguments"] = list(program.command)
        content["Sockets"][SOCKET_NAME]["SockPathName"] = socket
        content["StandardErrorPath"] = str(self._log)
        if program.environment:
            content["EnvironmentVariables"] = dict(program.environment)
        return content
