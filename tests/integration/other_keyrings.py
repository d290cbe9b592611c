"""KeePassXC and KWallet as the keyring of a temporary D-Bus session, without a screen."""

import base64
import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager

import secretstorage
from secretstorage import exceptions
from secretstorage.collection import Collection
from secretstorage.defines import SS_PATH
from secretstorage.util import SERVICE_IFACE, DBusAddressWrapper, exec_prompt

from tests.integration.agent_process import PATIENCE, until
from tests.integration.keyring_session import PASSWORD, SERVICE, KeyringSession

_BUS = {"dbus-daemon": "dbus"}
# Of pam_kwallet and kwalletd.
_SALT_SIZE = 56
_ITERATIONS = 50_000
_SAVING = 5.0  # s, for the program to end by itself


class _QtKeyring(KeyringSession):
    """A program with windows, which nobody sees."""

    activated = None

    def _environment(self) -> Mapping[str, str]:
        home = str(self.home / "settings")
        return {**super()._environment(), "QT_QPA_PLATFORM": "offscreen", "XDG_CONFIG_HOME": home}

    def write(self, text: str | bytes, username: str = "work") -> None:
        """Put an entry there, as another program would: not by `CreateItem`, which hangs at an item that is there."""
        with self._collection() as collection:
            secret = text if isinstance(text, bytes) else text.encode()
            items = list(collection.search_items({"service": SERVICE, "username": username}))
            for item in items:
                item.set_secret(secret)
            if not items:
                self.copy(text, username)

    def restart(self) -> None:
        """End it, which saves what it holds, and start it again, unlocked."""
        self.unlock()

    def unlock(self) -> None:
        """Start it again, unlocked, since a running one needs a person for that."""
        self._process.terminate()
        try:
            self._process.wait(_SAVING)
        except subprocess.TimeoutExpired:  # it waits for a dialog that nobody sees; it has saved each change
            self._process.kill()
            self._process.wait(PATIENCE)
        self.start()


