"""`auth-agent token` as a whole process, beside a bare interpreter and other programs for the like."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from statistics import median
from typing import Final

from tests.bench.commands import time_command
from tests.bench.comparison import CPU, WALL, Comparison, Measure, Row, at_most
from tests.bench.cores import pinned
from tests.bench.processes import Missing, running
from tests.bench.servers import listens
from tests.bench.stage import ACCOUNT, AGENT_COMMAND, Stage

TOKEN: Final = "auth-agent token"
BARE: Final = "python -c pass"
OIDC: Final = "oidc-token"
SSH: Final = "ssh-add -l"
GIT: Final = "git credential-cache get"

_CREDENTIAL: Final = b"protocol=https\nhost=example.com\nusername=alice\npassword=secret\n\n"


def _repeated(
    stage: Stage,
    command: Sequence[str],
    expected: bytes,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Measure:
    """Return what runs the command again and again, on one core as all others, and takes the medians."""

    def measure(seconds: float) -> Mapping[str, float]:
        with pinned(stage.cores.server):
            end, runs = time.monotonic() + seconds, list[Mapping[str, float]]()
            while not runs or time.monotonic() < end:
                runs.append(time_command(command, environment or stage.environment, stage.directory, expected, stdin))
        return {figure: median(run[figure] for run in runs) for figure in (CPU, WALL)}

    return measure


@contextlib.contextmanager
def _token(stage: Stage) -> Generator[Measure]:
    """Run `auth-agent token NAME`, as pip installed it."""
    assert stage.agent.pids
    yield _repeated(stage, [AGENT_COMMAND, "token", ACCOUNT], stage.token.encode())


@contextlib.contextmanager
def _bare(stage: Stage) -> Generator[Measure]:
    """Run the same interpreter without anything to do."""
    yield _repeated(stage, [sys.executable, "-c", "pass"], b"")


@contextlib.contextmanager
def _oidc(stage: Stage) -> Generator[Measure]:
    """Run `oidc-token`, which asks oidc-agent for a token of the same provider."""
    environment = {**stage.environment, "OIDC_SOCK": stage.oidc_agent.path}
    yield _repeated(stage, [_program("oidc-token", "oidc-agent-cli"), ACCOUNT], b".", environment)


@contextlib.contextmanager
def _ssh(stage: Stage) -> Generator[Measure]:
    """Run `ssh-add -l`, which asks ssh-agent for its one key."""
    key, path = os.fspath(stage.directory / "ssh-key"), os.fspath(stage.directory / "ssh.sock")
    environment = {**stage.environment, "SSH_AUTH_SOCK": path}
    agent, add = _program("ssh-agent", "openssh-client"), _program("ssh-add", "openssh-client")
    with running(
        [agent, "-D", "-a", path], stage.directory / "ssh.log", environment, listens(path), stage.cores.server
    ):
        subprocess.run(
            [_program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True
        )
        subprocess.run([add, "-q", key], env=environment, check=True, stdin=subprocess.DEVNULL)
        yield _repeated(stage, [add, "-l"], b"ED25519", environment)


@contextlib.contextmanager
def _git(stage: Stage) -> Generator[Measure]:
    """Run `git credential-cache get`, which asks git's own daemon for a password."""
    folder = stage.directory / "git"
    folder.mkdir(mode=0o700)
    cache = [_program("git", "git"), "credential-cache", f"--socket={folder / 'sock'}"]
    with pinned(stage.cores.server):
        subprocess.run([*cache, "store"], input=_CREDENTIAL, env=stage.environment, check=True)
    try:
        yield _repeated(stage, [*cache, "get"], b"password=secret", stdin=_CREDENTIAL.partition(b"password")[0] + b"\n")
    finally:
        subprocess.run([*cache, "exit"], env=stage.environment, check=True)


def _program(name: str, package: str) -> str:
    """Return the path of a program. Raises Missing if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise Missing(package)
    return path


COMMANDS: Final = Comparison(
    {TOKEN: _token, BARE: _bare, OIDC: _oidc, SSH: _ssh, GIT: _git},
    [
        Row(
            "auth-agent token, whole process, processor time",
            CPU,
            "ms",
            TOKEN,
            {BARE: at_most(2.2), OIDC: None, SSH: None, GIT: None},
            processor_time=True,
        ),
        Row(
            "auth-agent token, whole process, from start to end",
            WALL,
            "ms",
            TOKEN,
            {BARE: at_most(2.2), OIDC: None, SSH: None, GIT: None},
        ),
    ],
    seconds=0.15,
)
