"""A temporary D-Bus session with a real gnome-keyring, which can be locked, frozen and killed."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import secretstorage
from secretstorage import exceptions
from secretstorage.collection import DEFAULT_COLLECTION
from secretstorage.defines import SS_PATH
from secretstorage.util import SERVICE_IFACE, DBusAddressWrapper, format_secret, open_session

from tests.integration.agent_process import PATIENCE, until

SERVICE = "auth-agent"
PASSWORD = "test"
_UNLOCKING = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"


GNOME = {"dbus-daemon": "dbus", "gnome-keyring-daemon": "gnome-keyring"}


def missing_packages(programs: Mapping[str, str] = GNOME) -> str | None:
    """Return the command that installs what is missing for a keyring, or None; `programs` are by their packages."""
    missing = [package for program, package in programs.items() if shutil.which(program) is None]
    return f"apt-get install {' '.join(missing)}" if missing else None


def open_bus(address: str = "SESSION") -> Any:
    """Return a connection to a D-Bus session, which may be slow to respond: jeepney itself waits for a second."""
    blocking: Any = import_module("jeepney.io.blocking")  # it has no types
    return blocking.open_dbus_connection(address, auth_timeout=PATIENCE)


class KeyringSession(AbstractContextManager["KeyringSession"]):
    """A D-Bus session bus of its own, and gnome-keyring on it, unlocked."""

    # What it needs: programs, and their packages.
    programs: Mapping[str, str] = GNOME
    # What the bus starts by itself.
    activated: str | None = "/usr/share/dbus-1/services/org.freedesktop.secrets.service"

    def __init__(self, *, keyring: bool = True, entries: Mapping[str, str] | None = None) -> None:
        """Make them ready to start.

        Args:
            keyring: not so: the bus alone, without a service that could be activated on it.
            entries: what the keyring holds from the start, by username: a file that it reads, much faster than writing
                to it.

        """
        missing = missing_packages(self.programs)
        if missing is not None:
            pytest.skip(f"there is no keyring to test with: {missing}")
        self._keyring = keyring
        self._entries = entries
        self.home = Path(tempfile.mkdtemp(prefix="auth-agent-keyring-"))
        self._bus: subprocess.Popen[str] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
        }

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def _begin(self) -> None:
        for directory in ("run", "data/keyrings", "cache"):
            (self.home / directory).mkdir(parents=True, mode=0o700)
        if self._entries is not None:
            self._prepare(self._entries)
        self._start_bus(self.home / "bus")
        if self._keyring:
            self.start()

    def move_bus(self) -> None:
        """End the bus and its keyring, and start both anew where systemd's user bus is."""
        self._end_processes()
        self._start_bus(self.home / "run" / "bus")
        self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        try:
            self._end_processes()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def _end_processes(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait(PATIENCE)
        if self._bus is not None:
            self._bus.kill()  # and with it what it activated: their connections end
            self._bus.wait(PATIENCE)
            assert self._bus.stdout is not None
            self._bus.stdout.close()

    def _start_bus(self, socket: Path) -> None:
        services = self.home / "services"
        services.mkdir(exist_ok=True)
        if self._keyring and self.activated is not None:
            shutil.copy(self.activated, services)
        config = self.home / "bus.conf"
        config.write_text(
            f"""<busconfig>
            <type>session</type><listen>unix:path={socket}</listen><servicedir>{services}</servicedir>
            <policy context="default">
              <allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/>
            </policy>
            </busconfig>"""
        )
        self._bus = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
            env={**_inherited(), **self.environment, "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._bus.stdout is not None
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = self._bus.stdout.readline().strip()

    def _prepare(self, entries: Mapping[str, str]) -> None:
        """Write a keyring without a password, as gnome-keyring keeps it: in plain text, and never locked."""
        lines = ["[keyring]", "display-name=plain", "ctime=0", "mtime=0", "lock-on-idle=false", "lock-after=false"]
        for number, (username, text) in enumerate(entries.items(), 1):
            lines += [
                "",
                f"[{number}]",
                "item-type=0",
                f"display-name={username}",
                f"secret={text}",
                "mtime=0",
                "ctime=0",
            ]
            attributes = {**_attributes(username), "application": "Python keyring library"}
            for index, (name, value) in enumerate(attributes.items()):
                lines += ["", f"[{number}:attribute{index}]", f"name={name}", "type=string", f"value={value}"]
        keyrings = self.home / "data" / "keyrings"
        (keyrings / "plain.keyring").write_text("\n".join([*lines, ""]))
        (keyrings / "default").write_text("plain")

    # ---- the daemon

    def start(self, *, password: str | None = PASSWORD) -> None:
        """Start the keyring's daemon, unlocked with that password (None: locked), and wait until it responds."""
        unlocked = [] if password is None else ["--unlock"]
        self._daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--components=secrets", *unlocked],
            env=self._environment(),
            stdin=subprocess.DEVNULL if password is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if password is not None:
            assert self._daemon.stdin is not None
            with closing(self._daemon.stdin) as stdin:
                stdin.write(password.encode())
        # First that it is there: to ask for its state before that would have the bus start another one.
        until(self._has_owner)
        if self._entries is not None:
            with self._collection() as collection:
                collection.unlock()  # without a prompt, since there is no password
        until(lambda: self.is_locked() is (password is None))

    def freeze(self) -> None:
        """Stop it: it does not respond until it is thawed."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it respond again."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would; at the next call, D-Bus starts another one, which is locked."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._daemon = None

    def set_default(self, path: str) -> None:
        """Make that collection the default one."""
        with self._collection() as collection:
            service = DBusAddressWrapper(SS_PATH, SERVICE_IFACE, collection.connection)
            service.call("SetAlias", "so", "default", path)

    @contextmanager
    def swapped(self) -> Generator[None, None, None]:
        """Have another keyring meanwhile, with the same password and nothing in it."""
        keyrings, aside = self.home / "data" / "keyrings", self.home / "aside"
        self.kill()
        keyrings.rename(aside)
        keyrings.mkdir(mode=0o700)
        self.start()
        yield
        self.kill()
        keyrings.rename(self.home / "other")
        aside.rename(keyrings)
        self.start()

    def delete_default(self) -> None:
        """Delete the default keyring, so that the service has none."""
        with self._collection() as collection:
            collection.delete()

    def lock(self) -> None:
        """Lock the keyring."""
        with self._collection() as collection:
            collection.lock()

    def unlock(self) -> None:
        """Unlock it, as a desktop does when a person logs in."""
        with self._collection() as collection:
            connection = collection.connection
            session = open_session(connection)
            password = format_secret(session, PASSWORD.encode(), "text/plain")
            service = DBusAddressWrapper(SS_PATH, _UNLOCKING, connection)
            service.call("UnlockWithMasterPassword", "o(oayays)", DEFAULT_COLLECTION, password)

    def is_locked(self) -> bool | None:
        """Return whether it is locked; None while there is none."""
        try:
            with self._collection() as collection:
                return collection.is_locked()
        except exceptions.SecretStorageException:
            return None

    def _has_owner(self) -> bool:
        name = "org.freedesktop.DBus"
        return self._bus_call(name, "/", f"{name}.NameHasOwner", "string:org.freedesktop.secrets")

    def _bus_call(self, name: str, path: str, method: str, *arguments: str) -> bool:
        """Return whether that method of the D-Bus session returns true."""
        result = subprocess.run(
            ["dbus-send", "--session", "--print-reply=literal", f"--dest={name}", path, method, *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return "true" in result.stdout

    @property
    def _process(self) -> "subprocess.Popen[bytes]":
        assert self._daemon is not None
        return self._daemon

    # ---- what it holds

    def read(self, username: str = "work") -> str | None:
        """Return the entry of that username, or None."""
        with self._collection() as collection, suppress(exceptions.ItemNotFoundException):  # it was deleted meanwhile
            for item in collection.search_items(_attributes(username)):
                return item.get_secret().decode()
        return None

    def write(self, text: str | bytes, username: str = "work") -> None:
        """Put an entry there, as another program would."""
        with self._collection() as collection:
            attributes = {**_attributes(username), "application": "Python keyring library"}
            collection.create_item(
                "a test's", attributes, text if isinstance(text, bytes) else text.encode(), replace=True
            )

    def copy(self, text: str | bytes, username: str = "work") -> None:
        """Put an entry beside those that are there, as another program would."""
        with self._collection() as collection:
            attributes = {**_attributes(username), "note": "a copy"}
            collection.create_item("a copy", attributes, text if isinstance(text, bytes) else text.encode())

    def entries(self, username: str = "work") -> list[str]:
        """Return all entries of that username."""
        with self._collection() as collection:
            return [item.get_secret().decode() for item in collection.search_items(_attributes(username))]

    @contextmanager
    def _collection(self) -> Generator[secretstorage.Collection, None, None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DBUS_SESSION_BUS_ADDRESS", self.environment["DBUS_SESSION_BUS_ADDRESS"])
            patch.setattr(secretstorage, "open_dbus_connection", open_bus)
            connection = secretstorage.dbus_init()
        with closing(connection):
            # Not by the alias's path, at which GNOME Keyring may abort: see auth_agent.worker.secret_service.
            yield secretstorage.get_collection_by_alias(connection, "default")

    def _environment(self) -> Mapping[str, str]:
        return {**_inherited(), **self.environment, "HOME": str(self.home)}


def _attributes(username: str) -> dict[str, str]:
    return {"service": SERVICE, "username": username}


def _inherited() -> dict[str, str]:
    """This process's environment, without a display on which a keyring could ask."""
    return {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
