"""The worker process: it is killed when it hangs and released when idle, and completes what it began."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import anyio
import pytest

from auth_agent.worker.process import Worker, WorkerError, WorkerTimeout
from auth_agent.worker.vocabulary import KEYRING, SIGNATURES
from tests.integration.agent_process import PATIENCE, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient_stores")]

BACKEND = "tests.integration.scripted_keyring.Keyring"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scripted keyring keeps its files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@asynccontextmanager
async def started(place: Path) -> AsyncGenerator[Worker]:
    worker = Worker(KEYRING, place / "worker.lock")
    try:
        yield worker
    finally:
        await worker.kill()
        assert children() == []


async def read(worker: Worker, username: str, limit: float = PATIENCE) -> object:
    response = await worker.call("read", limit, backend=BACKEND, service="auth-agent", username=username)
    return response.get("result", response)


async def write(worker: Worker, username: str, password: str, limit: float = PATIENCE) -> object:
    return await worker.call(
        "write", limit, backend=BACKEND, service="auth-agent", username=username, password=password
    )


def workers_of(parent: int) -> list[int]:
    """Return the pids of that process's workers, including zombies."""
    result: list[int] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_text()
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        state, its_parent = stat.rpartition(")")[2].split()[:2]
        if int(its_parent) == parent and (state == "Z" or b"auth_agent.worker" in command):
            result.append(int(directory.name))
    return result


def children() -> list[int]:
    """This process's."""
    return workers_of(os.getpid())


def descriptors() -> int:
    """Return how many this process has open."""
    gc.collect()  # what other tests left open
    return len(list(Path("/proc/self/fd").iterdir()))


def is_gone(pid: int) -> bool:
    """Return whether it has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def wait_for(condition: Callable[[], object]) -> None:
    """Wait until that holds, while the worker's calls go on."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- another process's doings have no event here
            await anyio.sleep(0.01)


def freeze(place: Path) -> None:
    (place / "frozen").touch()


def thaw(place: Path) -> None:
    (place / "frozen").unlink()


def entry_path(place: Path, username: str = "work") -> Path:
    return place / "auth-agent" / username


async def test_one_process_executes_one_call_after_the_other(place: Path) -> None:
    async with started(place) as worker:
        assert worker.pid is None
        results: list[object] = []

        async def write_and_read(number: int) -> None:
            await write(worker, f"account-{number}", f"täxt-{number}")
            results.append(await read(worker, f"account-{number}"))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(write_and_read, number)
        assert sorted(map(str, results)) == sorted(f"täxt-{number}" for number in range(20))
        assert children() == [worker.pid]


async def test_a_failure_is_printable_and_the_process_continues(place: Path) -> None:
    async with started(place) as worker:
        assert await read(worker, "failing") == {"failure": "failed", "text": "it  [31mfails", "program": ""}
        pid = worker.pid
        defective = {"failure": "failed", "text": "the keyring failed: RuntimeError", "program": ""}
        assert await read(worker, "defective") == defective
        assert await read(worker, "nobody") is None
        assert worker.pid == pid


async def test_a_library_that_uses_stdin_and_stdout_disturbs_no_call(place: Path) -> None:
    async with started(place) as worker:
        await write(worker, "chatty", "the text")
        assert await read(worker, "chatty") == "the text"
        assert await read(worker, "nobody") is None


async def test_a_call_that_hangs_ends_at_its_timeout_with_its_process(place: Path) -> None:
    async with started(place) as worker:
        await read(worker, "nobody")
        pid = worker.pid
        assert pid is not None
        (child,) = workers_of(pid)
        freeze(place)
        with pytest.raises(WorkerTimeout, match=r"0\.2 s"):
            await write(worker, "work", "canary", limit=0.2)
        assert (worker.pid, children()) == (None, [])
        await wait_for(lambda: is_gone(child))
        thaw(place)
        assert await read(worker, "work") is None  # it was killed before
        assert worker.pid != pid


@pytest.mark.parametrize("username", ["deadly", "huge"])
async def test_a_process_that_dies_or_responds_endlessly_is_replaced(username: str, place: Path) -> None:
    async with started(place) as worker:
        with pytest.raises(WorkerError, match=r"^the worker process failed: \w+$"):
            await read(worker, username)
        assert await read(worker, "nobody") is None