class KeePassXCSession(_QtKeyring):
    """KeePassXC with a database, of which it exposes the root group."""

    programs: Mapping[str, str] = {**_BUS, "keepassxc": "keepassxc"}
    # Whether it asks the user before it shows an entry to a connection, as it does by default.
    confirms = False

    def start(self, *, password: str | None = PASSWORD) -> None:
        """Start it with the database unlocked."""
        assert password is not None
        settings = self.home / "settings"
        database = settings / "sessions.kdbx"
        if not database.exists():
            settings.mkdir()
            self._create(password)
        options = settings / "keepassxc.ini"
        options.write_text(
            "[General]\nConfigVersion=2\nUpdateCheckMessageShown=true\nSingleInstance=false\n"
            f"[FdoSecrets]\nEnabled=true\nShowNotification=false\nConfirmAccessItem={str(self.confirms).lower()}\n"
            "[GUI]\nCheckForUpdates=false\n"
        )
        command: list[str | os.PathLike[str]] = [
            "keepassxc",
            "--config",
            options,
            "--localconfig",
            settings / "local.ini",
            "--pw-stdin",
            database,
        ]
        self._daemon = subprocess.Popen(
            command,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert self._daemon.stdin is not None
        with closing(self._daemon.stdin) as stdin:
            stdin.write(f"{password}\n".encode())
        until(self._has_owner)
        until(lambda: self.is_locked() is False)

    def _create(self, password: str) -> None:
        """Make a database whose root group is exposed, which is a member of its metadata."""
        settings = self.home / "settings"
        empty, exported = settings / "empty.kdbx", settings / "exported.xml"
        self._cli(f"{password}\n{password}\n", "db-create", "-p", "-t", "100", str(empty))
        xml = self._cli(f"{password}\n", "export", str(empty))
        group = re.search(r"<Root>\s*<Group>\s*<UUID>([^<]+)</UUID>", xml)
        assert group is not None
        digits = base64.b64decode(group[1]).hex()
        uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        item = f"<Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>{{{uuid}}}</Value></Item>"
        xml = re.sub(r"\s*<CustomData/>(?=.*</Meta>)", "", xml, count=1, flags=re.DOTALL)
        exported.write_text(xml.replace("</Meta>", f"<CustomData>{item}</CustomData></Meta>", 1))
        self._cli(
            f"{password}\n{password}\n", "import", "-p", "-t", "100", str(exported), str(settings / "sessions.kdbx")
        )

    def _cli(self, typed: str, *arguments: str) -> str:
        result = subprocess.run(
            ["keepassxc-cli", *arguments],
            input=typed,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout

    def lock(self) -> None:
        """Lock the database, which has a prompt, though it shows no dialog."""
        with self._collection() as collection:
            _complete(collection, "Lock")
        until(lambda: self.is_locked() is not False)


class ConfirmingKeePassXCSession(KeePassXCSession):
    """KeePassXC as it comes: it asks the user before it shows an entry to a connection, where nobody can answer."""

    confirms = True


class KWalletSession(_QtKeyring):
    """KWallet, whose wallet pam_kwallet opens at the login."""

    programs: Mapping[str, str] = {**_BUS, "kwalletd5": "libkf5wallet-bin"}

    def start(self, *, password: str | None = PASSWORD) -> None:
        """Start it with the wallet open; the Secret Service calls it locked, until somebody asks for it."""
        assert password is not None
        settings, salt = self.home / "settings", self.home / "data" / "kwalletd" / "kdewallet.salt"
        is_new = not settings.exists()
        if is_new:
            settings.mkdir()
            (settings / "kwalletrc").write_text(
                "[Wallet]\nEnabled=true\nFirst Use=false\nUse One Wallet=true\nDefault Wallet=kdewallet\n"
                "Prompt on Open=false\n[org.freedesktop.secrets]\napiEnabled=true\n"
            )
            salt.parent.mkdir()
            salt.write_bytes(os.urandom(_SALT_SIZE))
        self._log_in(hashlib.pbkdf2_hmac("sha512", password.encode(), salt.read_bytes(), _ITERATIONS, _SALT_SIZE))
        until(self._has_owner)
        until(self._is_open)
        if is_new:  # a wallet that was just made is a collection from the next start on
            self.unlock()
        until(lambda: self.is_locked() is not None)

    def _is_open(self) -> bool:
        return self._bus_call("org.kde.kwalletd5", "/modules/kwalletd5", "org.kde.KWallet.isOpen", "string:kdewallet")

    def restart(self) -> None:
        """Close the wallet, which saves it at once instead of some seconds later, and start KWallet again."""
        self.lock()
        self.unlock()

    def _log_in(self, password_hash: bytes) -> None:
        """Start it as pam_kwallet does: the hash comes through a pipe, the environment through a socket."""
        path = self.home / "pam.sock"
        path.unlink(missing_ok=True)
        environment = {**self._environment(), "PAM_KWALLET5_LOGIN": str(path)}
        reading, writing = os.pipe()
        os.write(writing, password_hash)
        os.close(writing)
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(str(path))
            listener.listen(1)
            self._daemon = subprocess.Popen(
                ["kwalletd5", "--pam-login", str(reading), str(listener.fileno())],
                env=environment,
                pass_fds=(reading, listener.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            os.close(reading)
            client.connect(str(path))
            lines = [f"{name}={value}\n" for name, value in environment.items() if "\n" not in value]
            client.sendall("".join(lines).encode())

    @contextmanager
    def _collection(self) -> Generator[secretstorage.Collection, None, None]:
        with super()._collection() as collection:
            collection.unlock()  # the wallet is open: no dialog
            yield collection

    def is_locked(self) -> bool | None:
        """Return whether the wallet is closed; None while there is none."""
        try:
            with super()._collection() as collection:
                return collection.is_locked()
        except exceptions.SecretStorageException:
            return None


def _complete(collection: Collection, method: str) -> None:
    """Call a method of the service for that collection, and its prompt."""
    service = DBusAddressWrapper(SS_PATH, SERVICE_IFACE, collection.connection)
    _, prompt = service.call(method, "ao", [collection.collection_path])
    if prompt != "/":
        exec_prompt(collection.connection, prompt)


# The keyrings that people have, by name.
KEYRINGS: Mapping[str, Callable[[], KeyringSession]] = {
    "gnome-keyring": KeyringSession,
    "keepassxc": KeePassXCSession,
    "kwallet": KWalletSession,
}
