"""The real pnpm, of two releases, at a registry that takes the provider's tokens alone."""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.tools.npm_registry import NpmRegistry
from tests.integration.tools.tool_home import LIFETIME, Result, ToolHome, rotating, tool_home
from tests.op.install import is_installed, node_command
from tests.op.provider import OpenIDProvider

PACKAGES = Path(__file__).with_name("pnpm")
PAGE = "docs/tools/pnpm.md"
OLD, NEW = "pnpm 10", "pnpm 12"
FILES = {OLD: ".npmrc", NEW: ".config/pnpm/auth.ini"}
# Seconds that a token must live: pnpm asks once a command, and 10 needs seconds for one.
SHORTEST = {OLD: 15, NEW: LIFETIME}


def pnpm(name: str) -> Path:
    """Return the program of a release; 12 has one for each kind of machine."""
    pattern = "pnpm/bin/pnpm.cjs" if name == OLD else "@pnpm/exe.*/pnpm"
    programs = list((PACKAGES / "node_modules").glob(pattern))
    if not is_installed(PACKAGES) or not programs:
        pytest.skip(f"{name} is not installed: make tools")
    return programs[0]


@pytest.fixture(params=FILES)
def home(
    request: pytest.FixtureRequest, start_provider: Callable[..., OpenIDProvider], lifetime: int
) -> Generator[ToolHome]:
    """A home where `pnpm` is one of the releases."""
    program = pnpm(request.param)
    with tool_home(start_provider(access_token_lifetime=max(lifetime, SHORTEST[request.param]))) as home:
        programs = home.path / "bin"
        programs.mkdir()
        (programs / "pnpm").symlink_to(program)
        (programs / "node").symlink_to(node_command()[0])
        home.environment["PATH"] = f"{programs}:{home.environment['PATH']}"
        yield home


@pytest.fixture
def file(request: pytest.FixtureRequest, home: ToolHome) -> Path:
    """The file that setup writes."""
    return home.path / FILES[request.node.callspec.params["home"]]


@pytest.fixture
def registry(home: ToolHome) -> Generator[NpmRegistry, None, None]:
    """A registry whose host is mapped to `work`, and pnpm set up."""
    with NpmRegistry(home.provider, "apple", "banana") as registry:
        home.map(f'[hosts."{registry.url}"]\naccount = "work"\n')
        home.succeed("auth-agent", "setup", "pnpm", registry.host)
        yield registry


def add(home: ToolHome, registry: NpmRegistry) -> Result:
    """Add the packages to a new project, on a machine that has none."""
    project = home.path / "project"
    for path in (project, home.path / "store", home.path / ".cache"):
        shutil.rmtree(path, ignore_errors=True)
    project.mkdir()
    (project / "package.json").write_text('{"name": "project", "version": "1.0.0"}')
    (project / ".npmrc").write_text(f"registry={registry.registry}\nstore-dir={home.path}/store\n")
    return home.run("pnpm", "add", "apple", "banana", cwd=project)


def test_packages_are_added_and_published(home: ToolHome, registry: NpmRegistry) -> None:
    result = add(home, registry)
    assert result.returncode == 0, result.stdout + result.stderr
    assert {"/npm/apple", "/npm/banana/-/banana-1.0.0.tgz"} <= {one.path for one in registry.seen}
    if "12." in home.succeed("pnpm", "--version"):  # pnpm 10 starts npm, which has no token helpers
        home.succeed("pnpm", "publish", "--no-git-checks", cwd=home.path / "project")
        assert registry.published == ["project"]
    assert registry.statuses == {200}
    assert home.files_with(registry.tokens) == []


@rotating
def test_adds_while_tokens_rotate(home: ToolHome, registry: NpmRegistry) -> None:
    while len(registry.tokens) < 3:
        result = add(home, registry)
        assert result.returncode == 0, result.stdout + result.stderr
    assert registry.statuses == {200}


def test_another_registry_gets_no_token(home: ToolHome, registry: NpmRegistry) -> None:
    with NpmRegistry(home.provider, "apple", "banana") as other:
        assert add(home, other).returncode != 0
        assert other.seen == []
    assert registry.seen == []


def test_the_script_says_what_helps(home: ToolHome, registry: NpmRegistry, file: Path) -> None:
    home.log_out()
    assert add(home, registry).returncode != 0
    script = home.run(file.read_text().partition("=")[2].strip())
    assert (script.returncode, script.stdout) == (4, "")
    assert "auth-agent login work" in script.stderr
    assert registry.seen == []


# ---- setup


def test_each_path_has_its_account(home: ToolHome, file: Path) -> None:
    home.map(
        '[hosts."npm.example.com/a%20b"]\naccount = "work"\n[hosts."npm.example.com:8443"]\naccount = "work"\n'
        '[hosts."npm.example.com/x"]\naccount = "work"\n[hosts."*.pkg.dev"]\naccount = "work"\n'
    )
    home.succeed("auth-agent", "setup", "pnpm", "npm.example.com", "europe-npm.pkg.dev", "npm.example.com:8443")
    lines = dict(line.split(":tokenHelper=") for line in file.read_text().splitlines())
    assert list(lines) == [
        *("//npm.example.com/a%20b/", "//npm.example.com/x/", "//europe-npm.pkg.dev/", "//npm.example.com:8443/"),
    ]
    assert {home.run(script).stdout.partition(" ")[0] for script in lines.values()} == {"Bearer"}
    home.succeed("auth-agent", "setup", "pnpm", "npm.example.com", "--undo")
    assert [line.partition(":token")[0] for line in file.read_text().splitlines()] == [
        *("//europe-npm.pkg.dev/", "//npm.example.com:8443/"),
    ]
    home.succeed("auth-agent", "setup", "pnpm", "--undo")
    assert (file.read_text(), list((home.path / ".local/share/auth-agent/pnpm").iterdir())) == ("", [])


def test_setup_and_undo_leave_what_a_person_wrote(home: ToolHome, file: Path) -> None:
    home.map('[hosts."npm.example.com"]\naccount = "work"\n')
    mine = "; mine\n//npm.example.org/:tokenHelper=/my/helper\n//npm.example.com/:always-auth=true"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(mine)
    for _ in range(2):
        home.succeed("auth-agent", "setup", "pnpm", "https://npm.example.com/")
    assert file.read_text().count("/auth-agent/pnpm/") == 1
    home.succeed("auth-agent", "setup", "pnpm", "npm.example.com", "--undo")
    assert file.read_text().rstrip("\n") == mine


def test_what_can_not_be_set_up_changes_nothing(home: ToolHome, file: Path) -> None:
    home.map('[hosts."npm.example.com"]\naccount = "work"\n')
    assert home.run("auth-agent", "setup", "pnpm").returncode == 2
    result = home.run("auth-agent", "setup", "pnpm", "npm.example.com", "other.example")
    assert (result.returncode, file.exists()) == (1, False)
    assert '[hosts."other.example"]' in result.stderr
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("//npm.example.com/:tokenHelper = /my/helper\n")
    result = home.run("auth-agent", "setup", "pnpm", "npm.example.com")
    assert result.returncode == 1
    assert "/my/helper" in result.stderr
    assert file.read_text() == "//npm.example.com/:tokenHelper = /my/helper\n"
    (home.path / "bin" / "pnpm").unlink()
    result = home.run("auth-agent", "setup", "pnpm", "npm.example.com")
    assert (result.returncode, "install pnpm" in result.stderr) == (1, True)


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