@pytest.mark.parametrize("kill_child", [False, True])
async def test_a_process_killed_during_a_call_is_replaced(kill_child: bool, place: Path) -> None:
    async with started(place) as worker:
        await read(worker, "nobody")
        pid = worker.pid
        assert pid is not None
        (child,) = workers_of(pid)
        freeze(place)
        failures: list[WorkerError] = []

        async def call() -> None:
            with pytest.raises(WorkerError) as failed:
                await read(worker, "slow")
            failures.append(failed.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await wait_for((place / "begun").exists)
            os.kill(child if kill_child else pid, signal.SIGKILL)
        await wait_for(lambda: is_gone(child))
        assert [str(failure) for failure in failures] == ["the worker process failed: ConnectionError"]
        thaw(place)
        assert await read(worker, "slow") is None


async def test_a_process_that_ended_between_two_calls_is_replaced(place: Path) -> None:
    async with started(place) as worker:
        await read(worker, "nobody")
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await wait_for(lambda: is_gone(pid))
        assert await read(worker, "nobody") is None
        assert children() == [worker.pid]


async def test_the_response_to_a_cancelled_call_is_not_taken_for_the_next(place: Path) -> None:
    async with started(place) as worker:
        await write(worker, "slow", "the slow one's")
        await write(worker, "work", "the next one's")
        for _ in range(3):
            (place / "begun").unlink(missing_ok=True)
            freeze(place)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, worker, "slow")
                await wait_for((place / "begun").exists)
                tasks.cancel_scope.cancel()
            thaw(place)
            assert await read(worker, "work") == "the next one's"


async def test_a_cancelled_write_is_completed_before_the_next_call(place: Path) -> None:
    async with started(place) as worker:
        freeze(place)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, worker, "work", "the text")
            await wait_for((place / "begun").exists)
            tasks.cancel_scope.cancel()
        assert not entry_path(place).exists()
        responses: list[object] = []

        async def next_call() -> None:
            responses.append(await read(worker, "work"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(next_call)
            await wait_for(lambda: len(children()) == 2)
            thaw(place)
        assert responses == ["the text"]


async def test_a_new_agents_worker_waits_for_the_old_agents_worker(place: Path) -> None:
    responses: list[object] = []
    async with started(place) as first, anyio.create_task_group() as tasks:
        freeze(place)
        tasks.start_soon(write, first, "work", "the first one's")
        await wait_for((place / "begun").exists)
        second = Worker(KEYRING, place / "worker.lock")

        async def call() -> None:
            responses.append(await read(second, "work"))
            await second.kill()

        tasks.start_soon(call)
        await wait_for(lambda: second.pid is not None)
        thaw(place)
        await wait_for(entry_path(place).exists)
        assert responses == []  # the first one has its turn as long as it lives
        await first.release()
        await wait_for(lambda: responses)
    assert responses == ["the first one's"]


@pytest.mark.parametrize("call", ["nonsense", "read"])
async def test_an_invalid_call_is_an_error_and_the_next_call_works(call: str, place: Path) -> None:
    async with started(place) as worker:
        with pytest.raises(WorkerError):
            await worker.call(call, PATIENCE, nonsense="canary")
        assert await read(worker, "nobody") is None


async def test_the_purpose_decides_the_calls_with_and_without_a_lock(place: Path) -> None:
    async with started(place) as keyring:
        with pytest.raises(WorkerError):
            await keyring.call("verify", PATIENCE, token="opaque", keys="{}")
        assert await read(keyring, "nobody") is None
    worker = Worker(SIGNATURES, place / "signatures.lock")
    with pytest.raises(WorkerError):
        await write(worker, "work", "text")
    assert not entry_path(place).exists()
    response = await worker.call("verify", PATIENCE, token="opaque", keys="{}")
    assert response == {"result": "the ID token's signature can't be read"}
    await worker.release()
    assert children() == []


async def test_a_worker_without_a_lock_waits_for_none(place: Path) -> None:
    async with started(place) as first, anyio.create_task_group() as tasks:
        freeze(place)
        tasks.start_soon(write, first, "work", "text")
        await wait_for((place / "begun").exists)
        second = Worker(SIGNATURES)
        assert await second.call("verify", PATIENCE, token="opaque", keys="{}")
        await second.release()
        thaw(place)


async def test_signals_that_are_meant_for_the_agent_do_not_end_it(place: Path) -> None:
    async with started(place) as worker:
        await read(worker, "nobody")
        pid = worker.pid
        assert pid is not None
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, signum)
            assert await read(worker, "nobody") is None
        assert worker.pid == pid
        assert os.getsid(pid) == pid  # and the terminal's go to its parent alone


async def test_a_released_worker_ends_and_leaves_no_zombie(place: Path) -> None:
    async with started(place) as worker:
        await read(worker, "nobody")
        pid = worker.pid
        await worker.release()
        assert worker.pid is None
        assert children() == []
        assert await read(worker, "nobody") is None
        assert worker.pid != pid


async def test_secrets_are_in_no_argument_and_no_environment(place: Path) -> None:
    async with started(place) as worker:
        freeze(place)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, worker, "work", "canary")
            await wait_for((place / "begun").exists)
            assert worker.pid is not None
            for pid in (worker.pid, *workers_of(worker.pid)):
                process = Path(f"/proc/{pid}")
                exposed = (process / "cmdline").read_bytes()
                if os.geteuid() == 0:  # nobody else may read that of a process that isn't dumpable
                    exposed += (process / "environ").read_bytes()
                assert b"canary" not in exposed
            thaw(place)
        assert entry_path(place).read_text() == "canary"


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else may read the environment of a process that isn't dumpable")
async def test_what_the_shell_happens_to_have_is_not_inherited(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_PROGRAMS_TOKEN", "canary")
    async with started(place) as worker:
        assert await read(worker, "nobody") is None
        process = Path(f"/proc/{worker.pid}")
        environment = (process / "environ").read_bytes()
        assert b"TMPDIR=" in environment
        assert b"canary" not in environment


async def test_the_memory_of_the_worker_is_protected(place: Path) -> None:
    async with started(place) as worker:
        assert await read(worker, "dumpable") == "0"
        assert worker.pid is not None
        for pid in (worker.pid, *workers_of(worker.pid)):
            process = Path(f"/proc/{pid}")
            assert "Max core file size        0                    0" in (process / "limits").read_text()
            if os.geteuid() != 0:
                with pytest.raises(PermissionError):
                    (process / "environ").read_bytes()


async def test_a_hundred_calls_with_failures_leave_no_descriptor_and_no_process(place: Path) -> None:
    async with started(place) as worker:
        await read(worker, "nobody")
        before = descriptors()
        for number in range(100):
            if number % 50 == 0:
                with pytest.raises(WorkerError):
                    await read(worker, "deadly")
            elif number % 50 == 25:
                await worker.release()
            else:
                await read(worker, "failing" if number % 2 else "nobody")
        assert len(children()) == 1
        assert descriptors() == before


async def test_where_no_process_can_be_started_nothing_is_left_open(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(place / "no python"))
    async with started(place) as worker:
        before = descriptors()
        for _ in range(3):
            with pytest.raises(WorkerError, match="FileNotFoundError"):
                await read(worker, "work")
        assert descriptors() == before


# ---- the process by itself


class Bare:
    """A worker process on a socket, as its parent has it."""

    def __init__(self, place: Path, *arguments: str) -> None:
        arguments = arguments or (str(place / "worker.lock"), KEYRING)
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "auth_agent.worker", *arguments],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait(PATIENCE)


