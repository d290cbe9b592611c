"""The running agent's process, to stop it or to start it again.

The agent says its process id, which means another process where the command runs in another PID namespace, as in a
container that shares the agent's socket. So a signal goes only to the process that the kernel names, too.
"""

import signal
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Final

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.host.process import Process
from auth_agent.host.program import read_parent
from auth_agent.service.manager import Manager, Service, ServiceError
from auth_agent.service.managers import platform_manager
from auth_agent_client import Agent, Hello
from auth_agent_client.call import Call
from auth_agent_client.link import Link, connect
from auth_agent_client.paths import socket_path
from auth_agent_client.waiting import Blocking, finish

# Seconds. The agent lets refreshes in flight finish for ten seconds, and then closes connections.
_PATIENCE: Final = 15.0


class AgentProcess:
    """The agent's process. A service manager that started it sends the signals, and knows that they are meant.

    `service`: the service whose main process it is; None if it is none's.
    """

    def __init__(self, process: Process, manager: Manager, service: Service | None) -> None:
        """Hold the process, and the manager of its service."""
        self.pid = process.pid
        self.service = service
        self._process = process
        self._manager = manager

    def stop(self) -> None:
        """Stop it, and return when it has ended: until then it holds the socket's lock.

        Nothing is sent to the agent meanwhile: a service manager would start it again for a new connection.

        Raises:
            CommandError: it takes too long, or its service can't be stopped.

        """
        if self.service is None:
            self._send(signal.SIGTERM)
        else:
            with service_errors():
                self._manager.stop(self.service.name)
        if not self._process.ends_within(_PATIENCE):
            raise CommandError(f"the agent, process {self.pid}, did not end within {_PATIENCE:.0f} s")

    def restart(self) -> None:
        """Have it start again in place; it may refuse. Raises a `CommandError` if its service can't be reached."""
        if self.service is None:
            self._send(signal.SIGUSR1)
        else:
            with service_errors():
                self._manager.send(self.service.name, signal.SIGUSR1)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end for that many seconds; return whether it has ended."""
        return self._process.ends_within(seconds)

    def _send(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it is ending already
            self._process.send(signum)


@contextmanager
def agent_process(agent: Agent) -> Generator[AgentProcess, None, None]:
    """Yield the process of the running agent.

    Raises:
        AgentNotRunning: there is none.
        CommandError: it can't be signalled from here; nothing was.

    """
    agent.hello()  # it serves: from here on, new connections have its name, and not that of who passed its socket
    manager = platform_manager()
    link: Link = finish(connect(socket_path(), Blocking())).value
    with closing(link), ExitStack() as stack:
        kernels, listening = _listening(link, stack)  # before the response, so that it still is that process
        pid = Hello(finish(link.call(Call("hello", {}))).value).pid or 0
        if listening is not None and pid == kernels:
            if pid == 1:
                raise CommandError("the agent is the first process of a container; stop the container instead")
            yield AgentProcess(listening, manager, _service(manager, pid))
            return
        passed = with_passed_socket(pid, kernels, manager, stack)
        if passed is None:
            raise elsewhere(pid, kernels)
        yield passed


def _listening(link: Link, stack: ExitStack) -> tuple[int | None, Process | None]:
    """Return the pid that the kernel has for who listens, and that process.

    The pid is 0 if the process is out of sight, None if it has ended.
    """
    try:
        pid, pidfd = link.peer_process()
        process = stack.enter_context(Process(pid, pidfd)) if pid else None
    except OSError:
        return None, None
    if process is not None and process.ends_within(0):  # since Linux 6.16 there is a pidfd of one that has ended
        return None, None
    return pid, process


def with_passed_socket(pid: int, kernels: int | None, manager: Manager, stack: ExitStack) -> AgentProcess | None:
    """Return the agent's process if the kernel names its parent, the service manager, which passed the socket.

    An agent of an earlier version did not listen on that socket again.
    """
    if pid <= 1 or not kernels:
        return None
    try:
        process = stack.enter_context(Process(pid))
        service = _service(manager, pid)
        return AgentProcess(process, manager, service) if service and read_parent(pid) == kernels else None
    except (OSError, OverflowError):  # no process can have that number
        return None


def _service(manager: Manager, pid: int) -> Service | None:
    try:
        return manager.service_of(pid)
    except ServiceError:  # it is not there, as in a container
        return None


def elsewhere(pid: int, kernels: int | None) -> CommandError:
    """Return the error for an agent that says one pid, where the kernel has another one for it."""
    if kernels is None:
        where = "has its socket from a process that has ended"
    elif kernels == 0:
        where = "runs outside of this container, in another PID namespace"
    else:
        where = (
            f"is process {kernels} to the kernel: it is in a container, or another process passes connections on to it"
        )
    return CommandError(
        f"the agent, process {pid} by its own account, {where}; nothing was signalled",
        remedies.run_where_the_agent_is(),
    )


@contextmanager
def service_errors() -> Generator[None, None, None]:
    """Convert the `ServiceError` of a service manager to a `CommandError`."""
    try:
        yield
    except ServiceError as error:
        raise CommandError(str(error), *error.remedy) from error
