"""The socket that launchd passes, by a stand-in for macOS's library."""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from auth_agent.errors import StartupError
from auth_agent.host.launchd import activated_socket

_ACTIVATE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_int)), ctypes.POINTER(ctypes.c_size_t)
)
_FREE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int))


class Library:
    """launch_activate_socket(3) and free(3): C functions that pass these descriptors, or fail with an errno."""

    def __init__(self, descriptors: list[int], error: int = 0) -> None:
        self._array = (ctypes.c_int * max(len(descriptors), 1))(*descriptors)
        self._count, self._error = len(descriptors), error
        self.names: list[bytes] = []
        self.freed: list[int] = []
        self.launch_activate_socket = _ACTIVATE(self._activate)
        self.free = _FREE(self._free)

    def _activate(self, name: bytes, descriptors: Any, count: Any) -> int:
        self.names.append(name)
        if self._error == 0:
            descriptors[0] = ctypes.cast(self._array, ctypes.POINTER(ctypes.c_int))
            count[0] = self._count
        return self._error

    def _free(self, array: Any) -> None:
        self.freed.append(ctypes.addressof(array.contents))

    @property
    def all_freed(self) -> bool:
        return self.freed == [ctypes.addressof(self._array)]


@pytest.fixture
def listening(tmp_path: Path) -> Generator[socket.socket, None, None]:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "agent.sock"))
        one.listen()
        yield one


def test_the_socket_of_the_property_list_is_taken_and_not_inherited(listening: socket.socket) -> None:
    library = Library([os.dup(listening.fileno())])
    passed = activated_socket(library)
    assert passed is not None
    with passed:
        assert passed.getsockname() == listening.getsockname()
        assert not os.get_inheritable(passed.fileno())
        assert not passed.getblocking()
    assert library.names == [b"agent"]
    assert library.all_freed


@pytest.mark.parametrize("error", [errno.ESRCH, errno.ENOENT])
def test_an_agent_that_launchd_did_not_start_makes_its_own_socket(error: int) -> None:
    assert activated_socket(Library([], error)) is None


def test_another_error_is_told_to_the_user() -> None:
    with pytest.raises(StartupError, match=os.strerror(errno.EALREADY)):
        activated_socket(Library([], errno.EALREADY))


@pytest.mark.parametrize("count", [0, 2])
def test_any_other_number_of_sockets_is_refused_and_they_are_closed(count: int, listening: socket.socket) -> None:
    descriptors = [os.dup(listening.fileno()) for _ in range(count)]
    library = Library(descriptors)
    with pytest.raises(StartupError):
        activated_socket(library)
    assert library.all_freed
    for descriptor in descriptors:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)


def test_a_socket_at_any_descriptor_is_passed_on_over_an_exec(listening: socket.socket) -> None:
    """As in a restart under launchd, which passes its socket once."""
    successor = (
        "import os, socket; passed = socket.socket(fileno=3); is_ours = os.environ['LISTEN_PID'] == str(os.getpid())\n"
        "print(is_ours, os.environ['LISTEN_FDS'], passed.getsockname(), 'AUTH_AGENT_HANDED_OVER_FD' in os.environ)"
    )
    program = (
        "import os, sys\n"
        "from auth_agent.host.activation import hand_over, place_handed_over\n"
        f"hand_over({listening.fileno()})\n"
        "place_handed_over()\n"
        f"os.execv(sys.executable, [sys.executable, '-c', {successor!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        pass_fds=[listening.fileno()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["True", "1", listening.getsockname(), "False"]
