"""The process of an agent that the kernel does not name: its service manager passed the socket, and has the process."""

import os
from contextlib import ExitStack

import pytest

from auth_agent.cli.agent_process import with_passed_socket
from auth_agent.service.manager import Service
from auth_agent.service.systemd import Systemd


class OwnManager(Systemd):
    """Has this process as the main process of a service, if it has one."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self._name = name

    def service_of(self, pid: int) -> Service | None:
        return Service(self._name) if self._name is not None and pid == os.getpid() else None


@pytest.mark.parametrize(
    ("pid", "kernels", "name", "found"),
    [
        (os.getpid(), os.getppid(), "a.service", True),
        (os.getpid(), os.getpid() + 1, "a.service", False),  # not its parent: the agent is in a container
        (os.getpid(), 0, "a.service", False),  # the agent is outside of this container
        (os.getpid(), None, "a.service", False),
        (os.getpid(), os.getppid(), None, False),
        (0, os.getppid(), "a.service", False),
        (1, os.getppid(), "a.service", False),
        (-1, os.getppid(), "a.service", False),
        (1 << 30, os.getppid(), "a.service", False),  # nobody has that number
        (1 << 60, os.getppid(), "a.service", False),  # and nobody can have that one
    ],
)
def test_it_is_found_if_the_kernel_names_its_parent(
    pid: int, kernels: int | None, name: str | None, found: bool
) -> None:
    with ExitStack() as stack:
        process = with_passed_socket(pid, kernels, OwnManager(name), stack)
        assert (process is not None) == found
        assert process is None or (process.pid, process.service) == (pid, Service("a.service"))
