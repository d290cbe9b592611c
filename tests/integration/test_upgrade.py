"""An upgrade: from an installed first version to today's, in the middle of everything, and it costs no login."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from auth_agent_client import Agent, InvalidRequest
from tests.compatibility.first_version import DATA, ROOT, install
from tests.integration import conftest
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.test_worker import workers_of
from tests.op.provider import CREDENTIALS, OpenIDProvider

FIRST: Final = "0.1.0"
# What the installed copy of today's version is called, to distinguish it from the first.
TODAY: Final = "1000.0"
API: Final = "https://api.acme.example"
PERSONS: Final = ("work", "home")
# What the status of the first version has about the agent and its store.
ABOUT: Final = frozenset(
    ("version", "pid", "agent_id", "started_at", "socket", "config", "default", "store", "restart_refused")
)
STORE: Final = frozenset(("name", "state", "backend", "problem", "remedy", "unread", "unsaved"))
# A program that keeps its connection open, and requests a token for each line of its input.
PROGRAM: Final = """
import sys
from auth_agent_client import Agent, __version__
with Agent() as agent:
    for name in sys.stdin:
        print(__version__, agent.token(name.strip()).access_token, flush=True)
"""

both_ways = pytest.mark.parametrize(
    ("agents", "commands"), [(FIRST, TODAY), (TODAY, FIRST)], ids=["new commands, old agent", "old commands, new agent"]
)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A directory with the packages of each version."""
    first, today = (tmp_path_factory.mktemp(version) for version in (FIRST, TODAY))
    install(first)
    for package in ("agent/auth_agent", "client/auth_agent_client"):
        shutil.copytree(ROOT / package, today / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    module = today / "auth_agent_client" / "__init__.py"
    text, count = re.subn(r'^__version__ = ".*"$', f'__version__ = "{TODAY}"', module.read_text(), flags=re.MULTILINE)
    assert count == 1
    module.write_text(text)
    return {FIRST: first, TODAY: today}


class Machine:
    """An agent that is installed, and the commands and programs of either version beside it."""

    def __init__(self, agent: AgentProcess, site: Path, versions: Mapping[str, Path]) -> None:
        self.agent = agent
        self._site = site
        self._versions = versions

    def install(self, version: str) -> None:
        """Replace what is installed, as pip does."""
        for path in self._site.iterdir():
            shutil.rmtree(path)
        shutil.copytree(self._versions[version], self._site, dirs_exist_ok=True)

    def run(self, version: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of that version; none of them may break down."""
        result = subprocess.run(
            [*COMMAND, *arguments],
            env=self._environment(version),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in result.stderr
        assert "defect" not in result.stderr
        return result

    @contextmanager
    def watching(self, version: str) -> Generator[Callable[[], str]]:
        """Run `watch` of that version; yield a function that returns its output so far."""
        with (self.agent.home / "watched").open("w+") as output:
            process = subprocess.Popen(
                [*COMMAND, "watch", "--json"],
                env=self._environment(version),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                yield Path(output.name).read_text
            finally:
                process.kill()
                process.wait(PATIENCE)

    @contextmanager
    def program(self, version: str) -> Generator[Callable[[str], str]]:
        """Run a program with that version's client; yield a function that returns its token of an account."""
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            env=self._environment(version),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:

            def ask(name: str) -> str:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{name}\n")
                process.stdin.flush()
                its_version, token = process.stdout.readline().split()
                assert its_version == version
                return token

            try:
                yield ask
            finally:
                process.kill()

    def _environment(self, version: str) -> Mapping[str, str]:
        return {**self.agent.environment, "PYTHONPATH": str(self._versions[version])}


@pytest.fixture
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session:
        yield session


@pytest.fixture
def start(
    versions: Mapping[str, Path], keyring: KeyringSession, provider: OpenIDProvider, tmp_path: Path
) -> Generator[Callable[[str], Machine]]:
    """Starts the agent of a version: with two persons and a service, none of them logged in."""
    accounts = {
        "work": account(provider, default=True),
        "home": account(provider, "second-app"),
        "robot": account(
            provider,
            "service-app",
            audience=API,
            grant="client_credentials",
            token_endpoint_auth_method=CREDENTIALS["service-app"].method,
        ),
        "nobody": account(provider),
    }
    site = tmp_path / "site"
    site.mkdir()
    environment = {**keyring.environment, "PYTHONPATH": str(site)}
    with ExitStack() as stack:

        def start(version: str) -> Machine:
            agent = AgentProcess(accounts, environment=environment, store="keyring", started=False)
            machine = Machine(stack.enter_context(agent), site, versions)
            machine.install(version)
            agent.start()
            return machine

        yield start


def log_in(client: Agent, provider: OpenIDProvider) -> None:
    """Log all of them in, and wait until that is in the keyring."""
    conftest.log_in(client, provider)
    conftest.log_in(client, provider, "home", user="auth0|bob", client_id="second-app")
    params = {"account": "robot", "flow": "browser", "client_secret": CREDENTIALS["service-app"].secret}
    login = client.call("login", params)
    client.call("login_result", {"login_id": login["login_id"]})
    until(lambda: all(one["saved"] is True for one in sessions(client).values()))


def sessions(client: Agent) -> dict[str, dict[str, Any]]:
    """Return the record of each session, without what changes by itself."""
    records = {name: record(client, name) for name in (*PERSONS, "robot")}
    changes = {"revision", "refresh_at"}
    return {name: {key: one[key] for key in one.keys() - changes} for name, one in records.items()}


def with_fields_of(now: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the records with only the keys from before: a new version may have more."""
    return {name: {key: one[key] for key in before[name]} for name, one in now.items()}


def tokens(client: Agent) -> dict[str, str]:
    return {name: client.token(name).access_token for name in (*PERSONS, "robot")}


def login_grants(provider: OpenIDProvider) -> list[str | None]:
    """Return the grant types of the requests that began sessions."""
    kinds = [request.grant_type for request in provider.requests(provider.token_path)]
    return [kind for kind in kinds if kind not in {"refresh_token", "client_credentials"}]


def presentations(provider: OpenIDProvider) -> list[int]:
    """How often each refresh token was presented."""
    return [row.presented for row in provider.ledger().values()]


def refresh_all(agent: AgentProcess, provider: OpenIDProvider) -> None:
    """Refresh every session: its provider takes the tokens that come of it, and they are kept."""
    with agent.client() as client:  # a connection has a limit of such requests
        for name in (*PERSONS, "robot"):
            before = client.token(name).access_token
            token = client.refresh(name).access_token
            assert token != before
            assert token in provider.secrets()["access_token"]
            if name in PERSONS:
                assert provider.userinfo(token).status_code == 200
        until(lambda: all(one["saved"] is True for one in sessions(client).values()))


# ---- restarts


@pytest.mark.parametrize("command", [FIRST, TODAY])
def test_a_restart_into_the_new_version_costs_no_login(
    command: str, start: Callable[[str], Machine], provider: OpenIDProvider
) -> None:
    machine = start(FIRST)
    agent = machine.agent
    with agent.client() as client, machine.program(FIRST) as program, machine.watching(command) as watched:
        log_in(client, provider)
        logins, hello = login_grants(provider), client.hello()
        assert hello["version"] == FIRST
        assert program("home") == client.token("home").access_token
        until(lambda: '"account": "robot"' in watched())

        machine.install(TODAY)
        # The old agent goes on, also with a worker process that it starts from what is installed now.
        for pid in workers_of(agent.process.pid):
            os.kill(pid, signal.SIGKILL)
        refresh_all(agent, provider)
        served, message, requests = tokens(client), sessions(client), provider.count(provider.token_path)
        assert client.hello()["version"] == FIRST

        result = machine.run(command, "restart")
        assert result.returncode == 0, result.stderr
        assert result.stderr == f"restarted: process {agent.process.pid}, version {TODAY}\n"
        assert agent.process.poll() is None
        after = client.hello()
        assert (after["version"], after["pid"]) == (TODAY, hello["pid"])
        assert after["agent_id"] != hello["agent_id"]
        # From the keyring, and without the provider.
        assert tokens(client) == served
        assert program("home") == served["home"]
        assert with_fields_of(sessions(client), message) == message
        assert provider.count(provider.token_path) == requests

        refresh_all(agent, provider)
        assert program("work") == client.token("work").access_token
        until(lambda: "the agent is back" in watched())
        until(lambda: '"refreshes": 2' in watched().partition("the agent is back")[2])
        assert login_grants(provider) == logins
        assert set(presentations(provider)) == {1}


def test_the_way_back_to_the_first_version_costs_no_login(
    start: Callable[[str], Machine], provider: OpenIDProvider
) -> None:
    machine = start(TODAY)
    with machine.agent.client() as client:
        log_in(client, provider)
        refresh_all(machine.agent, provider)
        served = tokens(client)
        machine.install(FIRST)
        assert machine.run(TODAY, "restart").returncode == 0
        assert client.hello()["version"] == FIRST
        assert tokens(client) == served
        refresh_all(machine.agent, provider)
    assert set(presentations(provider)) == {1}


# ---- one version's commands and programs, the other's agent


@both_ways
def test_commands_and_programs_of_one_version_are_served_by_the_agent_of_the_other(
    agents: str, commands: str, start: Callable[[str], Machine], keyring: KeyringSession, provider: OpenIDProvider
) -> None:
    machine = start(agents)

    def run(*arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        result = machine.run(commands, *arguments)
        assert result.returncode == code, result.stderr
        return result

    with machine.agent.client() as client:
        log_in(client, provider)
        served = tokens(client)
        with machine.program(commands) as program, machine.watching(commands) as watched:
            assert program("work") == served["work"]
            until(lambda: len(re.findall('^{"account": ', watched(), re.MULTILINE)) == 4)

        output = run("status").stdout
        assert all(name in output for name in (*PERSONS, "robot", "nobody"))
        assert f"version {agents}" in output
        assert ("auth-agent restart" in output) is (agents == FIRST)
        status: dict[str, Any] = json.loads(run("status", "--json").stdout)
        assert status["agent"]["version"] == agents
        assert set(status["agent"]) >= ABOUT
        assert set(status["agent"]["store"]) >= STORE
        assert [one["account"] for one in status["accounts"]] == ["work", "home", "robot", "nobody"]
        run("status", "work", "--check")

        assert run("token").stdout == f"{served['work']}\n"
        token: dict[str, Any] = json.loads(run("token", "robot", "--json").stdout)
        assert (token["access_token"], token["audience"]) == (served["robot"], API)
        assert "nobody" in run("token", "nobody", code=4).stderr
        assert "stranger" in run("token", "stranger", code=1).stderr
        assert "alice" in run("profile").stdout

        assert "stranger" in run("login", "stranger", code=1).stderr
        provider.fault("status", route=None, status=503, times=None)
        run("login", "work", "--flow", "device", code=5)
        provider.clear_faults()
        assert tokens(client) == served

        run("logout", "home")
        assert record(client, "home")["state"] == "logged_out"
        assert provider.userinfo(served["home"]).status_code == 401

        keyring.lock()
        client.refresh("work")
        until(lambda: json.loads(run("status", "--json").stdout)["agent"]["store"]["state"] == "locked")
        # The remedy is a string in the first version.
        assert ("unlock" if commands == TODAY else "locked") in run("status").stdout


# ---- what the first version left behind


def current_entry(path: Path, provider: OpenIDProvider) -> dict[str, Any]:
    """An entry of the first version, as if it were of today, and of that provider."""
    entry: dict[str, Any] = json.loads(path.read_text())
    entry["login"]["issuer"] = provider.issuer
    if entry["token"] is not None:
        entry["token"]["obtained_at"] = time.time()
    if entry["profile"] is not None:
        entry["profile"]["fetched_at"] = time.time()
    return entry


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A copy of the notes of the first version, where `XDG_STATE_HOME` is `tmp_path`."""
    return Path(shutil.copytree(DATA / "state", tmp_path / "auth-agent"))


def test_sessions_and_notes_of_the_first_version_are_read(provider: OpenIDProvider, state: Path) -> None:
    entries = {path.stem: current_entry(path, provider) for path in sorted((DATA / "entries").glob("*.json"))}
    del entries["numbered"]  # only a keychain of macOS has such
    logins = {name: entry["login"] for name, entry in entries.items()}
    accounts = {name: account(provider, login["client_id"], grant=login["grant"]) for name, login in logins.items()}
    for name, login in logins.items():
        accounts[name] |= {"audience": login["audience"]} if login["audience"] is not None else {}
    provider.reset()
    with KeyringSession(entries={name: json.dumps(entry) for name, entry in entries.items()}) as keyring:
        environment = {**keyring.environment, "XDG_STATE_HOME": str(state.parent)}
        with AgentProcess(accounts, environment=environment, store="keyring") as agent, agent.client() as client:
            expected = {
                **dict.fromkeys(["logged-in", "robot", "rotated", "interrupted"], "ready"),
                **dict.fromkeys(["ended", "to-be-seen", "quarantined", "least"], "login_required"),
                "without-token": "expired",
                "logged-out": "logged_out",
            }
            until(lambda: {name: record(client, name)["state"] for name in expected} == expected)
            # One has no token; the last response to another may have been lost. The provider refuses made-up tokens.
            for name in ("without-token", "interrupted"):
                until(partial(agent.logged, f"refresh account={name} outcome=failed"))
            assert {line.partition("account=")[2].split()[0] for line in agent.logged(" refresh account=")} == {
                "without-token",
                "interrupted",
            }

            one = record(client, "logged-in")
            login = logins["logged-in"]
            assert (one["subject"], one["name"]) == (login["subject"], login["name"])
            assert (one["refreshes"], one["session_ends_at"]) == (17, login["ends_at"])
            assert client.token("logged-in").access_token == "made-up access token"
            assert client.token("robot").scope == entries["robot"]["token"]["scope"]
            assert client.profile("logged-in").claims == entries["logged-in"]["profile"]["claims"]
            for name in ("ended", "to-be-seen"):
                assert entries[name]["ended"]["reason"] in str(record(client, name)["reason"])

            with pytest.raises(InvalidRequest, match="used before"):
                client.import_refresh_token("made-up refresh token of rotated, the first", "rotated")
            until(lambda: keyring.read("logged-out") is None)
    for path in sorted((DATA / "state").rglob("*.json")):
        now = json.loads((state / path.relative_to(DATA / "state")).read_text())
        assert kinds(now).items() >= kinds(json.loads(path.read_text())).items()


def kinds(note: dict[str, Any]) -> dict[str, str]:
    """Return the type of each value; what may be null is a string otherwise."""
    return {name: type("" if value is None else value).__name__ for name, value in note.items()}


def test_the_agent_waits_for_a_keyring_that_the_first_version_used(provider: OpenIDProvider, state: Path) -> None:
    with KeyringSession(keyring=False) as bus:
        environment = {**bus.environment, "XDG_STATE_HOME": str(state.parent)}
        agent = AgentProcess({"work": account(provider)}, environment=environment, store="keyring")
        with agent, agent.client() as client:

            def store() -> dict[str, Any]:
                about: Any = client.status()["agent"]
                result: dict[str, Any] = about["store"]
                return result

            until(lambda: store()["problem"])
            assert store()["state"] == "failing"
            assert record(client)["state"] == "locked"
