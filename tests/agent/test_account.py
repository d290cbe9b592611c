"""Commands that change accounts in the configuration."""

from pathlib import Path

import pytest

from auth_agent.cli.commands import main

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
        "  first remove these host rules, or set another account there\n"
    )
    assert path.read_text("utf-8") == CONFIG
