"""The real docker and skopeo at a real registry that takes the provider's tokens alone, as a user's password."""

import json
import shutil
import subprocess
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import pytest

from tests.integration.tools.docker_registry import DockerRegistry, write_image
from tests.integration.tools.tool_home import Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

ROOT = Path(__file__).parents[3]
PAGE = "docs/tools/docker.md"
PROGRAM = "docker-credential-auth-agent"
NOT_FOUND = "credentials not found in native keychain\n"


@cache
def docker() -> str:
    """Return the path of Debian's docker command, which needs no engine for what is done here."""
    unpacked = subprocess.run([ROOT / ".ci" / "docker-cli"], capture_output=True, text=True, check=False)
    if unpacked.returncode != 0:
        pytest.skip(f"docker's command can't be unpacked, maybe before an apt-get update: {unpacked.stderr.strip()}")
    return str(ROOT / ".debian" / "docker" / "usr" / "bin" / "docker")


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    if shutil.which("skopeo") is None:
        pytest.skip("this needs skopeo: apt-get install skopeo")
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def registry(home: ToolHome, authority: Path, tmp_path: Path) -> Generator[DockerRegistry, None, None]:
    """A registry whose host is mapped to `work`, docker set up, and an image in the home."""
    write_image(home.path / "image")
    tls = (authority.with_name("cert.pem"), authority.with_name("key.pem"))
    with DockerRegistry(tmp_path, home.provider, tls) as registry:
        home.map(f'[hosts."{registry.host}"]\naccount = "work"\n')
        home.succeed("auth-agent", "setup", "docker", registry.host)
        yield registry


def skopeo(home: ToolHome, *arguments: str) -> Result:
    """Run skopeo, which finds no certificate of the registry's authority on the machine."""
    command = ("skopeo", "--insecure-policy", arguments[0], *arguments[1:])
    return home.run(*command)


def push(home: ToolHome, registry: DockerRegistry, name: str = "team/app:1") -> Result:
    return skopeo(
        home, "copy", "--format=v2s2", "--dest-tls-verify=false", "oci:image", f"docker://{registry.host}/{name}"
    )


def inspect(home: ToolHome, registry: DockerRegistry, name: str = "team/app:1") -> Result:
    return home.run(docker(), "manifest", "inspect", "--insecure", f"{registry.host}/{name}")


def test_an_image_is_pushed_and_inspected_by_two_programs(home: ToolHome, registry: DockerRegistry) -> None:
    assert push(home, registry).returncode == 0
    result = inspect(home, registry)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["schemaVersion"] == 2
    result = skopeo(home, "list-tags", "--tls-verify=false", f"docker://{registry.host}/team/app")
    assert json.loads(result.stdout)["Tags"] == ["1"]
    assert registry.statuses == {200}
    assert registry.users == {"oauth2"}
    assert home.files_with(registry.tokens) == []


def test_an_image_is_pulled_by_podman(home: ToolHome, registry: DockerRegistry) -> None:
    if shutil.which("podman") is None:
        pytest.skip("this needs podman: apt-get install podman")
    assert push(home, registry).returncode == 0
    places = ("--root", str(home.path / "images"), "--runroot", str(home.path / "run"), "--storage-driver", "vfs")
    registry.seen.clear()
    result = home.run("podman", *places, "pull", "--tls-verify=false", f"{registry.host}/team/app:1")
    assert result.returncode == 0, result.stderr
    assert registry.statuses == {200}


@rotating
def test_commands_while_tokens_rotate(home: ToolHome, registry: DockerRegistry) -> None:
    while len(registry.tokens) < 4:
        assert push(home, registry).returncode == 0
        result = inspect(home, registry)
        assert result.returncode == 0, result.stderr
    assert registry.statuses == {200}


def test_a_registry_on_this_machine_may_have_http(home: ToolHome, tmp_path: Path) -> None:
    write_image(home.path / "image")
    with DockerRegistry(tmp_path, home.provider) as registry:
        home.map(f'[hosts."{registry.url}"]\naccount = "work"\nusername = "anna"\n')
        assert registry.host in home.succeed("auth-agent", "setup", "docker", registry.host)
        assert push(home, registry).returncode == 0
        assert registry.users == {"anna"}


def test_podmans_own_file_is_written_where_there_is_one(home: ToolHome, registry: DockerRegistry) -> None:
    file = home.path / "containers" / "auth.json"
    file.parent.mkdir()
    file.write_text("{}")
    home.succeed("auth-agent", "setup", "docker", registry.host)
    assert json.loads(file.read_text()) == {"credHelpers": {registry.host: "auth-agent"}}
    (home.path / ".docker" / "config.json").unlink()
    assert push(home, registry).returncode == 0
    home.succeed("auth-agent", "setup", "docker", "--undo")
    assert json.loads(file.read_text()) == {}


def test_without_a_login_both_programs_say_what_helps(home: ToolHome, registry: DockerRegistry) -> None:
    assert push(home, registry).returncode == 0
    home.log_out()
    for run in (push, inspect):
        result = run(home, registry)
        assert result.returncode != 0
        assert "auth-agent login work" in result.stderr
    home.agent.kill()
    for run in (push, inspect):
        assert "auth-agent start" in run(home, registry).stderr


