"""Files that hold tokens: real agents, a real provider whose tokens live for five seconds, and a reader in a loop."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Self

import pytest

from auth_agent_client import FileStatus
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import OpenIDProvider

LIFETIME = 5


@pytest.fixture
def provider(start_provider: Callable[..., OpenIDProvider]) -> OpenIDProvider:
    return start_provider(access_token_lifetime=LIFETIME)


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider)}) as process:
        configure(process, {"token": {"account": "work"}})
        yield process


def configure(agent: AgentProcess, files: Mapping[str, Mapping[str, object]]) -> None:
    """Have the agent keep these files, and no others."""
    text, _, _ = agent.config.read_text().partition("[files.")
    tables = [
        "\n".join([f"[files.{json.dumps(key)}]", *(f"{name} = {json.dumps(value)}" for name, value in keys.items())])
        for key, keys in files.items()
    ]
    agent.config.write_text("\n".join([text, *tables, ""]))
    assert agent.run("reload").returncode == 0


def own(agent: AgentProcess, name: str = "token") -> Path:
    """Return the path of a file in the agent's own directory."""
    return agent.home / "auth-agent" / name


def status_of(agent: AgentProcess) -> FileStatus:
    with agent.client() as client:
        (file,) = client.status().agent.files
        return file


def read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


