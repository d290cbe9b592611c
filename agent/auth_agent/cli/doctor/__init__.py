"""`auth-agent doctor`: check everything that the agent depends on."""

import json
import os
import stat
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path

import anyio
import click

from auth_agent import remedies
from auth_agent.cli import exits
from auth_agent.cli.doctor.agent import judge_agent, judge_files, judge_missing, judge_session, judge_store
from auth_agent.cli.doctor.directories import check_directories
from auth_agent.cli.doctor.environment import check_environment
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding, report, worst
from auth_agent.cli.doctor.keyring import KeyringUnknownError, judge_bus, keyring_owner
from auth_agent.cli.doctor.ports import check_peers, check_ports
from auth_agent.cli.doctor.provider import check_providers
from auth_agent.cli.doctor.service import judge_service
from auth_agent.cli.doctor.system import describe_program
from auth_agent.cli.screen import print_lines
from auth_agent.cli.terminal import terminal_of
from auth_agent.config import Account, Config, config_path, load
from auth_agent.errors import ConfigError, StartupError
from auth_agent.host.event_loop import EventLoop
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.providers import HttpProviders
from auth_agent.proxies import environment_proxies
from auth_agent.service.managers import platform_manager
from auth_agent.storage.lock import lost_agent
from auth_agent.storage.state_directory import state_path
from auth_agent_client import Agent, __version__
from auth_agent_client.errors import AgentError, AgentNotRunning, Misconfigured
from auth_agent_client.paths import socket_path


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(*, as_json: bool) -> int:
    """Check the agent, its socket, store, configuration, environment and providers, and say what helps.

    The output holds no token, code or secret; it has names, issuers and paths. The exit code is 1 if something is
    wrong, and 0 if there are only warnings.

    Example: auth-agent doctor

    Example: auth-agent doctor --json > report.json
    """
    findings = list(_findings())
    if as_json:
        result = {"verdict": worst(findings), "findings": [finding.as_json() for finding in findings]}
        click.echo(json.dumps(result, indent=2))
    else:
        terminal = terminal_of(sys.stdout)
        print_lines(report(findings, terminal), terminal)
    return exits.ERROR if worst(findings) == WRONG else exits.OK


def _findings() -> Generator[Finding, None, None]:
    yield describe_program(__version__)
    yield from check_environment(os.environ)
    yield from check_directories()
    try:
        path, manager, bus = config_path(), platform_manager(), judge_bus()
    except Misconfigured:
        return  # as the finding about the directories says; nothing else can be found
    if bus is not None:
        yield bus
    try:
        config = load(path)
    except ConfigError as error:
        config = Config(path)
        yield Finding("config", WRONG, str(error), (remedies.correct_configuration(),))
    else:
        yield from _judge_config(config)
    yield from _ask_agent(path)
    yield judge_service(manager)
    yield from _keyring()
    yield from check_ports(config.accounts.values())
    yield check_peers()
    yield from _providers(config.accounts.values())


def _judge_config(config: Config) -> Generator[Finding, None, None]:
    names = ", ".join(config.accounts) or "no account yet"
    yield Finding("config", GOOD, f"{config.path}: {names}")
    try:
        mode = config.path.stat().st_mode
    except OSError:
        return  # there is none yet
    if stat.S_IMODE(mode) & 0o022:
        text = f"others may write to {config.path}, and choose where you log in"
        yield Finding("config", WRONG, text, (remedies.close_file(os.fspath(config.path)),))


def _ask_agent(config: Path) -> Generator[Finding, None, None]:
    try:
        with Agent() as agent:
            status = agent.status()
    except AgentError as error:
        lost = isinstance(error, AgentNotRunning)
        yield judge_missing(error, lost_agent(state_path(), Path(socket_path())) if lost else None)
        return
    now = time.time()
    yield from judge_agent(status, __version__, os.fspath(config), now)
    yield from judge_store(status)
    if not status.agent.locked:
        yield from (judge_session(record, now) for record in status.accounts)
        yield from judge_files(status)


def _keyring() -> Generator[Finding, None, None]:
    if sys.platform != "linux":
        return
    try:
        owner = keyring_owner()
    except KeyringUnknownError as error:
        yield Finding("keyring", WARNING, str(error), (remedies.move_to_file(), remedies.run_with_keyring()))
    else:
        yield Finding("keyring", GOOD, owner or "no keyring service runs now")


def _providers(accounts: Iterable[Account]) -> list[Finding]:
    async def check() -> list[Finding]:
        providers = HttpProviders(trusted_certificates(), environment_proxies(os.environ))
        findings: list[Finding] = []
        async with anyio.create_task_group() as tasks:
            providers.run_in(tasks)
            findings += await check_providers(accounts, providers)
            tasks.cancel_scope.cancel()
        return findings

    try:
        return anyio.run(check, backend_options={"loop_factory": EventLoop})
    except StartupError as error:
        return [Finding("provider", WRONG, str(error), (*error.remedy, remedies.certificates()))]
