"""A configuration of the first version is read as the first version read it."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from auth_agent import cli
from auth_agent.config import load
from tests.compatibility.first_version import DATA

CONFIG = DATA / "config.toml"
FIRST: list[dict[str, Any]] = json.loads((DATA / "accounts.json").read_text())
KEYS: list[str] = json.loads((DATA / "contract.json").read_text())["account keys"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with a copy of that configuration, which is at `tmp_path / "config.toml"`."""
    shutil.copy(CONFIG, tmp_path)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("AUTH_AGENT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("AUTH_AGENT_SOCK", str(tmp_path / "agent.sock"))

    def run(*arguments: str) -> str:
        assert cli.run_command([*arguments]) == 0
        return capsys.readouterr().out

    return run


def test_the_recorded_configuration_has_every_key_of_an_account() -> None:
    assert sorted(tomllib.loads(CONFIG.read_text())["accounts"]["work"]) == sorted(KEYS)


def test_every_account_is_read_as_before(run: Any) -> None:
    today = {account["name"]: account for account in json.loads(run("account", "list", "--json"))}
    # Keys may have been added.
    seen = [{key: today[account["name"]].get(key, "missing") for key in account} for account in FIRST]
    assert seen == FIRST


def test_the_proxies_are_read_as_before() -> None:
    assert [account.proxy for account in load(CONFIG).accounts.values()] == ["http://proxy.example:3128", None, None]


def test_adding_an_account_does_not_change_the_others(run: Any, tmp_path: Path) -> None:
    run("account", "add", "another", "--issuer", "https://id.acme.example", "--client-id", "another-app")
    accounts: dict[str, Any] = tomllib.loads((tmp_path / "config.toml").read_text())["accounts"]
    assert accounts.pop("another")["client_id"] == "another-app"
    assert accounts == tomllib.loads(CONFIG.read_text())["accounts"]
