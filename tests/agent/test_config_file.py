"""Writing accounts to the configuration file: what is existing_file, and what is refused."""

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from auth_agent import config
from auth_agent.config_file import Written, put_accounts, remove_account, rename_account, restore
from auth_agent.errors import ConfigError

WORK = '# mine\n\n[accounts.work]  # daily\nissuer = "https://acme.example/"\nclient_id = "c"\n'
HOME = {"issuer": "https://home.example", "client_id": "h"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth-agent" / "config.toml"


@pytest.fixture
def existing_file(path: Path) -> Path:
    """Write a file with an account, and return its path."""
    path.parent.mkdir()
    path.write_text(WORK, "utf-8")
    return path


def put_account(path: Path, name: str, keys: Mapping[str, object]) -> Written:
    return put_accounts(path, {name: keys})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_account_creates_a_file_and_directory_for_their_owner_only(path: Path) -> None:
    text = '[accounts.home]\nissuer = "https://home.example"\nclient_id = "h"\n'
    assert put_account(path, "home", HOME) == Written(("home",), {"home": ("issuer", "client_id")}, None, None, text)
    assert path.read_text("utf-8") == text
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_a_new_account_is_appended(existing_file: Path) -> None:
    result = put_account(existing_file, "a.b", HOME)
    assert (result.added, result.before) == (("a.b",), WORK)
    assert existing_file.read_text("utf-8") == (
        f'{WORK}default = true\n\n[accounts."a.b"]\nissuer = "https://home.example"\nclient_id = "h"\n'
    )
    assert list(config.load(existing_file).accounts) == ["work", "a.b"]


def test_only_the_given_keys_of_an_account_change(existing_file: Path) -> None:
    result = put_account(
        existing_file, "work", {"audience": "https://api.example", "client_id": "d", "redirect_ports": (1, 0)}
    )
    assert (result.added, result.changed) == ((), True)
    assert result.keys == {"work": ("audience", "client_id", "redirect_ports")}
    assert existing_file.read_text("utf-8") == (
        f"{WORK.replace(chr(34) + 'c' + chr(34), chr(34) + 'd' + chr(34))}"
        'audience = "https://api.example"\nredirect_ports = [1, 0]\n'
    )
    assert config.load(existing_file).accounts["work"].redirect_ports == (1, 0)


def test_an_unchanged_account_is_not_written_again(existing_file: Path) -> None:
    before = existing_file.stat()
    result = put_account(existing_file, "work", {"client_id": "c", "audience": None})
    assert (result.added, result.changed) == ((), False)
    assert existing_file.stat().st_ino == before.st_ino


def test_a_new_default_replaces_the_old_one(existing_file: Path) -> None:
    put_account(existing_file, "work", {"default": True})
    put_account(existing_file, "home", {**HOME, "default": True})
    loaded = config.load(existing_file)
    assert (loaded.default, loaded.accounts["work"].default) == (loaded.accounts["home"], False)


# ---- the default account


def test_the_first_account_becomes_the_default_when_a_second_one_is_added(existing_file: Path) -> None:
    assert put_account(existing_file, "home", HOME).default == "work"
    assert config.load(existing_file).accounts["work"].default
    assert put_account(existing_file, "lab", HOME).default is None
    assert [one.default for one in config.load(existing_file).accounts.values()] == [True, False, False]


def test_a_second_account_that_is_the_default_itself_takes_it(existing_file: Path) -> None:
    assert put_account(existing_file, "home", {**HOME, "default": True}).default is None
    assert config.load(existing_file).default == config.load(existing_file).accounts["home"]


def test_an_account_that_only_serves_another_one_leaves_the_file_s_default_unwritten(existing_file: Path) -> None:
    done = put_accounts(existing_file, {"users": HOME, "work": {"management_account": "users"}})
    assert (done.added, done.default) == (("users",), None)
    assert done.keys == {"users": ("issuer", "client_id"), "work": ("management_account",)}
    found = config.load(existing_file)
    assert (found.default, found.accounts["work"].default) == (found.accounts["work"], False)


def test_an_account_that_comes_to_serve_a_new_one_stays_the_default(existing_file: Path) -> None:
    assert put_account(existing_file, "home", {**HOME, "management_account": "work"}).default == "work"
    assert config.load(existing_file).default == config.load(existing_file).accounts["work"]


def test_a_default_that_is_taken_back_is_not_written_again(existing_file: Path) -> None:
    put_account(existing_file, "home", HOME)
    assert put_account(existing_file, "work", {"default": False}).default is None
    assert config.load(existing_file).default is None


def test_what_was_written_for_the_default_is_taken_back_with_the_rest(existing_file: Path) -> None:
    assert restore(existing_file, put_account(existing_file, "home", HOME))
    assert existing_file.read_text("utf-8") == WORK


# ---- another name

NAMED = """
[accounts."work.users"]  # Auth0's
issuer = "https://acme.example/"
client_id = "u"
management_account = 'work'

[accounts.work.authorize]
prompt = "login"  # work

[hosts."git.example.com"]
account = "work"  # where I work

[[hosts."other.example"]]
account = "work"  # once
directory = "/work"

[[hosts."other.example"]]
account = "work.users"

[[hosts."other.example"]]
account = 'work'
directory = "/srv"
"""


def test_a_renamed_account_is_renamed_wherever_it_is_named(existing_file: Path) -> None:
    existing_file.write_text(WORK + NAMED, "utf-8")
    rename_account(existing_file, "work", "acme.eu")
    assert existing_file.read_text("utf-8") == (
        (WORK + NAMED)
        .replace("[accounts.work]", '[accounts."acme.eu"]')
        .replace("[accounts.work.authorize]", '[accounts."acme.eu".authorize]')
        .replace("'work'", '"acme.eu"')
        .replace('account = "work"  # once', 'account = "acme.eu"  # once')
        .replace('account = "work"  # where', 'account = "acme.eu"  # where')
    )
    found = config.load(existing_file)
    assert list(found.accounts) == ["acme.eu", "work.users"]
    assert found.accounts["work.users"].management_account == found.hosts[0].account == "acme.eu"
    rename_account(existing_file, "acme.eu", "work")
    assert existing_file.read_text("utf-8") == (WORK + NAMED).replace("'work'", '"work"')


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wrok", "acme", "there is no account wrok"),
        ("work", "home", "there is an account home already"),
        ("work", "work", "there is an account work already"),
        ("work", "a b", "'a b' can't be an account's name"),
        ("deep", "acme", "in an editor"),
    ],
)
def test_an_account_that_can_not_be_renamed_stays_as_it_is(existing_file: Path, old: str, new: str, said: str) -> None:
    inline = '[accounts]\ndeep = { issuer = "https://acme.example/", client_id = "c" }\n'
    text = f"{inline}{WORK}{WORK.replace('work', 'home')}".replace("# mine\n", "")
    if old == "deep":
        text = 'accounts = { deep = { issuer = "https://acme.example/", client_id = "c" } }\n'
    existing_file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=re.escape(said)):
        rename_account(existing_file, old, new)
    assert existing_file.read_text("utf-8") == text


