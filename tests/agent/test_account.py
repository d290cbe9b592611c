"""Accounts in the configuration, as commands show and change them."""

import json
from pathlib import Path
from typing import Any

import pytest

from auth_agent import config
from auth_agent.cli.account_details import details_json, details_lines
from auth_agent.cli.account_options import options_of
from auth_agent.cli.commands import main
from auth_agent.cli.terminal import Terminal
from auth_agent_client import Record

CONFIG = """
[accounts.work]
issuer = "https://acme.example/"
client_id = "client"

[hosts."git.example.com"]
account = "work"

[hosts."*.example.com"]
account = "work"
"""


def test_an_account_with_host_rules_is_neither_removed_nor_logged_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, "utf-8")
    monkeypatch.setenv("AUTH_AGENT_CONFIG", str(path))
    # No agent listens there: the command must fail before it asks for the session.
    monkeypatch.setenv("AUTH_AGENT_SOCK", str(tmp_path / "agent.sock"))
    assert main(["account", "remove", "work", "--logout"]) == 1
    assert capsys.readouterr().err == (
        f'auth-agent: work is still named in {path} by [hosts."git.example.com"], [hosts."*.example.com"]\n'
        "  first remove these tables, or set another account there\n"
    )
    assert path.read_text("utf-8") == CONFIG


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and no agent."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, "utf-8")
    monkeypatch.setenv("AUTH_AGENT_CONFIG", str(path))
    monkeypatch.setenv("AUTH_AGENT_SOCK", str(tmp_path / "agent.sock"))
    return path


def test_an_empty_redirect_path_is_written_and_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--redirect-host", "localhost", "--redirect-path", "")
    assert main(["account", "add", "home", *HOME, *options]) == 0
    account = config.load(path).accounts["home"]
    assert (account.redirect_host, account.redirect_path) == ("localhost", "")
    capsys.readouterr()
    assert main(["account", "show", "home"]) == 0
    assert '  redirect_path                  ""\n' in capsys.readouterr().out


HOME = ("--issuer", "https://home.example", "--client-id", "h")


def test_a_second_account_is_added_without_taking_the_default_away(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["account", "add", "home", *HOME]) == 0
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"Added the account home to {path}",
        "work stays the default account: it has default = true now",
    ]
    assert main(["account", "list", "--json"]) == 0
    assert [one["default"] for one in json.loads(capsys.readouterr().out)] == [True, False]


