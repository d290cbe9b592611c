"""`auth-agent doctor` with real agents, providers and keyrings."""

import json
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from auth_agent.cli.doctor.finding import Finding
from auth_agent.cli.doctor.provider import check_providers
from auth_agent.config import Account
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.providers import HttpProviders
from auth_agent.proxies import Proxies
from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.keyring_session import KeyringSession
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider


def diagnose(agent: AgentProcess, code: int) -> dict[str, list[Mapping[str, Any]]]:
    """Run `auth-agent doctor --json`, which must end with that exit code; return the findings by check."""
    result = agent.run("doctor", "--json")
    assert result.returncode == code, result.stdout
    findings: dict[str, list[Mapping[str, Any]]] = {}
    for finding in json.loads(result.stdout)["findings"]:
        findings.setdefault(finding["check"], []).append(finding)
    return findings


def verdicts(findings: list[Mapping[str, Any]]) -> list[str]:
    return [finding["verdict"] for finding in findings]


def test_doctor_finds_a_healthy_agent_good_and_names_the_keyring(provider: OpenIDProvider) -> None:
    accounts = {"work": account(provider, redirect_ports=[0])}
    with (
        KeyringSession() as keyring,
        AgentProcess(accounts, environment=keyring.environment, store="keyring") as agent,
        agent.client() as client,
    ):
        log_in(client, provider)
        findings = diagnose(agent, 0)
        assert findings["keyring"][0]["text"].startswith("gnome-keyring-daemon (process ")
        keyring.lock()
        agent.terminate()
        agent.start()
        until(lambda: client.status().agent.store.state == "locked")
        locked = diagnose(agent, 1)
    for check in ("agent", "socket", "store", "session", "provider", "clock", "ports", "redirects", "config"):
        assert verdicts(findings[check]) == ["good"], check
    assert verdicts(locked["store"]) == ["wrong"]
    assert locked["store"][0]["remedy"]


def test_without_an_agent_everything_else_is_checked(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider, redirect_ports=[0])}, started=False) as nowhere:
        nowhere.environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nonexistent"
        findings = diagnose(nowhere, 0)
    assert verdicts(findings["agent"]) == ["warning"]
    assert findings["agent"][0]["remedy"][0]["command"] == ["auth-agent", "start"]
    assert verdicts(findings["keyring"]) == ["warning"]
    assert verdicts(findings["provider"]) == ["good"]


def test_an_unreachable_provider_is_wrong_and_the_others_are_checked(provider: OpenIDProvider) -> None:
    accounts: dict[str, dict[str, object]] = {
        "work": account(provider),
        "gone": {"issuer": "http://127.0.0.1:1", "client_id": "id"},
    }
    with AgentProcess(accounts) as agent:
        good, gone = diagnose(agent, 1)["provider"]
    assert (good["verdict"], gone["verdict"]) == ("good", "wrong")
    assert "(gone)" in gone["text"]
    assert gone["remedy"]


def test_the_check_of_a_provider_that_hangs_times_out(provider: OpenIDProvider) -> None:
    provider.fault("delay", route="/.well-known/openid-configuration", ms=60_000)

    async def check() -> list[Finding]:
        providers = HttpProviders(trusted_certificates(), Proxies())
        findings: list[Finding] = []
        async with anyio.create_task_group() as tasks:
            providers.run_in(tasks)
            findings += await check_providers([Account("work", provider.issuer, "id")], providers, patience=0.2)
            tasks.cancel_scope.cancel()
        return findings

    (finding,) = anyio.run(check)
    assert (finding.check, finding.verdict) == ("provider", "wrong")


def test_a_wrong_clock_is_a_warning(start_provider: Any) -> None:
    provider = start_provider(clock_offset=3600)
    with AgentProcess({"work": account(provider)}) as agent:
        (clock,) = diagnose(agent, 0)["clock"]
    assert clock["verdict"] == "warning"
    assert "behind" in clock["text"]


def test_a_mistake_in_the_configuration_is_wrong(agent: AgentProcess) -> None:
    agent.config.write_text("[accounts.work]\nisuer = 1\n")
    (config,) = diagnose(agent, 1)["config"]
    assert "did you mean issuer?" in config["text"]


def test_a_configuration_that_others_may_change_is_wrong(agent: AgentProcess) -> None:
    agent.config.chmod(0o666)
    _, config = diagnose(agent, 1)["config"]
    assert config["remedy"][0]["command"] == ["chmod", "600", str(agent.config)]


def test_the_output_holds_no_secret(provider: OpenIDProvider) -> None:
    proxy = "http://anna:proxy-secret@127.0.0.1:1"
    accounts: dict[str, dict[str, object]] = {
        "work": account(provider),
        "proxied": {"issuer": "https://a.invalid", "client_id": "i", "proxy": proxy},
    }
    with AgentProcess(accounts, environment={"HTTPS_PROXY": proxy}) as agent, agent.client() as client:
        log_in(client, provider)
        token = client.token("work").access_token
        output = agent.run("doctor").stdout + agent.run("doctor", "--json").stdout
    assert "proxied" in output
    assert not [secret for secret in ("proxy-secret", token) if secret in output]


@pytest.mark.parametrize("columns", [40, 80])
def test_the_report_fits_the_terminal(columns: int, agent: AgentProcess) -> None:
    with Terminal([*COMMAND, "doctor"], agent.environment, columns) as terminal:
        assert terminal.end() in (0, 1)
        lines = terminal.shown.splitlines()
    assert any(line.startswith("● program") for line in lines)
    assert all(len(line) <= columns for line in lines if str(agent.home) not in line and "dbus-run" not in line)
