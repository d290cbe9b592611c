"""The disk of the state directory is full while the agent runs: nothing is lost, and it is told."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from auth_agent import remedies
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.op.provider import OpenIDProvider


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A small disk."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=80,mode=700", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted, as in a container without CAP_SYS_ADMIN: {mounted.stderr}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill_bytes(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def fill_inodes(disk: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(1000):
            (disk / f"fill{number}").touch()


@pytest.mark.parametrize("fill", [fill_bytes, fill_inodes])
def test_on_a_full_disk_refreshes_go_on_and_are_saved_when_there_is_room(
    fill: Callable[[Path], None], disk: Path, provider: OpenIDProvider
) -> None:
    with (
        AgentProcess({"work": account(provider)}, store="file", environment={"XDG_STATE_HOME": str(disk)}) as agent,
        agent.client() as client,
    ):
        client.unlock("five random words")
        log_in(client, provider)
        until(lambda: record(client)["saved"])
        (note,) = (disk / "auth-agent" / "sessions").iterdir()
        before = note.read_text()
        fill(disk)
        token = client.refresh().access_token
        assert record(client)["saved"] is False
        store = client.status().agent.store
        assert (store.state, store.unsaved, store.remedy) == ("failing", 1, (remedies.free_space(),))
        assert note.read_text() == before
        for file in disk.glob("fill*"):
            file.unlink()
        until(lambda: record(client)["saved"])
        assert client.status().agent.store.state == "ready"
        until(lambda: note.read_text() != before)
        assert agent.terminate() == 0
        agent.start()
        with agent.client() as another:
            another.unlock("five random words")
            assert another.token().access_token == token
            assert another.refresh().access_token != token
    assert all(row.succeeded for row in provider.ledger().values())
