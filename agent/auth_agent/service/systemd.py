"""The agent as a service of systemd's user manager: a socket that starts it, and the service."""

import getpass
import re
import signal
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from auth_agent.host.private_directory import make_directory
from auth_agent.host.program import read_unit
from auth_agent.service.manager import MARK, Program, Service, ServiceError, ServiceState, run
from auth_agent.service.program import named_store
from auth_agent_client.paths import config_directory, runtime_directory

SOCKET: Final = "auth-agent.socket"
SERVICE: Final = "auth-agent.service"
_SYSTEMCTL: Final = ("systemctl", "--user")
_PROPERTIES: Final = "ActiveState,FragmentPath,MainPID,NRestarts,TriggeredBy,UnitFileState"
# Where loginctl(1) notes for whom the user manager runs from boot on.
_LINGER: Final = Path("/var/lib/systemd/linger")


# Where an administrator or a package enables units for all users.
_SYSTEM_DIRECTORIES: Final = (Path("/etc/systemd/user"), Path("/usr/lib/systemd/user"))

# Where systemd looks for a command without a path (systemd.service(5), Command lines).
_SEARCHED: Final = (Path("/usr/local/bin"), Path("/usr/bin"))


class Systemd:
    """The user manager. The units of an installed package are used where they are."""

    name = "systemd"

    def __init__(self, directory: Path | None = None, templates: Path | None = None) -> None:
        """Use the user's own directory of units, and the units of this installation as templates."""
        self._directory = directory or Path(config_directory()).parent / "systemd" / "user"
        self._templates = templates or Path(sysconfig.get_path("data"), "share", "auth-agent", "systemd")
        self._files = tuple(self._directory / name for name in (SOCKET, SERVICE))

    @classmethod
    def is_available(cls) -> bool:
        """Return whether a user manager answers."""
        try:
            run([*_SYSTEMCTL, "show-environment"])
        except ServiceError:
            return False
        return True

    @classmethod
    def seems_to_run(cls) -> bool:
        """Return whether there is a user manager, by its socket: no program is run."""
        runtime = runtime_directory()
        return runtime is not None and Path(runtime, "systemd", "private").exists()

    def has_files(self) -> bool:
        """Return whether the units are there, by their files: no program is run."""
        return any((directory / SOCKET).exists() for directory in (self._directory, *_SYSTEM_DIRECTORIES))

    def is_enabled(self) -> bool:
        """Return whether the socket is there at each login, by its link: no program is run."""
        directories = (self._directory, *_SYSTEM_DIRECTORIES)
        return any((directory / "sockets.target.wants" / SOCKET).is_symlink() for directory in directories)

    def store(self) -> str | None:
        """Return the store that the unit in the user's directory names, if it names one."""
        text = self._files[1].read_text("utf-8", "replace") if self._files[1].exists() else ""
        command = re.search(r"(?m)^ExecStart=(.*)$", text)
        return None if command is None else named_store(command[1].split())

    def state(self) -> ServiceState:
        """Return the service's state."""
        socket, service = self._show(SOCKET), self._show(SERVICE)
        pid = int(service.get("MainPID", "0") or 0)
        enabled = "enabled" in (socket.get("UnitFileState"), service.get("UnitFileState"))
        return ServiceState(
            manager=self.name,
            installed=bool(service.get("FragmentPath")),
            enabled=enabled,
            at_boot=enabled and (_LINGER / getpass.getuser()).exists(),
            active=service.get("ActiveState", "unknown"),
            pid=pid or None,
            restarts=int(service.get("NRestarts", "0") or 0),
            files=tuple(Path(unit["FragmentPath"]) for unit in (socket, service) if unit.get("FragmentPath")),
            log=self.log_command(100, follow=False),
        )

    def service_of(self, pid: int) -> Service | None:
        """Return the service whose main process that is, by its control group and the manager's word."""
        try:
            name = read_unit(pid)
        except OSError:
            return None
        if name is None or not name.endswith(".service"):  # a terminal's scope, for one, also has other processes
            return None
        unit = self._show(name)
        if unit.get("MainPID") != str(pid):  # for one, a service of the machine's own manager
            return None
        sockets = [each for each in unit.get("TriggeredBy", "").split() if each.endswith(".socket")]
        return Service(name, self._deactivation(sockets))

    def waiting_service(self) -> Service | None:
        """Return the installed service if it doesn't run, and its socket listens; else None."""
        if self._show(SERVICE).get("ActiveState") not in ("inactive", "failed"):
            return None
        deactivation = self._deactivation([SOCKET])
        return Service(SERVICE, deactivation) if deactivation else None

    def stop(self, name: str) -> None:
        """Stop that service: even one with Restart=always stays stopped. Return when it has ended."""
        run([*_SYSTEMCTL, "stop", "--", name])

    def send(self, name: str, signum: signal.Signals) -> None:
        """Send the main process of that service a signal."""
        # Its name is --kill-whom since systemd 252, which takes both.
        run([*_SYSTEMCTL, "kill", "--kill-who=main", f"--signal={signum.name}", "--", name])

    def write(self, program: Program, *, replace: bool) -> list[Path]:
        """Write the units into the user's directory, unless a package has installed them; return those that changed.

        Raises:
            ServiceError: a unit of that name was written by something else, and may not be replaced.

        """
        if self._is_packaged(program):
            return []
        contents = {
            self._files[0]: _marked(self._template(SOCKET)),
            self._files[1]: unit(_marked(self._template(SERVICE)), program),
        }
        present = {file: file.read_text("utf-8", "replace") for file in contents if file.exists()}
        for file, content in present.items():
            if MARK not in content and not replace:
                raise ServiceError(f"{file} was not written by this command, and was not changed")
        changed = [file for file, content in contents.items() if present.get(file) != content]
        make_directory(self._directory)
        for file in changed:
            file.write_text(contents[file], "utf-8")
        if changed:
            run([*_SYSTEMCTL, "daemon-reload"])
        return changed

    def enable(self) -> None:
        """Have the socket at each login, and from now on; it starts the agent when a program connects."""
        run([*_SYSTEMCTL, "enable", "--now", SOCKET])

    def reload(self) -> None:
        """Start a running agent again with its new unit; programs wait in the socket's queue meanwhile."""
        run([*_SYSTEMCTL, "try-restart", SERVICE])

    def linger(self) -> None:
        """Have the user manager from boot on. May ask for the administrator's consent, by polkit."""
        run(["loginctl", "enable-linger"])

    def disable(self) -> None:
        """Stop the service and its socket, and have them no more."""
        run([*_SYSTEMCTL, "disable", "--now", SOCKET, SERVICE])

    def remove(self) -> list[Path]:
        """Remove the units that `write` wrote; return them."""
        own = [file for file in self._files if file.exists() and MARK in file.read_text("utf-8", "replace")]
        for file in own:
            file.unlink()
        run([*_SYSTEMCTL, "daemon-reload"])
        return own

    def log_command(self, lines: int, *, follow: bool) -> tuple[str, ...]:
        """Return the command that shows the journal of the service."""
        return ("journalctl", "--user", f"--unit={SERVICE}", f"--lines={lines}", *(["--follow"] if follow else []))

    def _template(self, name: str) -> str:
        path = self._templates / name
        try:
            return path.read_text("utf-8")
        except OSError as error:
            raise ServiceError(f"{path}, a part of this installation, can't be read: {error.strerror}") from error

    def _is_packaged(self, program: Program) -> bool:
        """Return whether a package has installed units for exactly this command, outside of the user's directory."""
        fragment = self._show(SERVICE).get("FragmentPath", "")
        if not fragment or Path(fragment).is_relative_to(self._directory) or program.environment:
            return False
        commands = [program.command]
        if Path(program.command[0]).parent in _SEARCHED:
            commands.append((Path(program.command[0]).name, *program.command[1:]))
        text = Path(fragment).read_text("utf-8", "replace")
        return any(f"ExecStart={command_line(command)}\n" in text for command in commands)

    def _deactivation(self, sockets: Sequence[str]) -> tuple[str, ...]:
        """Return the command that ends those of the sockets that listen; empty if none does."""
        listening = [name for name in sockets if self._show(name).get("ActiveState") == "active"]
        return (*_SYSTEMCTL, "disable", "--now", *listening) if listening else ()

    def _show(self, name: str) -> dict[str, str]:
        lines = run([*_SYSTEMCTL, "show", f"--property={_PROPERTIES}", "--", name]).splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}


def unit(template: str, program: Program) -> str:
    """Return the service's unit for a program: the template with its command and its environment."""
    settings = [f"ExecStart={command_line(program.command)}"]
    settings += [f"Environment={quoted(f'{name}={value}')}" for name, value in program.environment.items()]
    text, count = re.subn(r"(?m)^ExecStart=.*$", lambda _: "\n".join(settings), template)
    if count != 1:
        raise ServiceError("the template of the unit has no ExecStart= line")
    return text


def command_line(command: tuple[str, ...]) -> str:
    """Return a command as ExecStart= takes it (systemd.service(5), Command lines); `$` stands for itself."""
    return " ".join(quoted(word).replace("$", "$$") for word in command)


def quoted(word: str) -> str:
    """Return a word for a unit file, where `%` begins a specifier (systemd.unit(5), systemd.syntax(7))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[A-Za-z0-9_./=:@%+,-]+", word) else f'"{escaped}"'


def _marked(template: str) -> str:
    return f"# {MARK}\n{template}"