@pytest.mark.parametrize(
    ("name", "keys", "mistake"),
    [
        ("home", {"issuer": "https://home.example"}, "accounts.home: client_id is missing"),
        ("home", {**HOME, "issuer": "home.example"}, "accounts.home.issuer: 'home.example' must begin with https://"),
        ("home", {**HOME, "client_secret": "hunter2"}, "accounts.home.client_secret:"),
        ("home", {**HOME, "scope": b"x"}, "accounts.home.scope:"),
        ("work", {"client_id": None}, "accounts.work: client_id "),
        ("a b", HOME, "accounts.a b: "),
    ],
)
def test_invalid_keys_are_an_error_without_a_line_and_nothing_is_written(
    existing_file: Path, name: str, keys: dict[str, object], mistake: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        put_account(existing_file, name, keys)
    assert str(raised.value).startswith(f"{existing_file}: ")
    assert mistake in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert existing_file.read_text("utf-8") == WORK


@pytest.mark.parametrize("text", ["[accounts", "[accounts.home]\n", "x = 1\n"])
def test_an_invalid_file_is_not_changed(existing_file: Path, text: str) -> None:
    existing_file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as loaded:
        config.load(existing_file)
    for write in (lambda: put_account(existing_file, "new", HOME), lambda: remove_account(existing_file, "home")):
        with pytest.raises(ConfigError) as raised:
            write()
        assert str(raised.value) == str(loaded.value)
    assert existing_file.read_text("utf-8") == text


@pytest.mark.parametrize(
    "text",
    [
        'accounts = { work = { issuer = "https://acme.example/", client_id = "c" } }\n',
        '[accounts]\nwork = { issuer = "https://acme.example/", client_id = "c" }\n',
    ],
)
def test_a_file_in_an_unsupported_form_is_not_changed(existing_file: Path, text: str) -> None:
    existing_file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(existing_file))} ") as raised:
        put_account(existing_file, "work", {"scope": "openid"})
    with pytest.raises(ConfigError, match=f"^{re.escape(str(raised.value))}$"):
        put_account(existing_file, "home", {**HOME, "authorize": {"hint": "\udc80"}})
    assert existing_file.read_text("utf-8") == text


