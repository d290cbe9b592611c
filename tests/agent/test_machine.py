"""Which machine it is, and how much memory it has: read from files that may say anything, or be missing."""

from pathlib import Path

import pytest

from auth_agent.host.machine import linux_id, machine_digest
from auth_agent.host.memory import available_memory

ID = "0123456789abcdef0123456789abcdef"


def test_the_machines_id_is_that_of_the_first_file_that_has_one(tmp_path: Path) -> None:
    first, second = tmp_path / "machine-id", tmp_path / "dbus"
    assert linux_id((first, second)) is None
    second.write_text(f"{ID}\n")
    for content in ("", "uninitialized\n", ID[:-1], "\xff"):
        first.write_text(content)
        assert linux_id((first, second)) == ID
    first.write_text(f"{'f' * 32}\n")
    assert linux_id((first, second)) == "f" * 32


def test_the_digest_does_not_show_the_id() -> None:
    own, digest = linux_id((Path("/etc/machine-id"),)), machine_digest()
    assert digest == machine_digest()
    if own is not None:
        assert len(digest) == 64
        assert own not in digest


@pytest.mark.parametrize(
    ("meminfo", "maximum", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    2048 kB\n", "max", 2048 * 1024),
        ("MemAvailable: 2048 kB\n", "1000000", 1_000_000 - 4096),
        ("MemAvailable: 2048 kB\n", "1000", 0),
        ("", "1000000", 1_000_000 - 4096),
        ("", None, None),
    ],
)
def test_the_available_memory_is_the_least_that_the_system_and_the_container_have(
    tmp_path: Path, meminfo: str, maximum: str | None, expected: int | None
) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    if maximum is not None:
        (tmp_path / "memory.max").write_text(f"{maximum}\n")
        (tmp_path / "memory.current").write_text("4096\n")
    assert available_memory(tmp_path / "meminfo", tmp_path) == expected
