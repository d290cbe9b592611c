"""The real pip, uv and twine at an index that takes the provider's tokens alone, as a user's password."""

import atexit
import importlib.util
import shutil
import sys
import tempfile
import venv
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import pip
import pytest

from tests.integration.tools.package_index import PackageIndex, wheel
from tests.integration.tools.tool_home import SCRIPTS, Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

PAGE = "docs/tools/pip.md"


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    for name in ("uv", "twine"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: make tools")
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        home.environment["DBUS_SESSION_BUS_ADDRESS"] = "disabled:"
        yield home


@pytest.fixture
def index(home: ToolHome) -> Generator[PackageIndex, None, None]:
    """An index whose host is mapped to `work`."""
    with PackageIndex(home.provider, "apple", "banana") as index:
        home.map(f'[hosts."{index.url}"]\naccount = "work"\n')
        yield index


def named(url: str, name: str = "oauth2") -> str:
    """Return the URL with a user name."""
    return url.replace("://", f"://{name}@")


Download = Callable[[ToolHome, str], Result]


def pip_import(home: ToolHome, url: str) -> Result:
    """Download a package by the pip that has keyring and the client library in its environment."""
    return _pip(home, sys.executable, "import", url)  # "auto" with --no-input asks no keyring


@cache
def other_python() -> str:
    """Return the Python of another environment, which has the same pip and no keyring."""
    directory = tempfile.TemporaryDirectory(prefix="auth-agent-")
    atexit.register(directory.cleanup)
    venv.create(directory.name)
    (packages,) = Path(directory.name).glob("lib/python*/site-packages")
    shutil.copytree(Path(pip.__file__).parent, packages / "pip")
    return f"{directory.name}/bin/python"


def pip_subprocess(home: ToolHome, url: str) -> Result:
    """Download a package by a pip of another environment, which starts `keyring` if it knows a user name."""
    return _pip(home, other_python(), "subprocess", named(url))


def _pip(home: ToolHome, python: str, provider: str, url: str) -> Result:
    shutil.rmtree(home.path / "wheels", ignore_errors=True)
    options = ("--no-cache-dir", "--no-deps", "--no-input", "--retries=0", "--disable-pip-version-check")
    command = (python, "-m", "pip", "download", *options, "--keyring-provider", provider)
    return home.run(*command, "--dest", str(home.path / "wheels"), "--index-url", url, "apple")


def uv(home: ToolHome, url: str) -> Result:
    """Install a package by uv, which starts `keyring` if it knows a user name."""
    shutil.rmtree(home.path / "target", ignore_errors=True)
    command = ("uv", "pip", "install", "--no-cache", "--no-deps", "--python", sys.executable)
    more = ("--target", str(home.path / "target"), "--keyring-provider", "subprocess", "--index-url", named(url))
    return home.run(*command, *more, "apple")


@pytest.fixture(params=[pip_import, pip_subprocess, uv])
def download(request: pytest.FixtureRequest) -> Download:
    chosen: Download = request.param
    return chosen


def test_a_package_is_downloaded(home: ToolHome, index: PackageIndex, download: Download) -> None:
    result = download(home, index.simple)
    assert result.returncode == 0, result.stderr
    assert index.users == {"oauth2"}
    assert [one.path for one in index.seen if one.status == 200][-1] == "/acme/simple/apple/apple-1.0-py3-none-any.whl"
    assert home.files_with(index.tokens) == []


@rotating
def test_downloads_while_tokens_rotate(home: ToolHome, index: PackageIndex, download: Download) -> None:
    while len(index.tokens) < 3:
        result = download(home, index.simple)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("program", ["twine", "uv"])
def test_a_package_is_uploaded(home: ToolHome, index: PackageIndex, program: str) -> None:
    file = home.path / "cherry-1.0-py3-none-any.whl"
    file.write_bytes(wheel("cherry"))
    if program == "twine":
        result = home.run("twine", "upload", "--non-interactive", "--repository-url", index.upload, str(file))
    else:
        options = ("--keyring-provider", "subprocess", "--username", "oauth2", "--publish-url", index.upload)
        result = home.run("uv", "publish", "--no-cache", *options, str(file))
    assert result.returncode == 0, result.stderr
    assert (index.uploaded, index.statuses, index.users) == ([file.name], {200}, {"oauth2"})


def test_the_user_name_of_the_rule(home: ToolHome, index: PackageIndex) -> None:
    home.map(f'[hosts."{index.url}"]\naccount = "work"\nusername = "anna"\n')
    assert pip_import(home, index.simple).returncode == 0
    assert index.users == {"anna"}
    assert uv(home, index.simple).returncode != 0  # it asks for another user's password
    assert index.tokens == {one.token for one in index.seen if one.user == "anna"}


def test_another_index_gets_no_token(home: ToolHome, index: PackageIndex, download: Download) -> None:
    with PackageIndex(home.provider, "apple") as other:
        result = download(home, other.simple)
        assert result.returncode != 0
        assert other.seen == []
        assert "auth-agent:" not in result.stderr
    assert index.seen == []


def test_without_a_token_each_program_says_what_helps(home: ToolHome, index: PackageIndex, download: Download) -> None:
    home.log_out()
    is_shown = download is not pip_subprocess  # which hides what keyring says
    result = download(home, index.simple)
    assert result.returncode != 0
    assert ("auth-agent login work" in result.stderr) is is_shown
    home.agent.kill()
    assert ("auth-agent start" in download(home, index.simple).stderr) is is_shown
    assert "auth-agent start" in keyring(home, "get", index.simple, "anna").stderr
    assert index.seen == []


# ---- the backend


def keyring(home: ToolHome, *arguments: str, stdin: str | None = None) -> Result:
    return home.run("keyring", *arguments, stdin=stdin)


def test_keyring_has_a_password_for_urls_of_the_configuration_alone(home: ToolHome) -> None:
    home.map('[hosts."pypi.example.com/acme"]\naccount = "work"\n[hosts."eu-python.pkg.dev"]\naccount = "work"\n')
    with home.agent.client() as client:
        token = client.token("work").access_token
    for service in ("https://pypi.example.com/acme/simple/", "https://eu-python.pkg.dev/"):
        name = "anna" if "acme" in service else "oauth2accesstoken"
        assert keyring(home, "get", service, name).stdout == f"{token}\n"
    printed = keyring(home, "--mode", "creds", "get", "https://eu-python.pkg.dev/x/")
    assert printed.stdout == f"oauth2accesstoken\n{token}\n"
    for service, name in (
        *(("pypi.example.com/acme", "anna"), ("work", "work"), ("auth-agent", "work"), ("", "")),
        *(("https://pypi.example.com/", "anna"), ("http://pypi.example.com/acme/", "anna")),
        *(("https://pypi.example.com:8443/acme/", "anna"), ("https://eu-python.pkg.dev/", "anna")),
        *(("https://a@pypi.example.com/acme/", "a"), ("https://pypi.example.com/acme/../x", "a")),
    ):
        result = keyring(home, "get", service, name)
        assert (result.returncode, result.stdout, result.stderr) == (1, "", ""), service


def test_a_stored_password_stays_where_it_is_and_the_token_comes_first(home: ToolHome) -> None:
    """Beside a backend that stores, with a priority of 5 as the Secret Service has."""
    home.map('[hosts."pypi.example.com"]\naccount = "work"\n')
    (home.path / "stored.py").write_text(STORED)
    script = home.path / "script.py"
    script.write_text(SCRIPT)
    result = home.run(sys.executable, str(script), environment={"PYTHONPATH": str(home.path)})
    with home.agent.client() as client:
        token = client.token("work").access_token
    assert (result.stderr, result.stdout.splitlines()) == (
        "",
        ["ChainerBackend", "stored", token, "None", "alone: AgentKeyring", "NoKeyringError"],
    )


def test_the_agents_worker_never_takes_it_for_a_keyring(home: ToolHome) -> None:
    script = home.path / "script.py"
    script.write_text(WORKER)
    result = home.run(sys.executable, str(script))
    assert (result.returncode, result.stdout) == (0, f"{NO_KEYRING} False AgentKeyring\n"), result.stderr


NO_KEYRING = "there is no D-Bus session, and so no keyring"
WORKER = """
import sys
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.keyrings import Keyrings
from auth_agent.worker.vocabulary import SECRET_SERVICE
try:
    print(Keyrings().entries(SECRET_SERVICE, "auth-agent", "work"))
except CallFailure as failure:
    print(failure, "auth_agent_client.keyring" in sys.modules, end=" ")
import keyring  # which would take it, since there is no other one
print(type(keyring.get_keyring()).__name__)
"""
STORED = """
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

class Stored(KeyringBackend):
    priority = 5
    passwords = {}
    def get_password(self, service, username):
        return self.passwords.get((service, username))
    def set_password(self, service, username, password):
        self.passwords[service, username] = password
    def delete_password(self, service, username):
        if self.passwords.pop((service, username), None) is None:
            raise PasswordDeleteError("none")
"""
SCRIPT = """
import keyring, stored
print(type(keyring.get_keyring()).__name__)
for service in ("https://other.example/", "https://pypi.example.com/"):
    keyring.set_password(service, "anna", "stored")
    print(keyring.get_password(service, "anna"))
keyring.delete_password("https://other.example/", "anna")
print(keyring.get_password("https://other.example/", "anna"))
stored.Stored.priority = -1
keyring.core.init_backend()
print("alone:", type(keyring.get_keyring()).__name__)
try:
    keyring.set_password("https://pypi.example.com/", "anna", "stored")
except keyring.errors.NoKeyringError as error:
    print("NoKeyringError")
"""


# ---- setup


PIP_FILE, UV_FILE = ".config/pip/pip.conf", ".config/uv/uv.toml"


def bare_path(home: ToolHome, *programs: str) -> Path:
    """Let PATH have a directory with links to these programs alone, and return it."""
    directory = home.path / "bin"
    directory.mkdir()
    for name in programs:
        (directory / name).symlink_to(SCRIPTS / name)
    home.environment["PATH"] = f"{directory}:/usr/sbin:/sbin"
    return directory


def test_setup_and_undo_leave_what_a_person_wrote(home: ToolHome) -> None:
    pip_file, uv_file = home.path / PIP_FILE, home.path / UV_FILE
    for path, text in ((pip_file, "[global]\ntimeout = 60\n\n"), (uv_file, "# mine\n[pip]\nno-deps = true\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    before = (pip_file.read_text(), uv_file.read_text())
    for _ in range(2):
        home.succeed("auth-agent", "setup", "pip")
    assert "keyring-provider = subprocess\n" in pip_file.read_text()
    assert uv_file.read_text() == f'keyring-provider = "subprocess"\n{before[1]}'
    home.succeed("auth-agent", "setup", "pip", "--undo")
    assert (pip_file.read_text(), uv_file.read_text()) == before


def test_setup_links_keyring_where_there_is_none(home: ToolHome, index: PackageIndex) -> None:
    directory = bare_path(home, "auth-agent", "uv")
    home.succeed("auth-agent", "setup", "pip")
    assert (directory / "keyring").readlink() == SCRIPTS / "keyring"
    assert uv(home, index.simple).returncode == 0
    home.succeed("auth-agent", "setup", "pip", "--undo")
    assert not (directory / "keyring").is_symlink()


def test_setup_leaves_another_keyring_alone(home: ToolHome) -> None:
    directory = bare_path(home, "auth-agent", "uv")
    program = directory / "keyring"
    program.write_text("#!/bin/sh\necho keyring.backends.fail.Keyring\n")
    program.chmod(0o755)
    result = home.run("auth-agent", "setup", "pip")
    assert (result.returncode, (home.path / UV_FILE).exists()) == (1, False)
    assert f"the client library into the environment of {program}" in result.stderr
    home.succeed("auth-agent", "setup", "pip", "--undo")
    assert program.exists()


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