class Reader:
    """Reads a file all the time, and shows what it read to the provider's UserInfo."""

    def __init__(self, path: Path, provider: OpenIDProvider) -> None:
        self._path = path
        self._provider = provider
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.tokens: dict[str, int] = {}
        self.missing = 0

    def _run(self) -> None:
        while not self._is_over.is_set():
            token = read(self._path)
            if token is None:
                self.missing += 1
            else:
                begun = time.monotonic()
                status = self._provider.userinfo(token).status_code
                if time.monotonic() - begun < 0.5:  # a slow machine shows it too late
                    self.tokens[token] = max(self.tokens.get(token, 0), status)
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def test_a_reader_never_sees_a_token_that_is_missing_half_or_over(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    with agent.client() as client:
        log_in(client, provider)
    until(own(agent).exists)
    with Reader(own(agent), provider) as reader:
        until(lambda: len(reader.tokens) >= 4)
    assert set(reader.tokens.values()) == {200}
    assert reader.missing == 0
    assert stat.S_IMODE(own(agent).stat().st_mode) == 0o600
    assert stat.S_IMODE(own(agent).parent.stat().st_mode) == 0o700
    assert not [token for token in reader.tokens if token in agent.log]


def test_it_goes_with_the_session_and_comes_with_it(agent: AgentProcess, provider: OpenIDProvider) -> None:
    path = own(agent)
    with agent.client() as client:
        assert not path.exists()
        log_in(client, provider)
        until(path.exists)
        client.logout("work")
        assert not path.exists()
        log_in(client, provider)
        until(path.exists)
        client.lock("passphrase")
        assert not path.exists()
        client.unlock("passphrase")
        until(path.exists)
        configure(agent, {})
        until(lambda: not path.exists())
        configure(agent, {"token": {"account": "work"}})
        until(path.exists)
        provider.fault("status", status=400, body={"error": "invalid_grant"}, grant_type="refresh_token", times=None)
        until(lambda: status_of(agent).failure == "reauthentication_required")
        assert not path.exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_an_agent_that_stops_removes_it(signum: signal.Signals, agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client:
        log_in(client, provider)
    until(own(agent).exists)
    if signum == signal.SIGTERM:
        assert agent.terminate() == 0
        assert not own(agent).exists()
        return
    before = len(agent.logged(" listening "))
    agent.process.send_signal(signum)  # a restart, which loses sessions in memory
    agent.until_logged(" listening ", before + 1)
    until(lambda: not own(agent).exists())


def test_a_reader_does_not_notice_a_restart(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=3600)
    with (
        KeyringSession() as keyring,
        AgentProcess({"work": account(provider)}, environment=keyring.environment, store="keyring") as agent,
    ):
        path = Path(keyring.environment["XDG_RUNTIME_DIR"]) / "auth-agent" / "token"
        configure(agent, {"token": {"account": "work"}})
        with agent.client() as client:
            log_in(client, provider)
        until(path.exists)
        before = len(agent.logged(" listening "))
        with Reader(path, provider) as reader:
            agent.process.send_signal(signal.SIGUSR1)
            agent.until_logged(" listening ", before + 1)
            agent.run("refresh", "work")
            until(lambda: len(reader.tokens) >= 2)
        assert set(reader.tokens.values()) == {200}
        assert reader.missing == 0
        assert agent.terminate() == 0
        assert not path.exists()


def test_after_kill_minus_nine_the_next_agent_removes_it(agent: AgentProcess, provider: OpenIDProvider) -> None:
    elsewhere = agent.home / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    configure(agent, {"token": {"account": "work"}, str(elsewhere / "token"): {"account": "work"}})
    with agent.client() as client:
        log_in(client, provider)
    paths = [own(agent), elsewhere / "token"]
    until(lambda: all(path.exists() for path in paths))
    agent.kill()
    assert [path.exists() for path in paths] == [True, True]
    configure_file = agent.config.read_text().partition("[files.")[0]
    agent.config.write_text(configure_file)  # also without it in the configuration
    agent.start()
    until(lambda: not any(path.exists() for path in paths))
    assert os.listdir(elsewhere) == []  # noqa: PTH208 -- names


def test_what_is_not_the_agents_is_left_alone_and_said(agent: AgentProcess, provider: OpenIDProvider) -> None:
    own(agent).parent.mkdir(mode=0o700, exist_ok=True)
    own(agent).write_text("mine")
    with agent.client() as client:
        log_in(client, provider)
    until(lambda: status_of(agent).failure == "file_failed")  # not any more that nobody is logged in
    file = status_of(agent)
    assert not file.present
    assert file.reason == f"{own(agent)} is there, and the agent did not make it"
    assert file.remedy[0].command == ("ls", "-ld", "--", str(own(agent)))
    shown = agent.run("status").stdout
    assert "the agent did not make it" in shown
    report = json.loads(agent.run("doctor", "--json").stdout)
    assert [one["verdict"] for one in report["findings"] if one["check"] == "file"] == ["wrong"]
    assert own(agent).read_text() == "mine"
    assert len(agent.until_logged("the agent did not make it")) == 1
    assert agent.terminate() == 0
    assert own(agent).read_text() == "mine"


def test_two_agents_do_not_take_it_from_each_other(agent: AgentProcess, provider: OpenIDProvider) -> None:
    path = agent.home / "shared" / "token"
    path.parent.mkdir(mode=0o700)
    configure(agent, {str(path): {"account": "work"}})
    with agent.client() as client:
        log_in(client, provider)
    until(path.exists)
    same_state = {"XDG_STATE_HOME": str(agent.home / ".local" / "state")}
    with AgentProcess({"work": account(provider)}, environment=same_state) as other, other.client() as client:
        configure(other, {str(path): {"account": "work"}})
        log_in(client, provider)
        until(lambda: status_of(other).failure == "file_failed")
        with Reader(path, provider) as reader:
            until(lambda: len(reader.tokens) >= 2)
        assert set(reader.tokens.values()) == {200}
        agent.terminate()
        until(path.exists)  # now it is free
        until(lambda: status_of(other).present)


def test_an_id_token_and_another_mode(agent: AgentProcess, provider: OpenIDProvider) -> None:
    configure(agent, {"id": {"account": "work", "kind": "id", "mode": "0640"}})
    with agent.client() as client:
        log_in(client, provider)
        until(own(agent, "id").exists)
        until(lambda: read(own(agent, "id")) == client.id_token("work").id_token)
    assert stat.S_IMODE(own(agent, "id").stat().st_mode) == 0o640


def test_the_command_runs_after_each_change_without_a_token(agent: AgentProcess, provider: OpenIDProvider) -> None:
    events = agent.home / "events"
    script = agent.home / "changed.py"
    script.write_text(
        f"import os, sys; open({str(events)!r}, 'a').write(sys.stdin.read() + ' ' + repr(sorted(os.environ)) + chr(10))"
    )
    configure(agent, {"token": {"account": "work", "command": [sys.executable, str(script)]}})
    with agent.client() as client:
        log_in(client, provider)
        until(lambda: events.exists() and len(events.read_text().splitlines()) >= 2)
        client.logout("work")
    until(lambda: "file_removed" in events.read_text())
    lines = events.read_text().splitlines()
    first = json.loads(lines[0].partition(" [")[0])
    assert (first["event"], first["path"], first["account"]) == ("file_changed", str(own(agent)), "work")
    assert first["expires_at"] > time.time() - 60
    secrets = [secret for kind in provider.secrets().values() for secret in kind]
    assert secrets
    assert not [secret for secret in secrets if secret in "".join(lines)]
    assert "AUTH_AGENT_LOG" not in lines[0]


def test_status_shows_the_file_in_words(agent: AgentProcess, provider: OpenIDProvider) -> None:
    assert "no access token of work" in agent.run("status").stdout
    with agent.client() as client:
        log_in(client, provider)
    until(lambda: status_of(agent).present)
    (line,) = [line for line in agent.run("status").stdout.splitlines() if line.startswith("  file ")]
    assert re.fullmatch(r"  file     ~/auth-agent/token \(work's access token, valid for .+\)", line)


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A small disk."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20,mode=700", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted, as in a container without CAP_SYS_ADMIN: {mounted.stderr}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "fill").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@pytest.mark.parametrize("spoil", [fill, make_read_only])
def test_a_disk_that_takes_nothing_is_said_and_leaves_no_token_that_is_over(
    spoil: Callable[[Path], None], disk: Path, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    path = disk / "token"
    configure(agent, {str(path): {"account": "work"}})
    with agent.client() as client:
        log_in(client, provider)
    until(path.exists)

    def spoiled() -> FileStatus:
        spoil(disk)  # again: the agent may have freed the room of a file that it was writing
        return status_of(agent)

    until(lambda: "can't be written" in str(spoiled().reason) and spoiled().remedy)
    if spoil is fill:  # a file can be removed from a full disk
        until(lambda: not spoiled().present and not path.exists())
        (disk / "fill").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with Reader(path, provider) as reader:
        until(lambda: reader.tokens and status_of(agent).reason is None)
    assert agent.terminate() == 0
    assert not path.exists()