def request(call: str, **arguments: str) -> bytes:
    return json.dumps({"call": call, "backend": BACKEND, "service": "auth-agent", **arguments}).encode() + b"\n"


def test_the_worker_ends_when_its_socket_closes(place: Path) -> None:
    with Bare(place) as worker:
        worker.socket.sendall(request("read", username="nobody"))
        assert worker.socket.recv(1000) == b'{"result": null}\n'
        worker.socket.close()
        assert worker.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("garbage", [b"canary\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b"\n"])
def test_garbage_ends_the_worker_without_a_response(garbage: bytes, place: Path) -> None:
    with Bare(place) as worker:
        worker.socket.sendall(garbage)
        assert worker.socket.recv(1000) == b""
        assert worker.process.wait(PATIENCE) == 1


def test_an_agent_from_before_an_upgrade_still_has_its_calls(place: Path) -> None:
    with Bare(place, str(place / "worker.lock")) as worker:
        worker.socket.sendall(request("read", username="nobody"))
        assert worker.socket.recv(1000) == b'{"result": null}\n'
        assert (place / "worker.lock").exists()
    command = [sys.executable, "-P", "-m", "auth_agent.worker"]
    check = json.dumps({"call": "verify", "token": "opaque", "keys": "{}"}) + "\n"
    result = subprocess.run(command, input=check, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    assert json.loads(result.stdout) == {"result": "the ID token's signature can't be read"}


def test_an_incomplete_request_is_not_executed(place: Path) -> None:
    with Bare(place) as worker:
        worker.socket.sendall(request("write", username="work", password="text")[:-1])
        worker.socket.close()
        assert worker.process.wait(PATIENCE) == 0
        assert not entry_path(place).exists()


def test_a_symbolic_link_in_the_locks_place_is_refused(place: Path) -> None:
    (place / "worker.lock").symlink_to(place / "precious")
    with Bare(place) as worker:
        assert worker.process.wait(PATIENCE) == 1
        assert not (place / "precious").exists()


def test_a_write_is_completed_though_its_parent_was_killed(place: Path) -> None:
    freeze(place)
    with Bare(place) as worker:
        worker.socket.sendall(request("write", username="work", password="text") + request("read", username="work"))
        until((place / "begun").exists)
        worker.socket.close()
        assert not entry_path(place).exists()
        thaw(place)
        assert worker.process.wait(PATIENCE) == 0
        assert entry_path(place).read_text() == "text"
