"""Starts Python programs as processes of their own, by forking one that has imported the product already.

Nearly all that a command or an agent costs in a test is its start: the interpreter, and the import of some hundred
modules. This server pays that once. What it forks is as if it had been executed: with its own process id, arguments,
environment, streams and exit code; only `/proc/PID/cmdline` and `environ` are the server's. `Launch.of` says which
programs can be started so; all others, and what a test wants to see from its first instruction on, are executed. An
agent gets its workers from the server too; they are the server's children, not the agent's.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from auth_agent.host.late_imports import import_all
from auth_agent.worker import sealed_files
from auth_agent.worker.vocabulary import SEALING

# Where an agent finds the server, from which it gets its workers.
_SERVER: Final = 100
# Larger than any environment and arguments of a test.
_MAX_REQUEST: Final = 1 << 18
_NUMBER: Final = struct.Struct("i")
PRELOADED: Final = (
    "anyio._backends._asyncio",
    "anyio._core._sockets",
    "auth_agent.daemon",
    "auth_agent.cli.account",
    "auth_agent.cli.commands",
    "auth_agent.cli.lock",
    "auth_agent.cli.login",
    "auth_agent.cli.mcp",
    "auth_agent.cli.metadata",
    "auth_agent.cli.start",
    "auth_agent.cli.status",
    "auth_agent.cli.store",
    "auth_agent.cli.token",
    "auth_agent_client.aio",
    "auth_agent.worker.keyrings",
    "auth_agent.worker.sealed_files",
    "auth_agent.worker.secret_service",
    "auth_agent.worker.signatures",
)
# What an interpreter looks at when it starts, and a forked one no more.
_OF_THE_START: Final = ("PYTHON", "LC_", "LANG", "MALLOC_")
# Set by `AgentProcess` for all processes; the server has it by its own arguments.
_HARMLESS: Final = {"PYTHONWARNINGS": "error"}


@dataclass(frozen=True)
class Launch:
    """A program that the server can start: a module, or a file, and its arguments."""

    command: tuple[str, ...]
    name: str
    is_module: bool
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, command: Sequence[str], environment: Mapping[str, str]) -> "Launch | None":
        """Return what that command starts, or None where it has to be executed."""
        own = {name: value for name, value in environment.items() if _HARMLESS.get(name) != value}
        if _interpreter_settings(own) != _interpreter_settings(os.environ):
            return None
        match tuple(command):
            case (sys.executable, "-W", "error", "-m", name, *arguments):
                return cls(tuple(command), name, is_module=True, arguments=tuple(arguments))
            case (sys.executable, "-W", "error", name, *arguments) if name.endswith(".py"):
                return cls(tuple(command), name, is_module=False, arguments=tuple(arguments))
            case _:
                return None


def _interpreter_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_OF_THE_START)}


class ForkedProcess:
    """A process that the server started: what a test uses of `subprocess.Popen`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.pid = self._receive()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative where a signal ended it, or None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code. Raises `TimeoutExpired` after `timeout` seconds."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended this moment
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._control], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(self._receive())
            self._control.close()
        return self.returncode

    def _receive(self) -> int:
        data = self._control.recv(_NUMBER.size)
        if len(data) != _NUMBER.size:
            raise RuntimeError("the fork server has ended")
        number: int = _NUMBER.unpack(data)[0]
        return number


class ForkServer:
    """A server, started when the first process is wanted; it ends with the process that has it."""

    def __init__(self, requests: socket.socket | None = None) -> None:
        """Have one of one's own, or use the one that takes these requests."""
        self._requests = requests
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        launch: Launch,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        session: bool = False,
        terminal: bool = False,
    ) -> ForkedProcess:
        """Start a program with these descriptors as its standard streams.

        Args:
            launch: the program.
            environment: all of its environment.
            streams: its standard input, output and error.
            session: whether it leads a session of its own.
            terminal: the same, and the streams are its controlling terminal.

        """
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.request(launch, environment, streams, theirs, session=session, terminal=terminal)
        return ForkedProcess(control)

    def request(
        self,
        launch: Launch,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        control: socket.socket,
        *,
        session: bool = False,
        terminal: bool = False,
    ) -> None:
        """Request a process, as `start` does; its process id and, at its end, its status are sent to `control`."""
        if self._requests is None:
            self._requests = self._begin()
            atexit.register(self._end)
        request = {
            **asdict(launch),
            "environment": dict(environment),
            "directory": str(Path.cwd()),
            "session": session or terminal,
            "terminal": terminal,
        }
        socket.send_fds(self._requests, [json.dumps(request).encode()], [control.fileno(), *streams])

    def _begin(self) -> socket.socket:
        theirs, ours = _requests()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.integration.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        return ours

    def _end(self) -> None:
        if self._requests is not None and self._process is not None:
            self._requests.close()
            self._process.wait()


SERVER: Final = ForkServer()

# ---- in the server


