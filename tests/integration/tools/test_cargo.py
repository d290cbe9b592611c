"""The real cargo at a sparse registry that takes the provider's tokens alone."""

import re
import shutil
import subprocess
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import pytest

from tests.integration.tools.cargo_registry import CargoRegistry
from tests.integration.tools.tool_home import Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

PAGE = "docs/tools/cargo.md"
OLDEST = (1, 74)  # with credential providers


@cache
def cargo() -> str:
    # The machine's own before rustup's, which needs a toolchain in its user's home.
    path = shutil.which("cargo", path="/usr/bin") or shutil.which("cargo")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout if path else ""
    number = re.match(r"cargo (\d+)\.(\d+)", version)
    if path is None or number is None or (int(number[1]), int(number[2])) < OLDEST:
        pytest.skip("this needs cargo 1.74 or newer: apt-get install cargo-web")
    return path


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    cargo()
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def registry(home: ToolHome) -> Generator[CargoRegistry, None, None]:
    """A registry whose host is mapped to `work`, cargo set up, and a package that needs its crates."""
    with CargoRegistry(home.provider, {"apple": ["banana"], "banana": ["cherry"], "cherry": []}) as registry:
        home.map(f'[hosts."{registry.url}"]\naccount = "work"\n')
        home.succeed("auth-agent", "setup", "cargo")
        name_registry(home, registry)
        package = home.path / "package"
        (package / "src").mkdir(parents=True)
        (package / "src" / "lib.rs").touch()
        (package / "Cargo.toml").write_text(
            '[package]\nname = "package"\nversion = "0.1.0"\nedition = "2021"\n'
            '[dependencies]\napple = { version = "1", registry = "corp" }\n'
        )
        yield registry


def name_registry(home: ToolHome, registry: CargoRegistry) -> None:
    home.environment["CARGO_REGISTRIES_CORP_INDEX"] = f"sparse+{registry.url}/"


def run(home: ToolHome, *arguments: str, stdin: str | None = None) -> Result:
    # rustc is the one beside it.
    path = f"{Path(cargo()).parent}:{home.environment['PATH']}"
    return home.run(cargo(), *arguments, cwd=home.path / "package", environment={"PATH": path}, stdin=stdin)


def fetch(home: ToolHome) -> None:
    """Fetch all crates, as on a machine that has none."""
    shutil.rmtree(home.path / ".cargo" / "registry", ignore_errors=True)
    (home.path / "package" / "Cargo.lock").unlink(missing_ok=True)
    result = run(home, "fetch")
    assert result.returncode == 0, result.stderr


def test_crates_are_fetched(home: ToolHome, registry: CargoRegistry) -> None:
    fetch(home)
    assert registry.statuses == {200}
    assert {"/ap/pl/apple", "/dl/cherry"} <= {one.path for one in registry.seen}
    assert home.files_with(registry.tokens) == []


@rotating
def test_fetches_while_tokens_rotate(home: ToolHome, registry: CargoRegistry) -> None:
    while len(registry.tokens) < 4:
        fetch(home)
    assert registry.statuses == {200}


@rotating
def test_a_token_that_ends_during_a_fetch_is_replaced(home: ToolHome, registry: CargoRegistry) -> None:
    registry.slow.add("/ba/na/banana")
    fetch(home)
    assert registry.statuses == {200}
    assert len(registry.tokens) > 1


@pytest.mark.usefixtures("registry")
def test_login_and_logout_say_who_keeps_the_login(home: ToolHome) -> None:
    assert run(home, "login", "--registry", "corp").returncode == 0
    refused = run(home, "login", "--registry", "corp", "a-token")
    assert refused.returncode != 0
    assert "gets its tokens from auth-agent" in refused.stderr
    result = run(home, "logout", "--registry", "corp")
    assert "auth-agent is logged in to it" in result.stderr
    home.log_out()
    result = run(home, "logout", "--registry", "corp")
    assert "not currently logged in" in result.stderr
    assert not (home.path / ".cargo" / "credentials.toml").exists()


@pytest.mark.usefixtures("registry")
def test_publishing_requests_have_a_token(home: ToolHome) -> None:
    result = run(home, "owner", "--list", "--registry", "corp", "apple")
    assert (result.returncode, result.stdout) == (0, "alice\n"), result.stderr


def test_without_a_token_cargo_says_what_helps(home: ToolHome, registry: CargoRegistry) -> None:
    home.log_out()
    result = run(home, "fetch")
    assert result.returncode != 0
    assert "auth-agent login work" in result.stderr
    home.agent.kill()
    result = run(home, "fetch")
    assert "auth-agent start" in result.stderr
    assert registry.seen == []


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("runs", [True, False])
def test_other_registries_get_their_tokens_as_before(home: ToolHome, *, runs: bool) -> None:
    with CargoRegistry(home.provider, {"apple": []}) as other, home.agent.client() as client:
        name_registry(home, other)
        token = client.token("work").authorization
        result = run(home, "fetch")
        assert "no token found for `corp`" in result.stderr
        if not runs:
            home.agent.kill()
        result = run(home, "login", "--registry", "corp", stdin=f"{token}\n")
        assert result.returncode == 0, result.stderr
        run(home, "fetch")
        assert {one.token for one in other.seen} == {token.partition(" ")[2]}


def test_setup_and_undo_leave_what_a_person_wrote(home: ToolHome) -> None:
    file = home.path / ".cargo" / "config.toml"
    for mine in (
        "",
        "# mine\n[net]\nretry = 3 # often\n",
        '[registry]\nglobal-credential-providers = ["cargo:token", "cargo:libsecret"]\n# below\n\n[net]\nretry = 3\n',
        '[credential-alias]\nmine = ["/my/provider"]\n',
    ):
        file.parent.mkdir(exist_ok=True)
        file.write_text(mine)
        for _ in range(2):
            home.succeed("auth-agent", "setup", "cargo")
        assert file.read_text().count('auth-agent"') == 2
        home.succeed("auth-agent", "setup", "cargo", "--undo")
        assert file.read_text() == mine
        home.succeed("auth-agent", "setup", "cargo", "--undo")
        assert file.read_text() == mine


@pytest.mark.parametrize("text", ["registry = 1", "[registry]\nglobal-credential-providers = 'x'\n", "[registry"])
def test_setup_leaves_a_file_that_it_does_not_understand(home: ToolHome, text: str) -> None:
    file = home.path / ".cargo" / "config.toml"
    file.parent.mkdir()
    file.write_text(text)
    result = home.run("auth-agent", "setup", "cargo")
    assert (result.returncode, file.read_text()) == (1, text)
    assert str(file) in result.stderr


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
