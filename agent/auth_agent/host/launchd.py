"""The listening socket that launchd passes to the agent: launch_activate_socket(3)."""

import ctypes
import errno
import os
import socket
from typing import Any, Final

from auth_agent.errors import StartupError

# The name of the socket in the property list.
_NAME: Final = b"agent"
_LIBRARY: Final = "/usr/lib/libSystem.dylib"
# Not started by launchd, or without such a socket: the agent makes its own.
_NONE_PASSED: Final = (errno.ESRCH, errno.ENOENT)


def activated_socket(library: Any = None) -> socket.socket | None:
    """Return the listening socket that launchd passed, None if it passed none; children don't inherit it.

    Args:
        library: what has `launch_activate_socket` and `free`; by default macOS's own library.

    Raises:
        StartupError: launchd passed several, or they can't be taken.

    """
    library = library or ctypes.CDLL(_LIBRARY)
    descriptors, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    error: int = library.launch_activate_socket(_NAME, ctypes.byref(descriptors), ctypes.byref(count))
    if error in _NONE_PASSED:
        return None
    if error:
        raise StartupError(f"launchd did not pass its socket to the agent: {os.strerror(error)}")
    try:
        passed = [descriptors[index] for index in range(count.value)]
    finally:
        library.free(descriptors)  # the array is the caller's
    if len(passed) != 1:
        for descriptor in passed:
            os.close(descriptor)
        raise StartupError(f"launchd passed {len(passed)} sockets to the agent, which serves one")
    os.set_inheritable(passed[0], False)
    inherited = socket.socket(fileno=passed[0])
    inherited.setblocking(False)
    return inherited
