"""Accounts written into the configuration file: what is written, what is refused, and what a crash could leave."""

import os
import stat
from pathlib import Path

import pytest

from auth_agent import config
from auth_agent.config_file import Written, put_account, remove_account, restore
from auth_agent.errors import ConfigError

WORK = '# mine\n\n[accounts.work]  # daily\nissuer = "https://acme.example/"\nclient_id = "c"\n'
HOME = {"issuer": "https://home.example", "client_id": "h"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth-agent" / "config.toml"


@pytest.fixture
def written(path: Path) -> Path:
    """A file with an account."""
    path.parent.mkdir()
    path.write_text(WORK, "utf-8")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_account_makes_the_file_and_its_directory_for_their_owner_alone(path: Path) -> None:
    text = '[accounts.home]\nissuer = "https://home.example"\nclient_id = "h"\n'
    assert put_account(path, "home", HOME) == Written(True, ("issuer", "client_id"), None, text)
    assert path.read_text("utf-8") == text
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == ["config.toml"]


def test_another_account_comes_after_the_rest(written: Path) -> None:
    done = put_account(written, "a.b", HOME)
    assert (done.added, done.before) == (True, WORK)
    assert written.read_text("utf-8") == (
        f'{WORK}\n[accounts."a.b"]\nissuer = "https://home.example"\nclient_id = "h"\n'
    )
    assert list(config.load(written).accounts) == ["work", "a.b"]


def test_only_the_given_keys_of_an_account_change(written: Path) -> None:
    done = put_account(written, "work", {"audience": "https://api.example", "client_id": "d", "redirect_ports": (1, 0)})
    assert (done.added, done.changed) == (False, True)
    assert done.keys == ("audience", "client_id", "redirect_ports")
    assert written.read_text("utf-8") == (
        f"{WORK.replace(chr(34) + 'c' + chr(34), chr(34) + 'd' + chr(34))}"
        'audience = "https://api.example"\nredirect_ports = [1, 0]\n'
    )
    assert config.load(written).accounts["work"].redirect_ports == (1, 0)


def test_what_is_there_already_is_not_written_again(written: Path) -> None:
    before = written.stat()
    done = put_account(written, "work", {"client_id": "c", "audience": None})
    assert (done.added, done.changed) == (False, False)
    assert written.stat().st_ino == before.st_ino


def test_a_new_default_takes_the_place_of_the_old_one(written: Path) -> None:
    put_account(written, "work", {"default": True})
    put_account(written, "home", {**HOME, "default": True})
    found = config.load(written)
    assert (found.default, found.accounts["work"].default) == (found.accounts["home"], False)


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("home", {"issuer": "https://home.example"}, "accounts.home: client_id is missing"),
        ("home", {**HOME, "issuer": "home.example"}, "accounts.home.issuer: 'home.example' is not a URL"),
        ("home", {**HOME, "client_secret": "hunter2"}, "accounts.home.client_secret:"),
        ("home", {**HOME, "scope": b"x"}, "accounts.home.scope:"),
        ("work", {"client_id": None}, "accounts.work: client_id is missing"),
        ("a b", HOME, "'a b' can't be an account's name"),
    ],
)
def test_a_mistake_is_told_without_a_line_and_nothing_is_written(
    written: Path, name: str, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        put_account(written, name, keys)
    assert str(raised.value).startswith(f"{written}: ")
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert written.read_text("utf-8") == WORK


@pytest.mark.parametrize("text", ["[accounts", "[accounts.home]\n", "x = 1\n"])
def test_a_file_with_a_mistake_is_not_written_into(written: Path, text: str) -> None:
    written.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as loaded:
        config.load(written)
    for write in (lambda: put_account(written, "new", HOME), lambda: remove_account(written, "home")):
        with pytest.raises(ConfigError) as raised:
            write()
        assert str(raised.value) == str(loaded.value)
    assert written.read_text("utf-8") == text


@pytest.mark.parametrize(
    "text",
    [
        'accounts = { work = { issuer = "https://acme.example/", client_id = "c" } }\n',
        '[accounts]\nwork = { issuer = "https://acme.example/", client_id = "c" }\n',
    ],
)
def test_what_is_written_in_a_rare_way_is_left_to_an_editor(written: Path, text: str) -> None:
    written.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match="change it in an editor"):
        put_account(written, "work", {"scope": "openid"})
    with pytest.raises(ConfigError, match="change it in an editor"):
        put_account(written, "home", {**HOME, "authorize": {"hint": "\udc80"}})
    assert written.read_text("utf-8") == text


