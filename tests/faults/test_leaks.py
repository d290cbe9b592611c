"""A long scenario with every kind of secret, and then a search for them wherever they must not be.

The search is for all secrets that the provider issued or received, complete, encoded and in part. To prove that it
works, it must find them where they belong: in the keyring, in clients' requests, and in the responses with tokens.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import httpx
import pytest

from auth_agent_client import Agent, AgentError
from tests.faults import defective
from tests.faults.search import Search
from tests.faults.tap import Tap
from tests.integration import test_login
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import CREDENTIALS, OpenIDProvider

PROXY_PASSWORD = "canary-of-the-proxy"
# Methods whose responses contain a token, and the secrets in an authorization URL, which the browser sends back.
TOKEN_METHODS = ("token", "id_token", "rejected", "refresh")
TOKENS = {"access_token", "id_token"}
IN_THE_URL = {"state", "nonce"}
# Refreshes are rate-limited by connection, so every fault has its own account.
ROUNDS = tuple(f"round-{number}" for number in range(10))
ECHOES = ("values", "form", "part", "base64", "header")


class Evidence(NamedTuple):
    """What the scenario left."""

    secrets: dict[str, list[str]]
    search: Search
    places: dict[str, bytes]
    kept: bytes
    requests: bytes
    replies: list[tuple[str, bytes]]

    def found(self, place: str) -> set[str]:
        return self.search.find(self.places[place])


class Sampler(threading.Thread):
    """Reads `/proc` of an agent and its workers repeatedly."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.pid: int | None = None
        self.seen: set[bytes] = set()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.003):
            if self.pid is not None:
                for pid in (self.pid, *descendants(self.pid)):
                    self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                self.seen.add(Path(f"/proc/{pid}/{name}").read_bytes())

    def end(self) -> None:
        self._over.set()
        self.join(PATIENCE)


def descendants(pid: int) -> list[int]:
    """Return the agent's workers: each is a process and its child, which has the secrets."""
    with contextlib.suppress(OSError):
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [one for child in children for one in (child, *descendants(child))]
    return []


def files(*roots: Path) -> bytes:
    """Return every file below the roots, with its name; not the configuration, which has the proxy's password."""
    contents: list[bytes] = []
    for root in roots:
        for path in root.rglob("*"):
            contents.append(os.fsencode(path))
            if path.is_file() and path.name not in ("config.toml", "log"):
                contents.append(path.read_bytes())
    return b"\n".join(contents)


