"""Token files on a real disk, and what other programs put in their place."""

import errno
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from auth_agent.files.disk import TokenDisk
from auth_agent.files.folder import Folder
from auth_agent.files.ledger import Ledger, Made
from auth_agent.files.problem import FileProblem
from auth_agent.secret import Secret
from auth_agent.token_files import TokenFile

NONE_LEFT: dict[str, float] = {}
OLD, NEW = Secret("at-old"), Secret("at-new")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def file(folder: Path) -> TokenFile:
    path = str(folder / "token")
    return TokenFile(path, path, "work")


@pytest.fixture
def disk(state: Path) -> TokenDisk:
    return disk_of(state)


def disk_of(state: Path, socket_path: str = "/run/agent.sock") -> TokenDisk:
    """Return the disk of an agent that starts."""
    return TokenDisk(Ledger(state, Path(socket_path)))


def put(disk: TokenDisk, file: TokenFile, token: Secret) -> bool:
    return anyio.run(disk.put, file, token)


def remove(disk: TokenDisk, path: str) -> bool:
    return anyio.run(disk.remove, path)


def close(disk: TokenDisk) -> None:
    anyio.run(disk.close, 5, NONE_LEFT)


def content(file: TokenFile) -> str | None:
    path = Path(file.path)
    return path.read_text() if path.exists() else None


def problem_of(disk: TokenDisk, file: TokenFile) -> FileProblem:
    with pytest.raises(FileProblem) as raised:
        put(disk, file, NEW)
    return raised.value


# ---- what is as it should be


def test_a_file_is_written_for_its_owner_alone(disk: TokenDisk, file: TokenFile) -> None:
    before = os.umask(0o777)
    try:
        assert put(disk, file, OLD)
    finally:
        os.umask(before)
    status = Path(file.path).stat()
    assert (content(file), stat.S_IMODE(status.st_mode), status.st_uid) == ("at-old", 0o600, os.geteuid())


def test_only_a_change_writes(disk: TokenDisk, file: TokenFile) -> None:
    assert [put(disk, file, OLD), put(disk, file, OLD), put(disk, file, NEW)] == [True, False, True]
    Path(file.path).chmod(0o666)
    assert put(disk, file, NEW)
    assert stat.S_IMODE(Path(file.path).stat().st_mode) == 0o600


def test_nothing_but_the_file_stays_in_its_folder(disk: TokenDisk, file: TokenFile, folder: Path) -> None:
    put(disk, file, OLD)
    put(disk, file, NEW)
    assert os.listdir(folder) == ["token"]  # noqa: PTH208 -- names
    assert remove(disk, file.path)
    assert not remove(disk, file.path)
    assert os.listdir(folder) == []  # noqa: PTH208 -- names


def test_a_reader_sees_the_old_token_or_the_new_one(disk: TokenDisk, file: TokenFile) -> None:
    tokens = [Secret(character * 30_000) for character in "abcd"]
    put(disk, file, tokens[0])
    seen: set[str] = set()
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.add(Path(file.path).read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        put(disk, file, tokens[number % 4])
    is_over.set()
    reader.join()
    assert seen <= {token.reveal() for token in tokens}
    assert len(seen) > 1


def test_the_agents_own_directory_is_made(disk: TokenDisk, tmp_path: Path) -> None:
    path = tmp_path / "run" / "auth-agent" / "aws" / "token"
    put(disk, TokenFile("aws/token", str(path), "work"), OLD)
    assert path.read_text() == "at-old"
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path.parent.parent)} == {0o700}


def test_a_removed_file_is_made_again(disk: TokenDisk, file: TokenFile) -> None:
    put(disk, file, OLD)
    Path(file.path).unlink()
    assert put(disk, file, OLD)


def test_the_token_of_another_length_of_unusual_characters_is_written_whole(disk: TokenDisk, file: TokenFile) -> None:
    put(disk, file, Secret("é\udc80" * 100))
    assert put(disk, file, OLD)


# ---- what the agent did not make