def test_another_account_is_made_the_default(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["account", "add", "home", *HOME])
    assert main(["account", "default", "home"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "home is the default account"
    assert main(["account", "default", "home"]) == 0
    assert capsys.readouterr().err == "home is the default account already\n"
    found = config.load(path)
    assert (found.default, found.accounts["work"].default) == (found.accounts["home"], False)
    assert main(["account", "default", "hom"]) == 1
    assert "did you mean home?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("login",), ("account", "show")])
def test_a_command_that_needs_a_default_lists_the_accounts_and_how_to_choose_one(
    command: tuple[str, ...], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(f"{CONFIG}{CONFIG.partition('[hosts')[0].replace('work', 'home')}", "utf-8")
    assert main([*command]) == 2
    assert capsys.readouterr().err == (
        "auth-agent: which account? there is no default among: work, home\n"
        "  name one, or make one the default account: auth-agent account default work\n"
    )


def test_the_account_list_calls_the_only_account_the_default_in_json_too(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del path
    assert main(["account", "list", "--json"]) == 0
    assert [(one["name"], one["default"]) for one in json.loads(capsys.readouterr().out)] == [("work", True)]


# ---- all of an account

FULL = """
[accounts.work]
issuer = "https://acme.example/"
client_id = "client"
proxy = "http://anna:hunter2@proxy.example:3128"
authorize = { prompt = "login" }
redirect_ports = [0]

[accounts.home]
issuer = "https://acme.example/"
client_id = "client"
management_account = "work"

[hosts."git.example.com"]
account = "work"
"""
RECORD = Record(account="work", state="login_required", name="Alice \x1b[31mExample", subject="a|1")


def test_all_keys_of_an_account_are_shown_with_what_refers_to_it() -> None:
    found = config.parse(Path("/etc/config.toml"), FULL)
    lines = details_lines(found.accounts["work"], found, RECORD, running=True)
    assert lines == [
        "work  /etc/config.toml",
        "  issuer                         https://acme.example/",
        "  client_id                      client",
        "  default                        no",
        "  audience                       not set",
        "  scope                          openid profile email offline_access (default)",
        "  redirect_ports                 0",
        "  redirect_host                  127.0.0.1 (default)",
        "  redirect_path                  /callback (default)",
        "  authorize                      prompt=login",
        "  token_parameters               not set",
        "  token_headers                  not set",
        "  grant                          authorization_code (default)",
        "  token_endpoint_auth_method     not set",
        "  management_account             not set",
        "  management_audience            not set",
        "  authorization_endpoint         not set",
        "  token_endpoint                 not set",
        "  device_authorization_endpoint  not set",
        "  revocation_endpoint            not set",
        "  userinfo_endpoint              not set",
        "  jwks_uri                       not set",
        "  id_token_signed_response_alg   not set",
        "  ca_file                        not set",
        "  client_certificate             not set",
        "  client_key                     not set",
        "  side_requests                  not set",
        "  token_type                     not set",
        "  require_claims                 not set",
        "  refresh_ends_access_token      not set",
        "  proxy                          http://proxy.example:3128",
        "  session                        login required (Alice [31mExample)",
        "  hosts                          git.example.com",
        "  manages                        home",
    ]
    narrow = details_lines(found.accounts["work"], found, None, running=False, terminal=Terminal(40))
    assert max(map(len, narrow)) <= 40


def test_an_account_as_json_has_its_session_and_no_password() -> None:
    found = config.parse(Path("/etc/config.toml"), FULL)
    shown: dict[str, Any] = json.loads(json.dumps(details_json(found.accounts["work"], found, RECORD)))
    assert shown["proxy"] == "http://proxy.example:3128"
    assert (shown["hosts"], shown["management_account_of"]) == (["git.example.com"], ["home"])
    assert (shown["state"], shown["session"]["subject"]) == ("login_required", "a|1")
    assert details_json(found.accounts["home"], found, None)["session"] is None


def test_the_options_of_keys_are_those_that_gave_them() -> None:
    keys = {
        "issuer": "https://acme.example/",
        "audience": None,
        "redirect_ports": (1, 2),
        "redirect_path": "",
        "authorize": {"prompt": "login", "hint": "a=b"},
        "default": False,
    }
    assert options_of(keys) == (
        *("--issuer", "https://acme.example/", "--audience", "", "--redirect-port", "1", "--redirect-port", "2"),
        *("--redirect-path", ""),
        *("--authorize", "prompt=login", "--authorize", "hint=a=b", "--no-default"),
    )


# ---- another name


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the notes; no agent has the store."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "auth-agent"


def test_without_an_agent_the_next_one_finds_a_note_of_the_new_name(
    path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["account", "rename", "work", "acme"]) == 0
    assert capsys.readouterr().err == f"Renamed the account work to acme in {path}\n"
    assert path.read_text("utf-8") == CONFIG.replace("work", "acme")
    (note,) = state.glob("sessions/acme.*.json")
    assert json.loads(note.read_text())["moved_from"] == "work"
    assert main(["account", "rename", "acme", "third"]) == 1
    assert capsys.readouterr().err == (
        "auth-agent: acme was renamed before, and no agent has run since\n  start one: auth-agent start\n"
    )
    assert list(config.load(path).accounts) == ["acme"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("wrok", "acme"), 1, "did you mean work?"),
        (("work", "work"), 1, "the account work exists already"),
        (("work", "a b"), 2, "can't be an account's name"),
    ],
)
def test_a_wrong_name_renames_nothing(
    arguments: tuple[str, ...], code: int, said: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["account", "rename", *arguments]) == code
    assert said in capsys.readouterr().err
    assert path.read_text("utf-8") == CONFIG
