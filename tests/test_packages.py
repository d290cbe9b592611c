"""The two distributions: their contents and their requirements."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from auth_agent_client import __version__

ROOT = Path(__file__).parents[1]


def build(project: Path, target: Path) -> zipfile.Path:
    """Build a wheel, and return its root."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    (wheel,) = target.glob("*.whl")
    return zipfile.Path(wheel)


# What is installed below sys.prefix.
SHARED = [
    "share/auth-agent/launchd/auth-agent.plist",
    "share/auth-agent/systemd/auth-agent.service",
    "share/auth-agent/systemd/auth-agent.socket",
    *sorted(f"share/man/{page.relative_to(ROOT / 'docs' / 'man')}" for page in (ROOT / "docs" / "man").glob("*/*")),
]


@pytest.mark.parametrize(
    ("project", "name", "packages"),
    [
        (ROOT, "auth-agentd", {"auth_agent", "auth_agent_client"}),
        (ROOT / "client", "auth-agent-client", {"auth_agent_client"}),
    ],
)
def test_a_wheel_has_its_packages_their_types_and_the_version(
    project: Path, name: str, packages: set[str], tmp_path: Path
) -> None:
    with build(project, tmp_path).root as archive:
        names = archive.namelist()
        (metadata,) = [one for one in names if one.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    shared = sorted(one for one in names if ".data/" in one and not one.endswith("/"))
    directories = {one.partition("/")[0] for one in names}
    assert {one for one in directories if not one.endswith((".dist-info", ".data"))} == packages
    assert [one.partition(".data/data/")[2] for one in shared] == (SHARED if name == "auth-agentd" else [])
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert (about["Name"], about["Version"]) == (name, __version__)
    assert not [one for one in names if "test" in one or "node_modules" in one]


def test_the_client_requires_only_msgpack_and_anyio_as_an_extra(tmp_path: Path) -> None:
    with build(ROOT / "client", tmp_path).root as archive:
        (metadata,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    needs = [str(one) for one in about.get_all("Requires-Dist", [])]
    assert [one.partition(">")[0] for one in needs if "extra ==" not in one] == ["msgpack"]
    assert [one.partition(">")[0] for one in needs if one.endswith("extra == 'aio'")] == ["anyio"]


def test_the_command_says_that_its_client_package_was_uninstalled() -> None:
    # -S: without the environment's packages, as if the client library had been uninstalled, and its files with it.
    command = [sys.executable, "-S", "-m", "auth_agent", "status"]
    environment = {"PYTHONPATH": str(ROOT / "agent")}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "auth-agent: its package auth_agent_client is missing; was the client library uninstalled from this "
        "environment?\n  install auth-agentd again, in an environment of its own\n"
    )


def test_nothing_in_the_repository_names_a_registry() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("this is not a git checkout")
    hosts = ["registry." + "npmjs", "files." + "pythonhosted", "pypi" + ".org"]
    matches = [
        f"{name}: {host}"
        for name in tracked.stdout.splitlines()
        for host in hosts
        if host in (ROOT / name).read_text("utf-8", "replace")
    ]
    assert matches == []
