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


OWN, PARENT = os.getpid(), os.getppid()
CASES = {
    "its parent": (OWN, PARENT, "a.service", True),
    "another process: the agent is in a container": (OWN, OWN + 1, "a.service", False),
    "nobody in sight: the agent is outside of this container": (OWN, 0, "a.service", False),
    "a process that has ended": (OWN, None, "a.service", False),
    "its parent, and it is no service": (OWN, PARENT, None, False),
    "its parent, and the agent has no number": (0, PARENT, "a.service", False),
    "its parent, and the agent is the first process": (1, PARENT, "a.service", False),
    "its parent, and the agent's number is negative": (-1, PARENT, "a.service", False),
    "its parent, and nobody has the agent's number": (1 << 30, PARENT, "a.service", False),
    "its parent, and nobody can have the agent's number": (1 << 60, PARENT, "a.service", False),
}


@pytest.mark.parametrize("named", CASES)
def test_it_is_found_if_the_kernel_names_its_parent(named: str) -> None:
    pid, kernels, name, found = CASES[named]
    with ExitStack() as stack:
        process = with_passed_socket(pid, kernels, OwnManager(name), stack)
        assert (process is not None) == found
        assert process is None or (process.pid, process.service) == (pid, Service("a.service"))