def make_file(path: Path) -> None:
    path.write_text("mine")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("mine")
    path.symlink_to(target)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def make_directory(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_hard_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("mine")
    path.hardlink_to(target)


def make_device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a device")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


FOREIGN = [
    make_file,
    make_pipe,
    make_link,
    make_dangling_link,
    make_directory,
    make_socket,
    make_hard_link,
    make_device,
]


@pytest.mark.parametrize("make", FOREIGN)
@pytest.mark.parametrize("is_later", [False, True])
def test_what_the_agent_did_not_make_is_not_touched(
    make: Callable[[Path], None], disk: TokenDisk, file: TokenFile, folder: Path, *, is_later: bool
) -> None:
    path = Path(file.path)
    if is_later:  # in the place of a file that the agent made
        put(disk, file, OLD)
        path.unlink()
    make(path)
    before = path.lstat()
    problem = problem_of(disk, file)
    assert problem.reason == f"{path} is there, and the agent did not make it"
    assert str(path) in problem.remedy[0].command
    assert not remove(disk, file.path)
    close(disk)
    after = path.lstat()
    assert (before.st_ino, before.st_mtime_ns, before.st_mode) == (after.st_ino, after.st_mtime_ns, after.st_mode)
    target = folder / "target"
    assert not target.exists() or target.read_text() == "mine"
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []  # noqa: PTH208 -- names


def test_a_file_that_another_program_wrote_into_is_its_own(disk: TokenDisk, file: TokenFile) -> None:
    put(disk, file, OLD)
    with Path(file.path).open("a") as appended:
        appended.write("\n# mine")
    assert "did not make" in (problem_of(disk, file)).reason
    assert not remove(disk, file.path)
    assert content(file) == "at-old\n# mine"


def test_the_file_of_another_agent_is_not_touched(disk: TokenDisk, file: TokenFile, state: Path) -> None:
    put(disk, file, OLD)
    beside = disk_of(state, "/run/memory.sock")
    assert "did not make" in (problem_of(beside, file)).reason
    assert beside.paths == ()
    close(beside)
    assert content(file) == "at-old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_the_file_of_another_user_is_not_touched(disk: TokenDisk, file: TokenFile) -> None:
    put(disk, file, OLD)
    os.chown(file.path, 12345, -1)
    assert "did not make" in (problem_of(disk, file)).reason
    assert not remove(disk, file.path)


# ---- folders


def test_a_missing_folder_is_not_made(disk: TokenDisk, file: TokenFile, folder: Path) -> None:
    folder.rmdir()
    problem = problem_of(disk, file)
    assert problem.reason == f"the folder {folder} is missing"
    assert problem.remedy[0].command[0] == "mkdir"
    assert not folder.exists()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o720, 0o1777])
def test_a_folder_that_others_can_write_is_refused(disk: TokenDisk, file: TokenFile, folder: Path, mode: int) -> None:
    folder.chmod(mode)
    problem = problem_of(disk, file)
    assert problem.reason == f"others can write to the folder {folder}"
    assert problem.remedy[0].command == ("chmod", "go-w", "--", str(folder))
    assert os.listdir(folder) == []  # noqa: PTH208 -- names


def test_a_folder_on_the_way_that_others_can_write_is_refused_unless_it_is_sticky(
    disk: TokenDisk, file: TokenFile, folder: Path
) -> None:
    inner = folder / "inner"
    inner.mkdir(mode=0o700)
    deep = TokenFile(file.key, str(inner / "token"), "work")
    folder.chmod(0o777)
    assert (problem_of(disk, deep)).reason == f"others can write to the folder {folder}"
    folder.chmod(0o1777)
    assert put(disk, deep, OLD)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_is_refused(disk: TokenDisk, file: TokenFile, folder: Path) -> None:
    os.chown(folder, 12345, -1)
    assert (problem_of(disk, file)).reason == f"the folder {folder} belongs to the user 12345, not to you"


