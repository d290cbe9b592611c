"""`[files]` in the configuration."""

import sys
from pathlib import Path

import pytest

from auth_agent import config
from auth_agent.cli.config_text import config_json, config_toml
from auth_agent.config import Config
from auth_agent.config_file import remove_account, rename_account
from auth_agent.errors import ConfigError

ACCOUNTS = """
[accounts.work]
issuer = "https://acme.example/"
client_id = "client"

[accounts.home]
issuer = "https://home.example/"
client_id = "client"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(path: Path, text: str) -> Config:
    path.write_text(f"{ACCOUNTS}{text}")
    return config.load(path)


def test_a_file_needs_an_account_alone(path: Path) -> None:
    (file,) = read(path, '[files.token]\naccount = "work"').files
    assert (file.path, file.account, file.kind) == ("/run/user/1000/auth-agent/token", "work", "access")
    assert (file.audience, file.scope, file.mode, file.command) == (None, None, 0o600, ())


def test_a_file_has_all_keys(path: Path) -> None:
    loaded = read(
        path,
        """
        [files."/srv/app//token"]
        account = "home"
        kind = "access"
        audience = "https://api.example"
        scope = "read  write"
        mode = "0640"
        command = ["systemctl", "--user", "reload", "app"]
        """,
    )
    (file,) = loaded.files_of("home")
    assert (file.path, file.audience, file.scope, file.mode) == (
        *("/srv/app/token", "https://api.example", "read write"),
        0o640,
    )
    assert file.command == ("systemctl", "--user", "reload", "app")
    assert loaded.files_of("work") == ()
    assert loaded.file_at("/srv/app/token") is file
    assert loaded.file_at("/srv/app//token") is None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("token", "/run/user/1000/auth-agent/token"),
        ("aws/token", "/run/user/1000/auth-agent/aws/token"),
        ("~/.cache/token", "{home}/.cache/token"),
        ("/run/user/1000/bt_u1000", "/run/user/1000/bt_u1000"),
    ],
)
def test_a_relative_path_is_in_the_agents_directory(path: Path, tmp_path: Path, key: str, expected: str) -> None:
    (file,) = read(path, f'[files."{key}"]\naccount = "work"').files
    assert file.path == expected.format(home=tmp_path)
    assert file.is_default_directory is not key.startswith(("/", "~"))


def test_without_a_runtime_directory_a_relative_path_is_where_the_socket_is(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(sys, "platform", "darwin")  # where there is none
    (file,) = read(path, '[files.token]\naccount = "work"').files
    assert file.path == f"{tmp_path}/Library/Application Support/auth-agent/token"


@pytest.mark.parametrize("mode", ['"0600"', '"600"', "0o600", '"0640"', "0o640", '"0440"', '"0400"'])
def test_a_mode_gives_others_nothing_and_the_group_reading_at_most(path: Path, mode: str) -> None:
    (file,) = read(path, f'[files.token]\naccount = "work"\nmode = {mode}').files
    assert file.mode & ~0o640 == 0
    assert file.mode & 0o400


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        ('[files]\n"/t" = "work"', 2, "files./t", "table"),
        ('[files."/t"]', 1, "files./t", "account"),
        ('[files."/t"]\naccount = "nobody"', 2, "files./t.account", "nobody"),
        ('[files."/t"]\nacount = "work"', 2, "files./t.acount", "account"),
        ('[files."/t"]\naccount = "work"\nkind = "refresh"', 3, "files./t.kind", "access, id"),
        ('[files."/t"]\naccount = "work"\nkind = "id"\nscope = "x"', 4, "files./t.scope", "access tokens"),
        ('[files."/t"]\naccount = "work"\nkind = "id"\naudience = "x"', 4, "files./t.audience", "access tokens"),
        ('[files."/t"]\naccount = "work"\nmode = "0644"', 3, "files./t.mode", "0640"),
        ('[files."/t"]\naccount = "work"\nmode = "0660"', 3, "files./t.mode", "0640"),
        ('[files."/t"]\naccount = "work"\nmode = "4600"', 3, "files./t.mode", "0640"),
        ('[files."/t"]\naccount = "work"\nmode = "0040"', 3, "files./t.mode", "0640"),
        ('[files."/t"]\naccount = "work"\nmode = 600', 3, "files./t.mode", "0640"),  # decimal
        ('[files."/t"]\naccount = "work"\nmode = true', 3, "files./t.mode", "0640"),
        ('[files."/t"]\naccount = "work"\ncommand = "reload"', 3, "files./t.command", "list"),
        ('[files."/t/"]\naccount = "work"', 1, "files./t/", "path"),
        ('[files."/a/../t"]\naccount = "work"', 1, "files./a/../t", "without"),
        ('[files."../t"]\naccount = "work"', 1, "files.../t", "without"),
        ('[files."~nobody-here/t"]\naccount = "work"', 1, "files.~nobody-here/t", "unknown user"),
        ('[files."a\\u0007"]\naccount = "work"', None, "files.a ", "control"),
        ('[files."/t"]\naccount = "work"\n[files."//t"]\naccount = "home"', 3, "files.//t", "same file"),
        ("[files.my.token]\naccount = 'work'", 1, "files.my", "quotes"),
    ],
)
def test_a_mistake_is_told_with_its_line(path: Path, text: str, line: int | None, key: str, part: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(path, text)
    where, _, rule = str(raised.value).removeprefix(str(path)).partition(f": {key}: ")
    assert part in rule
    if line is not None:
        assert where == f":{ACCOUNTS.count(chr(10)) + line}"


def test_a_renamed_account_keeps_its_files(path: Path) -> None:
    read(path, '[files.token]\naccount = "work" # mine\n[files.other]\naccount = "home"\n')
    rename_account(path, "work", "job")
    assert [(file.key, file.account) for file in config.load(path).files] == [("token", "job"), ("other", "home")]
    assert "# mine" in path.read_text()


def test_an_account_that_a_file_names_is_not_removed(path: Path) -> None:
    read(path, '[files.token]\naccount = "work"\n')
    with pytest.raises(ConfigError, match=r"files\.token\.account: there is no account work"):
        remove_account(path, "work")
    assert "work" in config.load(path).accounts


def test_the_shown_configuration_means_the_same(path: Path, tmp_path: Path) -> None:
    text = '[files.token]\naccount = "work"\nkind = "id"\nmode = "0640"\ncommand = ["true"]\n'
    loaded = read(path, text)
    assert config_json(loaded)["files"]["token"]["mode"] == "0640"
    assert config.parse(tmp_path / "other.toml", config_toml(loaded)).files == loaded.files
