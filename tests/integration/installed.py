"""The two packages as a user installs them: wheels of this checkout, each in a virtual environment of its own.

Nothing is downloaded. An environment sees what its package requires, by links to what the tests have installed, and
nothing else: neither this checkout nor what only the tests need.
"""

import fcntl
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment with one of the packages."""

    path: Path

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    @property
    def site(self) -> Path:
        (result,) = (self.path / "lib").glob("python*/site-packages")
        return result

    def with_extra(self, name: str) -> Path:
        """A directory with what that extra of the package requires, or with that distribution, for PYTHONPATH."""
        return self.path / name


@dataclass(frozen=True)
class Installed:
    """The agent's environment and the client's, as `pipx install .` and `pip install ./client` make them."""

    agent: Environment
    client: Environment


def install(shared: Path) -> Installed:
    """Build and install both, once for all workers that share this directory."""
    agent, client = Environment(shared / "agent"), Environment(shared / "client")
    with (shared / "installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "installed").exists():
            with ThreadPoolExecutor() as both:
                list(both.map(_install, (ROOT, ROOT / "client"), (agent, client)))
            (installed,) = Distribution.discover(name="auth-agent-client", path=[str(client.site)])
            for extra in installed.metadata.get_all("Provides-Extra", []):
                _link(client.with_extra(extra), installed.requires or [], extras={extra})
            _link(client.with_extra("trio"), ["trio"])
            (shared / "installed").touch()
    return Installed(agent, client)


def install_for_everyone(path: Path, python: Path) -> Environment:
    """Install the agent into an environment of that Python that other users can read: what it requires is copied."""
    environment = Environment(path)
    _run([str(python), "-m", "venv", "--without-pip", str(path)], ROOT)
    requires = _install_wheel(ROOT, environment)
    links = path / "requires"
    _link(links, requires)
    for link in links.iterdir():
        source = link.resolve()
        if source.is_dir():
            shutil.copytree(source, environment.site / link.name)
        else:
            shutil.copy(source, environment.site / link.name)
    return environment


def _install(project: Path, environment: Environment) -> None:
    venv.create(environment.path, symlinks=True)
    _link(environment.site, _install_wheel(project, environment))


def _install_wheel(project: Path, environment: Environment) -> list[str]:
    """Build a project's wheel and install it; return what it requires."""
    wheels = environment.path.with_suffix(".wheels")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], project)
    (wheel,) = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment.python)]
    _run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], project)
    (installed,) = Distribution.discover(name=wheel.name.partition("-")[0], path=[str(environment.site)])
    return installed.requires or []


def _run(command: list[str], directory: Path) -> None:
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _link(directory: Path, requirements: Iterable[str], extras: Iterable[str] = ()) -> None:
    """Link what is required, and what that requires, into the directory."""
    directory.mkdir(exist_ok=True)
    wanted = [(text, frozenset(extras)) for text in requirements]
    seen: set[str] = set()
    while wanted:
        text, chosen = wanted.pop()
        requirement = Requirement(text)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *chosen)
        )
        if not applies or requirement.name in seen:
            continue
        seen.add(requirement.name)
        result = distribution(requirement.name)
        wanted += [(more, frozenset(requirement.extras)) for more in result.requires or []]
        for name in {file.parts[0] for file in result.files or []} - {"..", "__pycache__"}:
            target = directory / name
            if not target.is_symlink():  # as two distributions of one namespace share
                target.symlink_to(Path(str(result.locate_file(name))))