class Scenario:
    """Runs the scenario step by step, and records all output."""

    def __init__(self, stack: ExitStack) -> None:
        self.orders = Path(mkdtemp(prefix="auth-agent-orders-"))
        stack.callback(shutil.rmtree, self.orders)
        self.provider = stack.enter_context(OpenIDProvider(access_token_lifetime=3600, overlap=60, device_interval=1))
        self.keyring = stack.enter_context(KeyringSession())
        command = (sys.executable, "-W", "error", defective.__file__, str(self.orders))
        self.agent = stack.enter_context(
            AgentProcess(
                self.accounts(),
                environment=self.keyring.environment,
                store="keyring",
                command=command,
                executed=True,  # /proc shows what it and its workers were executed with
            )
        )
        self.tap = stack.enter_context(Tap(self.orders / "tap", self.agent.socket))
        self.sampler = Sampler()
        self.sampler.start()
        stack.callback(self.sampler.end)
        self.sampler.pid = self.agent.process.pid
        self.outputs: list[str] = []
        self.errors: list[str] = []
        self.pages: list[str] = []
        self.kept: list[str] = []

    def accounts(self) -> dict[str, dict[str, object]]:
        def made(client_id: str, **more: object) -> dict[str, object]:
            secret = CREDENTIALS.get(client_id)
            method = {} if secret is None else {"token_endpoint_auth_method": secret.method}
            return account(self.provider, client_id, **test_login.ANY, **method, **more)

        return {
            "work": made("native-app", default=True),
            "pasted": made("native-app"),
            "device": made("native-app"),
            "imported": made("native-app"),
            "basic": made("basic-app"),
            "post": made("post-app"),
            "odd": made("odd-app"),
            "odd-again": made("odd-app"),
            **{name: made("native-app") for name in ROUNDS},
            "robot": made("service-app", grant="client_credentials"),
            "proxied": {
                "issuer": "https://op.example/",
                "client_id": "native-app",
                "proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:1",
            },
        }

    def client(self) -> Agent:
        return Agent(str(self.tap.path))

    def record_error(self, call: str, parameters: dict[str, object]) -> None:
        """Make a call that fails, and record the error."""
        with self.client() as client, pytest.raises(AgentError) as caught:
            client.call(call, parameters)
        self.errors.append(f"{caught.value!r} {caught.value.message} {vars(caught.value)}")

    def command(self, *arguments: str, stdin: str | None = None) -> None:
        process = subprocess.run(
            [*COMMAND, *arguments],
            env=self.agent.environment | {"AUTH_AGENT_SOCK": str(self.tap.path)},
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.outputs.append(process.stderr if arguments[0] == "token" else process.stdout + process.stderr)

    def record_keyring(self) -> None:
        """Record the entries in the keyring."""
        for name in self.accounts():
            with self.client() as client:
                until(lambda: record(client, name)["saved"] is True)  # noqa: B023 -- called at once
            self.kept.append(self.keyring.read(name) or "")

    # ---- the steps

    def log_in(self) -> None:
        provider = self.provider
        for name in ("work", "basic", "post", "odd", "odd-again"):
            credentials = CREDENTIALS.get(f"{name.removesuffix('-again')}-app")
            more = {} if credentials is None else {"client_secret": credentials.secret}
            with self.client() as client:
                login = test_login.begin(client, name, **more)
                self.pages.append(provider.enter(test_login.address(login)).text)
                test_login.result(client, login)
        with self.client() as client:
            login = test_login.begin(client, "pasted")
            redirect = provider.visit(test_login.address(login))
            client.call("login_redirect", {"login_id": login["login_id"], "url": redirect})
            test_login.result(client, login)
        with self.client() as client:
            login = test_login.begin(client, "device", flow="device")
            provider.approve(str(login["verification_uri_complete"]))
            test_login.result(client, login)
        with self.client() as client:
            test_login.result(
                client, test_login.begin(client, "robot", client_secret=CREDENTIALS["service-app"].secret)
            )
        for name in ROUNDS:
            with self.client() as client:
                log_in(client, provider, name)
        token = provider.login().refresh_token
        assert token is not None
        self.command("import", "imported", stdin=token)

    def fail_to_log_in(self) -> None:
        provider = self.provider
        with self.client() as client:
            login = test_login.begin(client, "work")
            provider.visit(test_login.address(login))  # the code is never used
            client.call("login_cancel", {"login_id": login["login_id"]})
        with self.client() as client:
            login = test_login.begin(client, "work")
            params = httpx.URL(test_login.address(login)).params
            fields = {"error": "access_denied", "error_description": " ".join((params["nonce"], params["state"]))}
            response = httpx.get(httpx.URL(params["redirect_uri"], params={"state": params["state"], **fields}))
            self.pages.append(response.text)
            self.errors.append(test_login.failure(client, login).message)
        for number, encoding in enumerate(ECHOES):
            name = "odd" if encoding == "header" else ("basic", "post")[number % 2]
            with self.client() as client:
                provider.fault("echo", error="invalid_grant", how=encoding)
                login = test_login.begin(client, name)
                self.pages.append(provider.enter(test_login.address(login)).text)
                self.errors.append(test_login.failure(client, login).message)
        for encoding in ("values", "part"):
            provider.fault("echo", error="invalid_request", how=encoding)
            with self.client() as client:
                login = test_login.begin(client, "device", flow="device")
                self.errors.append(test_login.failure(client, login).message)
        self.record_error("login", {"account": "proxied", "flow": "browser"})
        self.record_error("import", {"account": "work", "refresh_token": self.secret("refresh_token")})
        self.command("import", "proxied", stdin="a-refresh-token-that-nobody-granted")
        self.command("login", "proxied", "--no-browser")

    def secret(self, kind: str) -> str:
        return self.provider.secrets()[kind][-1]

    def refresh(self) -> None:
        provider, fault = self.provider, self.provider.fault
        rounds: list[Callable[[], None]] = [
            lambda: fault("status", status=503, headers={"retry-after": "1"}),
            lambda: fault("garbage", times=3),
            lambda: fault("half", times=3),
            lambda: fault("drop-after", times=3),
            lambda: fault("merge", unset=["access_token", "id_token"]),
            lambda: fault("merge", claims={"sub": "auth0|mallory"}),
            *[partial(fault, "echo", status=429, how=encoding) for encoding in ECHOES[:4]],
        ]
        for name, order in zip(ROUNDS, rounds, strict=True):
            order()
            self.command("refresh", name)
            self.command("status", name)
            provider.clear_faults()
            self.command("refresh", name)
        for encoding in ("values", "form", "part", "header"):  # by a client whose secret differs in each encoding
            fault("echo", status=429, how=encoding)
            self.command("refresh", "odd-again")
            self.command("status", "odd-again")
        with self.client() as client:
            token = client.refresh("basic").access_token  # a new one is not replaced
            client.call("rejected", {"account": "pasted", "access_token": self.secret("access_token")})
        self.record_error("rejected", {"account": "basic", "access_token": token})
        self.command("token", "work")
        self.command("token", "nobody")

    def cause_defects(self) -> None:
        for call in ("refresh_token", "write"):
            (self.orders / call).touch()
            with self.client() as client, contextlib.suppress(AgentError):
                client.refresh("pasted")
            self._wait_for_defect(call)
        for call in ("authorization_code", "write"):
            (self.orders / call).touch()
            with self.client() as client, contextlib.suppress(AgentError):
                login = test_login.begin(client, "pasted")
                self.pages.append(self.provider.enter(test_login.address(login)).text)
                test_login.result(client, login)
            self._wait_for_defect(call)
        (self.orders / "device_code").touch()
        with self.client() as client:
            login = test_login.begin(client, "device", flow="device")
            self._wait_for_defect("device_code")
            client.call("login_cancel", {"login_id": login["login_id"]})

    def _wait_for_defect(self, call: str) -> None:
        """Wait until that call has met its defect: a client waits for a write no longer than a second."""
        until(lambda: not (self.orders / call).exists())

    def break_keyring(self) -> None:
        self.keyring.lock()
        with self.client() as client:
            client.refresh("work")
            client.status()
        self.keyring.unlock()
        self.record_keyring()
        self.keyring.freeze()  # so that it hangs in the write that follows
        try:
            with self.client() as client:
                client.refresh("work")
                assert self.sampler.pid is not None
                workers = descendants(self.sampler.pid)
                assert workers
                for pid in workers:
                    with contextlib.suppress(ProcessLookupError):  # it ended with its parent
                        os.kill(pid, signal.SIGKILL)
                client.status()
        finally:
            self.keyring.thaw()

    def end(self) -> None:
        provider, config = self.provider, self.agent.config
        config.write_text(f'[accounts.work]\nproxy = "http://user:{PROXY_PASSWORD}@["\n')
        self.record_error("reload", {})
        self.command("status")
        self.agent.configure(self.accounts())
        self.command("refresh", "work")
        provider.fault("echo", error="invalid_grant", times=1)
        self.command("refresh", "imported")
        self.command("status", "--json")
        self.record_keyring()
        (self.orders / "revoke").touch()
        self.command("logout", "device", "--revoke")
        self.command("logout", "imported", "--revoke")
        self.agent.terminate()
        self.agent.start()
        self.sampler.pid = self.agent.process.pid
        with self.client() as client:
            client.token("work")
        self.command("status")
        self.agent.terminate()


@pytest.fixture(scope="module")
def evidence() -> Generator[Evidence, None, None]:
    with ExitStack() as stack:
        scenario = Scenario(stack)
        watcher = threading.Thread(target=watch, args=(scenario.tap.path,), daemon=True)
        watcher.start()
        scenario.log_in()
        scenario.record_keyring()
        scenario.fail_to_log_in()
        scenario.refresh()
        scenario.record_keyring()
        scenario.cause_defects()
        scenario.break_keyring()
        scenario.end()
        watcher.join(PATIENCE)
        secrets = scenario.provider.secrets()
        for credentials in CREDENTIALS.values():
            secrets["client_secret"].append(credentials.secret)
        replies = scenario.tap.replies()
        yield Evidence(
            secrets=secrets,
            search=Search({**secrets, "proxy": [PROXY_PASSWORD]}, public=[scenario.provider.issuer]),
            places={
                "log": scenario.agent.log.encode(),
                "the commands' output": "\n".join(scenario.outputs).encode(),
                "errors": "\n".join(scenario.errors).encode(),
                "pages": "\n".join(scenario.pages).encode(),
                "replies": b"\n".join(reply for method, reply in replies if method not in (*TOKEN_METHODS, "login")),
                "/proc": b"\n".join(scenario.sampler.seen),
                "files": files(scenario.agent.home, Path(scenario.keyring.environment["XDG_RUNTIME_DIR"]).parent),
            },
            kept="\n".join(scenario.kept).encode(),
            requests=scenario.tap.requests,
            replies=replies,
        )


def watch(path: Path) -> None:
    with Agent(str(path)) as client, contextlib.suppress(AgentError):
        for _ in client.watch(reconnect=False):
            pass


PLACES = ("log", "the commands' output", "errors", "pages", "replies", "/proc", "files")


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_no_secret_leaks(place: str, evidence: Evidence) -> None:
    assert evidence.places[place]
    assert evidence.found(place) == set()


@pytest.mark.slow  # with the others of this scenario, which runs once
def test_the_search_finds_each_kind_of_secret_where_it_belongs(evidence: Evidence) -> None:
    """Otherwise the test above would prove nothing."""
    assert {"refresh_token", "access_token", "id_token", "client_secret"} <= evidence.search.find(evidence.kept)
    assert {"refresh_token", "access_token", "code", "client_secret"} <= evidence.search.find(evidence.requests)
    kinds = {"access_token", "refresh_token", "id_token", "code", "code_verifier", "state", "nonce", "device_code"}
    assert {kind for kind in kinds if not evidence.secrets.get(kind)} == set()
    assert b"auth_agent.worker" in evidence.places["/proc"]
    assert b"AUTH_AGENT_LOG=debug" in evidence.places["/proc"]


@pytest.mark.slow  # with the others of this scenario, which runs once
def test_a_response_contains_only_the_requested_secret(evidence: Evidence) -> None:
    tokens = evidence.search.find(b"".join(reply for method, reply in evidence.replies if method in TOKEN_METHODS))
    logins = evidence.search.find(b"".join(reply for method, reply in evidence.replies if method == "login"))
    assert "access_token" in tokens
    assert {kind.split()[0] for kind in tokens} <= TOKENS
    assert "state" in logins
    assert {kind.split()[0] for kind in logins} <= IN_THE_URL


@pytest.mark.slow  # with the others of this scenario, which runs once
def test_the_log_contains_the_events_of_the_scenario(evidence: Evidence) -> None:
    """At debug level, with the place of every defect: an empty log would contain no secret either."""
    log = evidence.places["log"].decode()
    for part in (
        "debug hello",
        "outcome=lost",
        "outcome=failed",
        "defect in=loop",
        "in=token",
        "in=revoke",
        "stopping",
    ):
        assert part in log, part
    assert log.count("RuntimeError@defective.py") >= 7


# ---- memory


# Without capabilities root is like any other user, for whom a process that isn't dumpable is closed.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
READ_AND_TRACE = """
import ctypes, os, sys
PTRACE_SEIZE = 0x4206
for pid in sys.argv[1:]:
    for name in ("environ", "mem"):
        try:
            os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
            print(f"{name} can be read")
        except PermissionError:
            pass
    if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, int(pid), None, None) == 0:
        print("can be traced")
"""


def try_to_read(*pids: int) -> str:
    """Return what another process of the same user can do to these processes."""
    command = [*UNPRIVILEGED, sys.executable, "-c", READ_AND_TRACE, *map(str, pids)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def test_no_process_of_the_same_user_reads_or_traces_the_agent_or_its_worker() -> None:
    with (
        OpenIDProvider(access_token_lifetime=3600) as provider,
        KeyringSession() as keyring,
        AgentProcess(
            {"work": account(provider)}, environment=keyring.environment, store="keyring", started=False
        ) as agent,
    ):
        agent.launch_with(*UNPRIVILEGED)
        agent.start()
        with agent.client() as client:
            log_in(client, provider)
            keyring.freeze()  # the worker waits for it
            try:
                client.refresh("work")
                workers = descendants(agent.process.pid)
                assert len(workers) > 1
                assert try_to_read(agent.process.pid, *workers) == ""
            finally:
                keyring.thaw()
    with subprocess.Popen([*UNPRIVILEGED, "sleep", "60"]) as readable:  # otherwise the test would prove nothing
        until(lambda: Path(f"/proc/{readable.pid}/comm").read_text() == "sleep\n")
        assert "environ can be read" in try_to_read(readable.pid)
        readable.kill()


# Stops before its first line.
STOPPED_WORKER = """
import os, runpy, signal, sys
os.kill(os.getpid(), signal.SIGSTOP)
runpy.run_module("auth_agent.worker", run_name="__main__", alter_sys=True)
"""
# Opens the memory of the worker then, and reads it once the worker has been told a secret: `worker old secret`.
READ_THROUGH_OPENED = """
import json, os, signal, socket, subprocess, sys
worker, old, secret = sys.argv[1:]
ours, theirs = socket.socketpair()
process = subprocess.Popen([sys.executable, "-P", "-c", worker, "signatures"], stdin=theirs, stdout=theirs,
    env={**os.environ, "OLD": old})
theirs.close()
os.waitpid(process.pid, os.WUNTRACED)
with open(f"/proc/{process.pid}/maps") as maps, open(f"/proc/{process.pid}/mem", "rb", 0) as memory:
    process.send_signal(signal.SIGCONT)
    ours.sendall(json.dumps({"call": "verify", "token": secret, "keys": "{}"}).encode() + b"\\n")
    assert b"result" in ours.recv(1000)
    found = b""
    for line in maps:
        start, _, end = line.split()[0].partition("-")
        try:
            memory.seek(int(start, 16))
            found += memory.read(int(end, 16) - int(start, 16))
        except (OSError, OverflowError):
            pass
print("old" * (old.encode() in found), "secret" * (secret.encode() in found))
ours.close()
process.wait()
"""


def test_memory_that_was_opened_before_it_was_protected_shows_nothing_of_what_the_worker_is_told() -> None:
    command = [*UNPRIVILEGED, sys.executable, "-c", READ_THROUGH_OPENED, STOPPED_WORKER]
    canaries = [f"{name}-{os.urandom(8).hex()}" for name in ("old", "secret")]
    result = subprocess.run([*command, *canaries], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert result.stdout.split() == ["old"]


@pytest.mark.parametrize("signum", [signal.SIGABRT, signal.SIGQUIT, signal.SIGSEGV])
def test_a_crash_dumps_no_core_even_if_the_limit_allows_it(signum: signal.Signals) -> None:
    def ask_for_cores() -> None:
        _, hard_limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard_limit, hard_limit))

    with AgentProcess({}, preexec=ask_for_cores) as agent:
        agent.process.send_signal(signum)
        _, status = os.waitpid(agent.process.pid, 0)
        agent.process.returncode = os.waitstatus_to_exitcode(status)  # `os.waitpid` has reaped it
        assert agent.process.returncode == -signum
        assert not os.WCOREDUMP(status)