def test_the_line_ends_of_the_file_are_kept(existing_file: Path) -> None:
    existing_file.write_bytes(WORK.replace("\n", "\r\n").encode())
    put_account(existing_file, "home", HOME)
    assert b"\n" not in existing_file.read_bytes().replace(b"\r\n", b"")
    assert remove_account(existing_file, "home")
    assert existing_file.read_bytes() == f"{WORK}default = true\n".replace("\n", "\r\n").encode()


def test_a_symbolic_link_is_followed_and_kept(existing_file: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles.toml"
    existing_file.rename(dotfiles)
    dotfiles.chmod(0o640)
    existing_file.symlink_to("../dotfiles.toml")
    put_account(existing_file, "home", HOME)
    assert existing_file.is_symlink()
    assert list(config.load(dotfiles).accounts) == ["work", "home"]
    assert mode_of(dotfiles) == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["auth-agent", "dotfiles.toml"]


def test_a_loop_of_symbolic_links_is_an_error(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} .*(circle|symbolic links)"):
        put_account(path, "home", HOME)


def test_a_file_that_is_not_regular_is_not_changed(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} ") as raised:
        put_account(path, "home", HOME)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(raised.value))}$"):
        remove_account(path, "home")


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    path = tmp_path / "file" / "config.toml"
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} .*{os.strerror(errno.ENOTDIR)}$"):
        put_account(path, "home", HOME)


def test_removing_an_account_keeps_the_others(existing_file: Path) -> None:
    put_account(existing_file, "home", HOME)
    assert remove_account(existing_file, "home")
    assert existing_file.read_text("utf-8") == f"{WORK}default = true\n"
    assert not remove_account(existing_file, "home")
    assert remove_account(existing_file, "work")
    assert existing_file.read_text("utf-8") == "# mine\n"


def test_removing_from_a_missing_file_creates_no_file(path: Path) -> None:
    assert not remove_account(path, "home")
    assert not path.parent.exists()


def test_a_change_can_be_restored(existing_file: Path) -> None:
    existing_file.chmod(0o644)
    result = put_account(existing_file, "home", HOME)
    assert restore(existing_file, result)
    assert existing_file.read_text("utf-8") == WORK
    assert mode_of(existing_file) == 0o644


def test_restoring_removes_a_created_file(path: Path) -> None:
    assert restore(path, put_account(path, "home", HOME))
    assert not path.exists()


def test_a_file_that_changed_since_is_not_restored(existing_file: Path) -> None:
    result = put_account(existing_file, "home", HOME)
    put_account(existing_file, "work", {"scope": "openid"})
    assert not restore(existing_file, result)
    assert list(config.load(existing_file).accounts) == ["work", "home"]
    existing_file.unlink()
    assert not restore(existing_file, result)


def test_restoring_an_unchanged_file_changes_nothing(existing_file: Path) -> None:
    result = put_account(existing_file, "work", {"client_id": "c"})
    existing_file.write_text("", "utf-8")
    assert restore(existing_file, result)
    assert existing_file.read_text("utf-8") == ""


# ---- hosts

HOSTS = """
# where I work
[hosts."git.example.com"]  # and its wiki
account = "work"

[hosts."*.example.com:8443/team"]
account = "work"
audience = "https://api.example"
"""


def test_writing_accounts_does_not_change_hosts(existing_file: Path) -> None:
    existing_file.write_text(WORK + HOSTS, "utf-8")
    hosts = config.load(existing_file).hosts
    put_account(existing_file, "home", {**HOME, "default": True})
    put_account(existing_file, "work", {"audience": "https://api.example"})
    assert remove_account(existing_file, "home")
    assert existing_file.read_text("utf-8") == f'{WORK}audience = "https://api.example"\n{HOSTS}'
    assert config.load(existing_file).hosts == hosts


def test_an_account_with_a_host_rule_is_not_removed(existing_file: Path) -> None:
    existing_file.write_text(WORK + HOSTS, "utf-8")
    with pytest.raises(ConfigError, match=r"hosts\.git\.example\.com\.account: .*\bwork\b"):
        remove_account(existing_file, "work")
    assert existing_file.read_text("utf-8") == WORK + HOSTS


def test_an_edit_that_would_change_a_host_is_not_written(existing_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    existing_file.write_text(WORK + HOSTS, "utf-8")

    def edit_wrongly(text: str, *_: object) -> str:
        return text.replace("*.example.com", "*.example.net")

    monkeypatch.setattr("auth_agent.toml_text.put", edit_wrongly)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(existing_file))} "):
        put_account(existing_file, "work", {"client_id": "c"} | {"audience": None})
    assert existing_file.read_text("utf-8") == WORK + HOSTS