class _Serving:
    """The server's loop: who asks it, and who waits for the end of which process."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._clients = {requests.fileno(): requests}
        self._controls: dict[int, socket.socket] = {}

    def run(self) -> dict[str, Any] | None:
        """Serve until the tests ask no more: None. In each process that is started, return what it is to be."""
        waking, woken = os.pipe()
        for end in (waking, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for the tests
        while self._requests.fileno() in self._clients:
            ready, _, _ = select.select([*self._clients, waking], [], [])
            if waking in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(waking, 4096)
                _report(self._controls)
            for client in [self._clients[descriptor] for descriptor in ready if descriptor != waking]:
                request = self._receive(client)
                if request is not None:
                    return request
        return None

    def _receive(self, client: socket.socket) -> dict[str, Any] | None:
        """Start what a client asks for, or forget one that has gone; in the started process, return the request."""
        data, descriptors, _, _ = socket.recv_fds(client, _MAX_REQUEST, 4)
        if not data:
            self._clients.pop(client.fileno()).close()
            return None
        control, *streams = descriptors
        ours, theirs = _requests()
        pid = os.fork()
        if pid == 0:
            for other in (ours, *self._clients.values(), *self._controls.values()):
                other.detach()  # closed with all other descriptors
            request: dict[str, Any] = json.loads(data)
            _become(streams, theirs.detach(), session=request["session"], terminal=request["terminal"])
            return request
        theirs.close()
        self._clients[ours.fileno()] = ours
        for stream in streams:
            os.close(stream)
        self._controls[pid] = socket.socket(fileno=control)
        with contextlib.suppress(OSError):  # an agent that was killed while it asked for a worker
            self._controls[pid].send(_NUMBER.pack(pid))
        return None


def _requests() -> tuple[socket.socket, socket.socket]:
    """Make the two ends by which a server is asked, with room for a request."""
    server, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _MAX_REQUEST)
    return server, client


def _do_nothing(_: int, __: object) -> None:
    """Be a handler, so that the signal wakes the server up."""


def _report(controls: dict[int, socket.socket]) -> None:
    """Tell whoever waits for it the status of each process that has ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with controls.pop(pid) as control, contextlib.suppress(OSError):  # nobody waits any more
                control.send(_NUMBER.pack(status))


def _become(streams: list[int], server: int, *, session: bool, terminal: bool) -> None:
    """Be as a new process is: with its own standard streams, no other descriptors, and signals at their defaults."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
    os.dup2(server, _SERVER, inheritable=False)
    os.closerange(3, _SERVER)
    os.closerange(_SERVER + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if session:
        os.setsid()
    if terminal:
        take_terminal()


def take_terminal() -> None:
    """Make standard input the terminal of this session, from which Ctrl-C comes: the first that a leader opens."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def _run(request: dict[str, Any]) -> None:
    """Run the program as the interpreter would; what it raises, its exit included, is raised."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    time.tzset()
    is_terminal = os.isatty(1)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 -- as the interpreter's own
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1 if is_terminal else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.orig_argv[:] = request["command"]
    sys.argv[:] = [request["name"], *request["arguments"]]
    if "run" in request["arguments"]:  # `auth-agent run`, or a launcher of the agent
        _fork_workers()
    else:
        os.close(_SERVER)
    if request["arguments"][-1:] == [SEALING]:
        # As on a machine with little memory: a full key derivation takes most of the time of a test with a sealed file.
        setattr(sealed_files, "available_memory", lambda: 1)  # noqa: B010 -- for the type checkers: a name that it imports
    if request["is_module"]:
        runpy.run_module(request["name"], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(request["name"], run_name="__main__")


def _fork_workers() -> None:
    """Let this agent get its workers from the server."""
    execute = cast("Callable[..., subprocess.Popen[bytes]]", subprocess.Popen)

    def popen(command: list[str], **options: Any) -> "subprocess.Popen[bytes] | ForkedProcess":
        if command[1:4] != ["-P", "-m", "auth_agent.worker"]:
            return execute(command, **options)
        launch = Launch(tuple(command), "auth_agent.worker", is_module=True, arguments=tuple(command[4:]))
        with socket.socket(fileno=os.dup(_SERVER)) as requests, Path(os.devnull).open("wb") as nothing:
            streams = (options["stdin"], options["stdout"], nothing.fileno())
            session = options["start_new_session"]
            return ForkServer(requests).start(launch, options["env"], streams, session=session)

    setattr(subprocess, "Popen", popen)  # noqa: B010 -- for the type checkers: another type


def main() -> None:
    """Import what the programs need, and start them. The argument is the descriptor of the requests."""
    for name in PRELOADED:
        importlib.import_module(name)
    import_all()
    gc.collect()
    gc.freeze()
    request = _Serving(socket.socket(fileno=int(sys.argv[1]))).run()
    if request is not None:
        _run(request)


if __name__ == "__main__":
    main()