@pytest.mark.parametrize("depth", [1, 2])
def test_a_link_on_the_way_is_refused(disk: TokenDisk, tmp_path: Path, depth: int) -> None:
    real = tmp_path / "real"
    (real / "inner").mkdir(parents=True, mode=0o700)
    (tmp_path / "link").symlink_to(real)
    path = tmp_path / "link" / ("token" if depth == 1 else "inner/token")
    problem = problem_of(disk, TokenFile(str(path), str(path), "work"))
    assert problem.reason == f"{tmp_path}/link is a symbolic link"
    assert str(real) in problem.remedy[0].text
    assert not (real / "token").exists()


def test_a_file_on_the_way_is_an_error(disk: TokenDisk, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "token")
    assert "can't be written" in (problem_of(disk, TokenFile(path, path, "work"))).reason


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(
    disk: TokenDisk, file: TokenFile, folder: Path, tmp_path: Path
) -> None:
    put(disk, file, OLD)
    moved, victim = folder.rename(tmp_path / "moved"), tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "token").write_text("at-old")  # as the agent would have it
    folder.symlink_to(victim)
    assert "symbolic link" in (problem_of(disk, file)).reason
    with pytest.raises(FileProblem, match="symbolic link"):
        remove(disk, file.path)
    assert (victim / "token").read_text() == "at-old"
    folder.unlink()
    moved.rename(folder)
    assert remove(disk, file.path)  # it was not forgotten


def test_a_folder_that_is_swapped_in_the_middle_gets_nothing(tmp_path: Path, folder: Path) -> None:
    with Folder(folder) as opened:
        moved = folder.rename(tmp_path / "moved")
        folder.mkdir(mode=0o777)
        opened.put("token", ".auth-agent-1", NEW, 0o600)
        assert opened.look("token") is not None
    assert os.listdir(folder) == []  # noqa: PTH208 -- names
    assert (moved / "token").read_text() == "at-new"


def test_a_file_is_removed_from_a_folder_that_others_can_write_by_now(
    disk: TokenDisk, file: TokenFile, folder: Path
) -> None:
    put(disk, file, OLD)
    folder.chmod(0o777)
    assert remove(disk, file.path)


def test_a_file_whose_folder_has_gone_is_forgotten(disk: TokenDisk, file: TokenFile, folder: Path) -> None:
    put(disk, file, OLD)
    folder.rename(folder.with_name("gone"))
    assert not remove(disk, file.path)
    assert disk.paths == ()


# ---- disks that fail


