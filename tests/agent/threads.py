"""A process in which no thread can be started, as under a low limit."""

import contextlib
import os
import threading
from collections.abc import Generator
from pathlib import Path
from unittest import mock


@contextlib.contextmanager
def without_threads() -> Generator[None]:
    """Let no thread start during the block. What was started, and nobody could wait for, is waited for at its end."""
    before = _children()
    with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
        yield
    for pid in _children() - before:
        os.waitpid(pid, 0)


def _children() -> set[int]:
    with contextlib.suppress(OSError):
        return {int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}
    return set()
