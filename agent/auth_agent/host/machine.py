"""Which machine this is: an identifier that says nothing about the machine to those who don't know it already."""

import hmac
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

# machine-id(5) asks not to show the id itself, but a hash with a key of the application.
_KEY: Final = b"auth-agent: which machine wrote this"
_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_ID: Final = re.compile(r"[0-9a-f]{32}")
_UUID: Final = re.compile(r'"IOPlatformUUID" = "([0-9A-F-]{36})"')
_TIMEOUT: Final = 3.0  # s


def machine_digest() -> str:
    """Return the keyed hash of the machine's id, in hexadecimal; "" if the machine has none."""
    own = _macos_id() if sys.platform == "darwin" else linux_id(_FILES)
    return "" if own is None else hmac.new(_KEY, own.encode(), sha256).hexdigest()


def linux_id(paths: tuple[Path, ...]) -> str | None:
    """Return the id in the first of these files that has one; a container's may be missing or empty."""
    for path in paths:
        try:
            content = path.read_text("ascii", "replace").strip()
        except OSError:
            continue
        if _ID.fullmatch(content):
            return content
    return None


def _macos_id() -> str | None:
    command = ["/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT)  # noqa: S603 -- macOS's own program
    except (OSError, subprocess.SubprocessError):
        return None
    found = _UUID.search(done.stdout)
    return None if found is None else found[1]
