"""A real `systemd --user` for a user made for a test, on a machine whose PID 1 may be anything.

What it needs of the system (that systemd seems to have booted it, a delegated control group) is faked in a mount
namespace of its own. Needs root.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.integration.agent_process import PATIENCE, until
from tests.integration.installed import Environment, install_for_everyone

_SYSTEMD = Path("/lib/systemd/systemd")
_PYTHON = Path("/usr/bin/python3")
_PASSWORD = "test"
# `$1` is the user, `$2` and `$3` its ids, `$4` its home, `$5` its runtime directory.
_SCRIPT = """
set -eu
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 tmpfs /run/systemd  # sd_booted(3) looks at /run/systemd/system
mkdir -p /run/systemd/system
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup/user-$2.scope
mkdir -p "$group"
echo $$ > "$group/cgroup.procs"
chown -R "$2:$3" "$group"
exec setpriv --reuid "$2" --regid "$3" --init-groups env -i HOME="$4" USER="$1" LOGNAME="$1" SHELL=/bin/bash \
  PATH=/usr/local/bin:/usr/bin:/bin XDG_RUNTIME_DIR="$5" LANG=C.UTF-8 \
  /lib/systemd/systemd --user --log-target=console --log-level=info
"""


def missing() -> str | None:
    """Return why there can be no user manager here, or None."""
    if os.geteuid() != 0:
        return "only root can make a user and a mount namespace"
    programs = {
        _SYSTEMD: "systemd",
        Path("/usr/bin/dbus-daemon"): "dbus",
        Path("/usr/lib/systemd/user/dbus.socket"): "dbus-user-session",
        Path("/usr/bin/gnome-keyring-daemon"): "gnome-keyring",
        _PYTHON: "python3",
    }
    packages = [package for program, package in programs.items() if not program.exists()]
    if packages:
        return f"apt-get install {' '.join(packages)}"
    if shutil.which("unshare") is None:
        return "apt-get install util-linux"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        return "this machine allows no mount namespace, as in a container without CAP_SYS_ADMIN"
    version = subprocess.run(
        [_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True
    )
    if version.stdout.split() != [str(part) for part in sys.version_info[:2]]:
        return f"the tests run on another version of Python than {_PYTHON}, for which nothing is installed"
    return None


class UserManager(AbstractContextManager["UserManager"]):
    """A user with a home, a service manager, a D-Bus session, an unlocked keyring, and auth-agent installed."""

    def __init__(self) -> None:
        """Make them ready to start."""
        reason = missing()
        if reason is not None:
            pytest.skip(f"no user manager to test with: {reason}")
        self.name = f"agent-{secrets.token_hex(4)}"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            place = Path(tempfile.mkdtemp(prefix="auth-agent-user-", dir="/var/tmp"))
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            place.chmod(0o755)
            self.home = place / "home"
            add = ["useradd", "--create-home", "--home-dir", str(self.home), "--shell", "/bin/bash", self.name]
            subprocess.run(add, check=True)
            stack.callback(subprocess.run, ["userdel", self.name], check=False, capture_output=True)
            self.installed: Environment = install_for_everyone(place / "venv", _PYTHON)
            entry = pwd.getpwnam(self.name)
            self._ids = (str(entry.pw_uid), str(entry.pw_gid))
            self.runtime = Path("/run/user", self._ids[0])
            self.runtime.mkdir(mode=0o700, parents=True)
            stack.callback(shutil.rmtree, self.runtime, ignore_errors=True)
            os.chown(self.runtime, entry.pw_uid, entry.pw_gid)
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def _start(self, stack: ExitStack) -> None:
        self.log = self.home.parent / "manager.log"
        output = stack.enter_context(self.log.open("wb"))
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _SCRIPT, "_"]
        arguments = [self.name, *self._ids, str(self.home), str(self.runtime)]
        self.process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        stack.callback(self._stop, self.process)
        until(lambda: self._is_ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text("utf-8", "replace")
        keyring = ["gnome-keyring-daemon", "--foreground", "--components=secrets", "--unlock"]
        daemon = subprocess.Popen(
            [*self._as_user(), *keyring], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(self._stop, daemon)
        assert daemon.stdin is not None
        with daemon.stdin as stdin:
            stdin.write(_PASSWORD.encode())
        owner = "busctl --user --no-pager list | grep -q '^org.freedesktop.secrets .*gnome'"
        until(lambda: self.run("sh", "-c", owner).returncode == 0)

    def _is_ready(self) -> bool:
        return (self.runtime / "systemd" / "private").exists() and (self.runtime / "bus").exists()

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log.read_text("utf-8", "replace"))
        self._stack.close()

    def _as_user(self) -> list[str]:
        uid, gid = self._ids
        variables = {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "PATH": f"{self.installed.bin}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/bus",
        }
        settings = [f"{name}={value}" for name, value in variables.items()]
        return ["setpriv", "--reuid", uid, "--regid", gid, "--init-groups", "env", "-i", *settings]

    def run(self, *command: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command as that user, in its home."""
        return subprocess.run(
            [*self._as_user(), *command],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.home,
        )

    def output(self, *command: str) -> str:
        """Run a command that must succeed; return its standard output."""
        result = self.run(*command)
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout

    def unit(self, name: str = "auth-agent.service") -> dict[str, str]:
        """Return the properties of a unit."""
        lines = self.output("systemctl", "--user", "show", name).splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    def override(self, text: str) -> None:
        """Change the service by a drop-in, as a person does with `systemctl edit`; `text` is of its [Service]."""
        directory = self.home / ".config" / "systemd" / "user" / "auth-agent.service.d"
        self.output("mkdir", "-p", str(directory))
        (directory / "test.conf").write_text(f"[Service]\n{text}\n")
        self.output("systemctl", "--user", "daemon-reload")