def test_a_disk_that_fails_leaves_the_old_token_whole(
    disk: TokenDisk, file: TokenFile, folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(disk, file, OLD)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("fsync", "replace", "fchmod"):
        with monkeypatch.context() as patch:
            patch.setattr(f"auth_agent.files.folder.os.{name}", fail)
            problem = problem_of(disk, file)
        assert problem.reason == f"{file.path} can't be written: No space left on device"
        assert "free space" in problem.remedy[0].text
        assert os.listdir(folder) == ["token"]  # noqa: PTH208 -- names
        assert content(file) == "at-old"
        assert Ledger(state, Path("/run/agent.sock")).made(file.path) == Made(frozenset({OLD.fingerprint()}))
    assert remove(disk, file.path)


def test_without_its_note_the_file_is_kept_all_the_same(disk: TokenDisk, file: TokenFile, state: Path) -> None:
    state.write_text("no directory")
    assert put(disk, file, OLD)
    assert put(disk, file, NEW)
    assert remove(disk, file.path)


# ---- crashes


def test_an_agent_knows_what_the_one_before_made(disk: TokenDisk, file: TokenFile, state: Path) -> None:
    put(disk, file, OLD)
    after = disk_of(state)
    assert after.paths == (file.path,)
    assert remove(after, file.path)
    assert content(file) is None
    assert disk_of(state).paths == ()


class Crash(BaseException):
    """The end of the process: nothing after it happens."""


@pytest.mark.parametrize("has_before", [False, True])
@pytest.mark.parametrize("is_renamed", [False, True])
def test_an_agent_that_dies_while_it_writes_leaves_nothing(
    disk: TokenDisk,
    file: TokenFile,
    folder: Path,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_before: bool,
    is_renamed: bool,
) -> None:
    if has_before:
        put(disk, file, OLD)
    rename = os.replace

    def crash(*args: Any, **kwargs: Any) -> None:
        is_note = not kwargs
        if is_note or is_renamed:
            rename(*args, **kwargs)
        if not is_note:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("auth_agent.files.folder.os.replace", crash)
        with pytest.raises(Crash):
            put(disk, file, NEW)
    assert os.listdir(folder) != []  # noqa: PTH208 -- names
    assert remove(disk_of(state), file.path) is (has_before or is_renamed)
    assert os.listdir(folder) == []  # noqa: PTH208 -- names


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("has_before", [False, True])
def test_a_crash_before_the_rename_leaves_nothing(
    file: TokenFile, folder: Path, state: Path, *, is_written: bool, has_before: bool
) -> None:
    ledger = Ledger(state, Path("/run/agent.sock"))
    temporary = ledger.temporary()
    if has_before:
        Path(file.path).write_text(OLD.reveal())
    ledger.record(file.path, [OLD.fingerprint(), NEW.fingerprint()], temporary)
    if is_written:
        (folder / temporary).write_text("at-n")
    (folder / ".auth-agent-0123456789abcdef").write_text("mine")
    assert remove(disk_of(state), file.path) is has_before
    assert os.listdir(folder) == [".auth-agent-0123456789abcdef"]  # noqa: PTH208 -- names


def test_a_crash_after_the_rename_leaves_nothing(file: TokenFile, state: Path) -> None:
    ledger = Ledger(state, Path("/run/agent.sock"))
    ledger.record(file.path, [OLD.fingerprint(), NEW.fingerprint()], ledger.temporary())
    Path(file.path).write_text(NEW.reveal())
    assert remove(disk_of(state), file.path)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        '{"files": 7}',
        '{"files": {"/etc/passwd": 7}}',
        '{"files": {"/tmp/x": {"digests": 7, "temporary": "../../etc/passwd"}}}',
        "[" * 10_000,
    ],
)
def test_a_damaged_note_has_no_files(note: str, state: Path) -> None:
    ledger = Ledger(state, Path("/run/agent.sock"))
    ledger.record("/tmp/x", ["digest"])
    (path,) = state.iterdir()
    path.write_text(note)
    damaged = Ledger(state, Path("/run/agent.sock"))
    assert {damaged.made(one) for one in damaged.paths} <= {Made()}


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_what_a_restart_left_is_known_once(
    disk: TokenDisk, file: TokenFile, state: Path, *, is_taken_over: bool
) -> None:
    put(disk, file, OLD)
    anyio.run(disk.close, 5, {file.path: 1e9, "/run/other": 1e9})
    assert content(file) == "at-old"
    after = disk_of(state)
    assert after.inherited == {file.path: 1e9}
    if is_taken_over:
        anyio.run(after.take_over)
        assert disk_of(state).inherited == {}
    assert put(disk_of(state), file, NEW)
    assert disk_of(state).inherited == {}
    assert remove(disk_of(state), file.path)


# ---- in turn


def test_a_closed_disk_removes_all_and_writes_nothing(disk: TokenDisk, file: TokenFile, folder: Path) -> None:
    put(disk, file, OLD)
    close(disk)
    assert not put(disk, file, NEW)
    assert os.listdir(folder) == []  # noqa: PTH208 -- names


def test_a_write_that_hangs_delays_no_other_file_and_is_undone_by_the_end(
    disk: TokenDisk, file: TokenFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, hangs = threading.Event(), threading.Event()
    fsync = os.fsync

    def hang(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == folder:
            hangs.set()
            may_go_on.wait(60)
        fsync(descriptor)

    monkeypatch.setattr("auth_agent.files.folder.os.fsync", hang)
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    other = TokenFile("", str(elsewhere / "token"), "work")

    async def put_both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(disk.put, file, OLD)
            await anyio.to_thread.run_sync(hangs.wait)
            assert await disk.put(other, OLD)
            tasks.start_soon(disk.close, 60, NONE_LEFT)
            await anyio.wait_all_tasks_blocked()
            may_go_on.set()

    anyio.run(put_both)
    assert [os.listdir(one) for one in (folder, elsewhere)] == [[], []]  # noqa: PTH208 -- names