def test_another_registry_gets_no_token(home: ToolHome, registry: DockerRegistry, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with DockerRegistry(tmp_path / "other", home.provider) as other:
        file = home.path / ".docker" / "config.json"
        file.write_text(json.dumps({"credHelpers": {other.host: "auth-agent"}}))
        for run in (push, inspect):
            result = run(home, other)
            assert result.returncode != 0
            assert "auth-agent" not in result.stderr
        assert other.seen == []
        assert registry.seen == []


def test_login_stores_nothing_and_logout_ends_nothing(home: ToolHome, registry: DockerRegistry) -> None:
    # Without a file of its own, skopeo takes nobody for logged in.
    (home.path / "containers").mkdir()
    (home.path / "containers" / "auth.json").write_text("{}")
    home.succeed("auth-agent", "setup", "docker", registry.host)
    result = skopeo(home, "login", "--tls-verify=false", registry.host)
    assert result.returncode == 0, result.stderr
    for program in (docker(), "skopeo"):
        result = home.run(program, "logout", registry.host)
        assert result.returncode == 0, result.stderr
        assert "nothing was erased" in result.stderr
    assert push(home, registry).returncode == 0


# ---- the protocol


def ask(home: ToolHome, operation: str, server: str = "") -> Result:
    return home.run(PROGRAM, operation, stdin=f"{server}\n")


@pytest.mark.parametrize(
    "server",
    ["registry.example.com", "https://registry.example.com", "https://registry.example.com/v1/", "hub.example:8443"],
)
def test_a_registry_is_a_host_or_a_url(home: ToolHome, server: str) -> None:
    home.map('[hosts."registry.example.com"]\naccount = "work"\n[hosts."hub.example:8443"]\naccount = "work"\n')
    answer = json.loads(ask(home, "get", server).stdout)
    with home.agent.client() as client:
        token = client.token("work").access_token
    assert answer == {"ServerURL": server, "Username": "oauth2", "Secret": token}


@pytest.mark.parametrize(
    "server",
    [
        *("", "a b", "other.example", "registry.example.com:8443", "http://registry.example.com"),
        *("x@registry.example.com", "evil.example\\@registry.example.com", "a.registry.example.com"),
        "registry.example.com.evil.example",
    ],
)
def test_no_other_registry_has_credentials(home: ToolHome, server: str) -> None:
    home.map('[hosts."registry.example.com"]\naccount = "work"\n')
    result = ask(home, "get", server)
    assert (result.returncode, result.stdout, result.stderr) == (1, NOT_FOUND, "")


def test_the_list_has_names_alone(home: ToolHome) -> None:
    home.map(
        '[hosts."eu.gcr.io"]\naccount = "work"\n[hosts."*.example.com"]\naccount = "work"\n'
        '[hosts."http://127.0.0.1:5000"]\naccount = "work"\nusername = "anna"\n'
        '[hosts."git.example.com/team"]\naccount = "work"\n'
    )
    names = {"eu.gcr.io": "oauth2accesstoken", "127.0.0.1:5000": "anna"}
    assert json.loads(ask(home, "list").stdout) == names


def test_the_user_name_of_refresh_tokens_is_refused(home: ToolHome) -> None:
    home.map('[hosts."registry.example.com"]\naccount = "work"\nusername = "<token>"\n')
    result = ask(home, "get", "registry.example.com")
    assert result.returncode == 1
    assert "can't be <token>" in result.stdout


def test_store_is_refused(home: ToolHome) -> None:
    result = ask(home, "store", '{"ServerURL":"registry.example.com","Username":"a","Secret":"s3cret"}')
    assert result.returncode == 1
    assert "no password is stored" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr
    assert ask(home, "what").returncode == 2


# ---- setup


def test_setup_and_undo_leave_what_a_person_wrote(home: ToolHome) -> None:
    home.map('[hosts."a.example"]\naccount = "work"\n[hosts."*.example.com"]\naccount = "work"\n')
    file = home.path / ".docker" / "config.json"
    file.parent.mkdir()
    mine = {"auths": {"b.example": {"auth": "YTpi"}}, "credsStore": "pass", "credHelpers": {"b.example": "ü"}}
    text = json.dumps(mine, indent="\t", ensure_ascii=False) + "\n"
    file.write_text(text)
    file.chmod(0o640)
    for _ in range(2):
        home.succeed("auth-agent", "setup", "docker", "a.example", "https://x.example.com")
    helpers = {"b.example": "ü", "a.example": "auth-agent", "x.example.com": "auth-agent"}
    assert json.loads(file.read_text()) == {**mine, "credHelpers": helpers}
    home.succeed("auth-agent", "setup", "docker", "a.example", "b.example", "--undo")
    assert json.loads(file.read_text())["credHelpers"] == {"b.example": "ü", "x.example.com": "auth-agent"}
    home.succeed("auth-agent", "setup", "docker", "--undo")
    assert (file.read_text(), file.stat().st_mode & 0o777) == (text, 0o640)


def test_what_can_not_be_set_up_changes_nothing(home: ToolHome) -> None:
    home.map('[hosts."a.example"]\naccount = "work"\n[hosts."b.example/team"]\naccount = "work"\n')
    file = home.path / ".docker" / "config.json"
    for host, message in (("c.example", '[hosts."c.example"]'), ("b.example", '[hosts."b.example"]'), ("a b", "host")):
        result = home.run("auth-agent", "setup", "docker", "a.example", host)
        assert (result.returncode, file.exists()) == (1, False)
        assert message in result.stderr
    assert home.run("auth-agent", "setup", "docker").returncode == 2
    file.parent.mkdir()
    for text in ("{", "[]", '{"credHelpers": []}'):
        file.write_text(text)
        result = home.run("auth-agent", "setup", "docker", "a.example")
        assert (result.returncode, file.read_text()) == (1, text)
        assert str(file) in result.stderr
    file.unlink()
    program = shutil.which("auth-agent", path=home.environment["PATH"])
    assert program is not None
    result = home.run(program, "setup", "docker", "a.example", environment={"PATH": "/usr/bin:/bin"})
    assert (result.returncode, file.exists()) == (1, False)
    assert "PATH" in result.stderr


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
