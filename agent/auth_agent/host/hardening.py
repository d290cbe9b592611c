"""Protects the process's memory from other processes."""

import ctypes
import os
import resource
import signal
import sys

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def protect_memory() -> None:
    """Disable core dumps, and keep other processes of this user from reading this one's memory.

    Lasts until the next exec. Who opened `/proc/PID/mem` before can read on: see `continue_in_child`. On macOS, a
    process can't refuse its user's debugger; this only disables core dumps.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def continue_in_child() -> None:
    """Return in a child process, whose memory was protected from the start, unlike that of this process.

    The kernel checks at the open of `/proc/PID/mem` who may read; whoever opened this process's before `protect_memory`
    reads only what this process has. A fork after `protect_memory` makes a new address space that nobody could open.

    This process closes its standard streams, waits for the child, and exits as the child does. If this process is
    killed, so is the child. On macOS, which has neither, this does nothing.
    """
    if sys.platform != "linux":
        return
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before that
            os._exit(1)
        return
    os.closerange(0, 3)  # the child's alone
    _, status = os.waitpid(child, 0)
    os._exit(abs(os.waitstatus_to_exitcode(status)))


def _prctl(option: int, argument: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)
