"""Protects the process's memory from other processes."""

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>
_FILES = 4096  # 1,200 connections, and room for requests to providers


def protect_memory() -> None:
    """Disable core dumps, and keep other processes of this user from reading this one's memory.

    Lasts until the next exec. On macOS, a process can't refuse its user's debugger; this only disables core dumps.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> None:
    """Raise the limit of descriptors to what the agent may need, up to the system's hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS refuses some values below its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
