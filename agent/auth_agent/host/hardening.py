"""Keeps the process's memory to itself."""

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>
_FILES = 4096  # 1,200 connections, and room for requests to providers


def protect_memory() -> None:
    """No core dump, and no other process of this user reads this one's memory.

    Holds until the next exec. On macOS a process can't refuse its user's debugger; there, only core dumps end.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> None:
    """Allow as many descriptors as the agent may need, as far as the system's hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS refuses some values below its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
