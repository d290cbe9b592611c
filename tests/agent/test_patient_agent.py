"""Whom a command waits for, as the agent's status has it."""

from typing import Any

import pytest

from auth_agent.cli.patient_agent import awaited_by


def record(name: str, **more: object) -> dict[str, object]:
    return {"account": name, "issuer": f"https://{name}.example/realms/x", "state": "ready", "renewal": "idle", **more}


def status(*records: dict[str, object], store: str = "keyring", default: str | None = "work") -> dict[str, Any]:
    return {"agent": {"default": default, "store": {"name": store}}, "accounts": [*records]}


WORK, HOME = record("work"), record("home", renewal="running")


@pytest.mark.parametrize(
    ("shown", "account", "is_known", "host"),
    [
        (status(WORK, HOME), "home", True, "home.example"),
        (status(WORK, HOME), None, True, "work.example"),
        # Of a URL's account only that is known: its token is being refreshed.
        (status(WORK, HOME), None, False, "home.example"),
        (status(HOME, record("lab", renewal="running")), None, False, "the provider"),
        (status(WORK), None, False, "the provider"),
        (status(WORK, default=None), None, True, "the provider"),
        (status(record("work", issuer="http://127.0.0.1:3400/")), "work", True, "127.0.0.1:3400"),
        (status(record("work", issuer="https://[")), "work", True, "the provider"),
        (status(record("work", issuer=None)), "work", True, "the provider"),
        (status(record("work", state="locked")), "work", True, "the keyring"),
        (status(record("work", state="locked"), store="file"), "work", True, "the store"),
        ({}, "work", True, "the provider"),
    ],
)
def test_whom_a_command_waits_for(shown: dict[str, object], account: str | None, is_known: bool, host: str) -> None:
    assert awaited_by(shown, account, is_known=is_known) == host
