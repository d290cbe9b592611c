"""A real agent in a process of its own, with its own home, socket and configuration."""

import atexit
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, TypeVar

import trustme

from auth_agent_client import Agent, AgentNotRunning, Timeout
from tests.integration.fork_server import SERVER, ForkedProcess, Launch

Process = subprocess.Popen[bytes] | ForkedProcess
Found = TypeVar("Found")

COMMAND = (sys.executable, "-W", "error", "-m", "auth_agent")
# Passes its standard input on as a service manager passes a socket: at descriptor 3, to the very process it becomes.
PASSING_ON = ("sh", "-c", 'exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec "$@"', "sh")
# Seconds to wait for a condition, enough for a busy machine.
PATIENCE = 60.0


def until(condition: Callable[[], Found], timeout: float = PATIENCE, every: float = 0.01) -> Found:
    """Wait until the condition holds; return what it returned then."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {condition}"
        time.sleep(every)


@cache
def _certificates() -> Path:
    """A file with one certificate: what the system trusts takes an agent longer to read than all else at its start."""
    file = tempfile.NamedTemporaryFile(prefix="auth-agent-ca-", suffix=".pem")  # noqa: SIM115 -- kept to the end
    atexit.register(file.close)
    trustme.CA().cert_pem.write_to_path(file.name)
    return Path(file.name)


def _is_removed(directory: Path) -> bool:
    """Remove it; return False while a worker that outlives its agent still creates its lock there."""
    try:
        shutil.rmtree(directory)
    except OSError as error:
        return error.errno == errno.ENOENT
    return True


class Begun(NamedTuple):
    """A command that runs, and the file that it writes to."""

    process: Process
    path: Path

    def output(self) -> str:
        """Return its standard output and error so far."""
        return self.path.read_text()


class AgentProcess(AbstractContextManager["AgentProcess"]):
    """`auth-agent run`, from start to stop; or, not `started`, a place for its commands."""

    def __init__(
        self,
        accounts: Mapping[str, Mapping[str, object]] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = COMMAND,
        preexec: Callable[[], object] | None = None,
        started: bool = True,
        log_is_read: bool = True,
        store: str | None = "memory",
        executed: bool = False,
    ) -> None:
        """Prepare one, whose log may be a pipe that nobody reads; `executed` where it matters how a process starts."""
        # Not pytest's tmp_path: a socket's path has room for a hundred bytes.
        self.home = Path(tempfile.mkdtemp(prefix="auth-agent-"))
        self.socket = self.home / "run" / "agent.sock"
        self.config = self.home / "config.toml"
        self._log = self.home / "log"
        # What it is started by, from the next start on.
        self.command = command
        self._preexec = preexec
        self._started = started
        self._log_is_read = log_is_read
        self.store = store
        self._executed = executed
        self._launcher: tuple[str, ...] = ()
        self._inherited: socket.socket | None = None
        self._process: Process | None = None
        self._end = ExitStack()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AUTH_AGENT", "XDG_"))}
        self.environment = {
            **inherited,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "AUTH_AGENT_SOCK": str(self.socket),
            "AUTH_AGENT_CONFIG": str(self.config),
            "AUTH_AGENT_LOG": "debug",
            "SSL_CERT_FILE": str(_certificates()),
            **(environment or {}),
        }
        self.configure(accounts or {})

    def configure(self, accounts: Mapping[str, Mapping[str, object]]) -> None:
        """Write the configuration file; the agent reads it at a reload."""
        lines: list[str] = []
        for name, keys in accounts.items():
            lines.append(f"[accounts.{name}]")
            lines.extend(f"{key} = {json.dumps(value)}" for key, value in keys.items())
        self.config.write_text("\n".join(lines) + "\n")

    def launch_with(self, *launcher: str) -> None:
        """Start it with that command from now on, which executes it."""
        self._launcher = launcher

    def inherit(self, inherited: socket.socket, count: int = 1) -> None:
        """Start it from now on with that socket, as one of so many."""
        self.launch_with(*PASSING_ON)
        self._inherited = inherited
        self.environment["LISTEN_FDS"] = str(count)

    def __enter__(self) -> Self:
        if self._started:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                self.kill()
            if error is not None:
                sys.stderr.write(self.log)
        finally:
            self._end.close()
            until(lambda: _is_removed(self.home))

    def start(self) -> None:
        """Start it, and wait until it listens."""
        before = len(self.logged(" listening "))
        self.spawn()
        if not self._log_is_read:
            until(self.answers)
            return
        until(lambda: len(self.logged(" listening ")) > before or self.process.poll() is not None)
        assert self.process.poll() is None, self.log

    def spawn(self) -> None:
        """Start it, whether it will listen or fail."""
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("ab") if self._log_is_read else self._unread_pipe())
            command = [*self._launcher, *self.command, "run", *([] if self.store is None else ["--store", self.store])]
            if self._preexec is None and self._inherited is None:
                self._process = self._popen(command, subprocess.DEVNULL, log.fileno(), log.fileno())
                return
            self._process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL if self._inherited is None else self._inherited.fileno(),
                stdout=log,
                stderr=log,
                preexec_fn=self._preexec,  # noqa: PLW1509 -- the tests that fork start no threads
            )

    def _popen(self, command: list[str], stdin: int, stdout: int, stderr: int) -> Process:
        """Start a process: forked from one that has all imported, unless it has to be executed."""
        launch = None if self._executed else Launch.of(command, self.environment)
        if launch is None:
            return subprocess.Popen(command, env=self.environment, stdin=stdin, stdout=stdout, stderr=stderr)
        with Path(os.devnull).open("rb") as nothing:
            source = nothing.fileno() if stdin == subprocess.DEVNULL else stdin
            return SERVER.start(launch, self.environment, (source, stdout, stderr))

    def open(self, *arguments: str, streams: tuple[int, int, int]) -> Process:
        """Start a command of `auth-agent` with these descriptors as its standard streams."""
        return self._popen([*self.command, *arguments], *streams)

    def _unread_pipe(self) -> BinaryIO:
        reading, writing = os.pipe()
        self._end.callback(os.close, reading)
        return os.fdopen(writing, "wb")

    def answers(self) -> bool:
        """Return whether an agent responds at its socket."""
        try:
            with self.client() as client:
                return bool(client.hello())
        except (AgentNotRunning, Timeout):
            return False

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """All that it wrote to its standard output and error."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def terminate(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(signum)
        code = self.process.wait(PATIENCE)
        self._process = None
        return code

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._process = None

    def client(self) -> Agent:
        """Return a new client of this agent."""
        return Agent(str(self.socket))

    def run(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command of `auth-agent` as this agent's user."""
        command = [*self.command, *arguments]
        with tempfile.TemporaryFile("w+b") as output, tempfile.TemporaryFile("w+b") as errors, ExitStack() as stack:
            source = subprocess.DEVNULL
            if stdin is not None:
                source, writing = os.pipe()
                stack.callback(os.close, source)
                with os.fdopen(writing, "wb") as pipe:
                    pipe.write(stdin.encode())
            process = self._popen(command, source, output.fileno(), errors.fileno())
            try:
                code = process.wait(PATIENCE)
            finally:
                process.kill()
            written: list[str] = []
            for file in (output, errors):
                file.seek(0)
                written.append(file.read().decode())
            return subprocess.CompletedProcess(command, code, *written)

    @contextmanager
    def begin(self, *arguments: str) -> Generator["Begun", None, None]:
        """Start a command of `auth-agent` that runs until the block ends."""
        with (self.home / "output").open("w+") as output:
            process = self._popen([*self.command, *arguments], subprocess.DEVNULL, output.fileno(), output.fileno())
            try:
                yield Begun(process, Path(output.name))
            finally:
                process.kill()
                process.wait(PATIENCE)

    def until_logged(self, pattern: str, lines: int = 1) -> list[str]:
        """Wait until so many lines of the log match; return all that do.

        A thread of the agent's own writes the log, so a line may come after the answer that followed it.
        """
        return until(lambda: found if len(found := self.logged(pattern)) >= lines else [])

    def logged(self, pattern: str) -> list[str]:
        """Return the lines of the log that match, so far."""
        return [line for line in self.log.splitlines() if re.search(pattern, line)]
