"""A keyring that the worker process loads in a test, by the name of its class: files in a directory, and bad manners.

What it does is chosen by the username. While the directory has a file `frozen`, writes and slow reads hang.
"""

import ctypes
import os
import sys
import time
from pathlib import Path

from keyring import errors
from keyring.backend import KeyringBackend

_PR_GET_DUMPABLE = 3  # <linux/prctl.h>


class Keyring(KeyringBackend):
    """Kept in the directory that the environment's TMPDIR names, which a worker inherits."""

    priority = 0  # pyright: ignore[reportAssignmentType] -- as keyring's own backends have it

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring's constructors have no types
        self._place = Path(os.environ["TMPDIR"])

    def get_password(self, service: str, username: str) -> str | None:
        if username == "chatty":
            self._chat()
        elif username == "huge":
            return "x" * (2 << 20)
        elif username == "deadly":
            os._exit(1)
        elif username == "failing":
            raise errors.KeyringError("it \x1b[31mfails")
        elif username == "defective":
            raise RuntimeError("canary")
        elif username == "dumpable":
            return str(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))
        elif username == "slow":
            self._hang()
        path = self._place / service / username
        return path.read_text() if path.exists() else None

    def set_password(self, service: str, username: str, password: str) -> None:
        self._hang()
        path = self._place / service / username
        path.parent.mkdir(exist_ok=True)
        path.write_text(password)

    def delete_password(self, service: str, username: str) -> None:
        (self._place / service / username).unlink()

    def _hang(self) -> None:
        (self._place / "begun").touch()
        while (self._place / "frozen").exists():
            time.sleep(0.01)

    def _chat(self) -> None:
        print("noise", flush=True)  # noqa: T201 -- what a library must not do
        for descriptor in (1, 2):
            os.write(descriptor, b'{"result": "forged"}\n')
        assert sys.stdin.read() == ""