def test_line_ends_of_another_system_are_kept(written: Path) -> None:
    written.write_bytes(WORK.replace("\n", "\r\n").encode())
    put_account(written, "home", HOME)
    assert b"\n" not in written.read_bytes().replace(b"\r\n", b"")
    assert remove_account(written, "home")
    assert written.read_bytes() == WORK.replace("\n", "\r\n").encode()


def test_a_link_is_followed_and_stays_one(written: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles.toml"
    written.rename(dotfiles)
    dotfiles.chmod(0o640)
    written.symlink_to("../dotfiles.toml")
    put_account(written, "home", HOME)
    assert written.is_symlink()
    assert list(config.load(dotfiles).accounts) == ["work", "home"]
    assert mode(dotfiles) == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["auth-agent", "dotfiles.toml"]


def test_links_in_a_circle_are_told(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path)
    with pytest.raises(ConfigError, match=r"lead in a circle|levels of symbolic links"):
        put_account(path, "home", HOME)


def test_what_is_no_regular_file_is_left_alone(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="regular file"):
        put_account(path, "home", HOME)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="regular file"):
        remove_account(path, "home")


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigError, match="can't be written: "):
        put_account(tmp_path / "file" / "config.toml", "home", HOME)


def test_removing_an_account_leaves_the_others(written: Path) -> None:
    put_account(written, "home", HOME)
    assert remove_account(written, "home")
    assert written.read_text("utf-8") == WORK
    assert not remove_account(written, "home")
    assert remove_account(written, "work")
    assert written.read_text("utf-8") == "# mine\n"


def test_without_a_file_there_is_no_account_to_remove_and_none_is_made(path: Path) -> None:
    assert not remove_account(path, "home")
    assert not path.parent.exists()


def test_what_was_written_can_be_taken_back(written: Path) -> None:
    written.chmod(0o644)
    done = put_account(written, "home", HOME)
    assert restore(written, done)
    assert written.read_text("utf-8") == WORK
    assert mode(written) == 0o644


def test_a_file_that_was_made_is_removed_again(path: Path) -> None:
    assert restore(path, put_account(path, "home", HOME))
    assert not path.exists()


def test_what_somebody_has_changed_since_is_not_taken_back(written: Path) -> None:
    done = put_account(written, "home", HOME)
    put_account(written, "work", {"scope": "openid"})
    assert not restore(written, done)
    assert list(config.load(written).accounts) == ["work", "home"]
    written.unlink()
    assert not restore(written, done)


def test_taking_back_what_changed_nothing_changes_nothing(written: Path) -> None:
    done = put_account(written, "work", {"client_id": "c"})
    written.write_text("", "utf-8")
    assert restore(written, done)
    assert written.read_text("utf-8") == ""


# ---- hosts

HOSTS = """
# where I work
[hosts."git.example.com"]  # and its wiki
account = "work"

[hosts."*.example.com:8443/team"]
account = "work"
audience = "https://api.example"
"""


def test_hosts_stay_as_they_are_when_accounts_are_written(written: Path) -> None:
    written.write_text(WORK + HOSTS, "utf-8")
    hosts = config.load(written).hosts
    put_account(written, "home", {**HOME, "default": True})
    put_account(written, "work", {"audience": "https://api.example"})
    assert remove_account(written, "home")
    assert written.read_text("utf-8") == f'{WORK}audience = "https://api.example"\n{HOSTS}'
    assert config.load(written).hosts == hosts


def test_an_account_that_a_host_names_is_not_removed(written: Path) -> None:
    written.write_text(WORK + HOSTS, "utf-8")
    with pytest.raises(ConfigError, match=r"hosts\.git\.example\.com\.account: there is no account work"):
        remove_account(written, "work")
    assert written.read_text("utf-8") == WORK + HOSTS


def test_a_text_that_says_something_else_of_a_host_is_not_written(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.write_text(WORK + HOSTS, "utf-8")

    def astray(text: str, *_: object) -> str:
        return text.replace("*.example.com", "*.example.net")

    monkeypatch.setattr("auth_agent.toml_text.put", astray)
    with pytest.raises(ConfigError, match="in an editor"):
        put_account(written, "work", {"client_id": "c"} | {"audience": None})
    assert written.read_text("utf-8") == WORK + HOSTS
