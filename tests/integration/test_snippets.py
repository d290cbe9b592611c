"""Each snippet of the README and the documents runs as it stands: with the installed packages, by the names it has.

The providers and the API that the README names are on this machine, behind a proxy that leads there by their names.
"""

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import httpx
import pytest
import trustme

from auth_agent import remedies
from auth_agent.config import ACCOUNT_KEYS
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import log_in, record
from tests.integration.installed import ROOT, Environment, Installed, install
from tests.integration.keyring_session import missing_packages
from tests.integration.terminal import Terminal
from tests.op.login import provider_url
from tests.op.provider import CREDENTIALS, Flavor, OpenIDProvider
from tests.picture.tunnel import tunnel
from tests.snippets import DOCUMENTS, Snippet, snippets

ACME, GOOGLE, API = "acme.eu.auth0.com", "accounts.google.com", "api.acme.example"
USER, NAME = "auth0|alice", "Alice Example"
SECRET_CLIENT = "basic-app"
# What a reader fills in.
FILLED_IN: Final = {
    "--client-id ID.apps.googleusercontent.com": f"--client-id {SECRET_CLIENT}",
    "--client-id ID": "--client-id native-app",
}
# Why a command is not run here, by how it begins.
NOT_RUN: Final = {
    "make demo": "test_demo.py runs it",
    "make test": "it runs this test",
    "pipx ": "pipx is not installed for tests; the agent's wheel is installed in its place, by installed.py",
    "pip install ": "installed.py installs the client's wheel, with what it and its extra require",
    "auth-agent login github ": "test_plain_oauth.py has a provider like it",
    "auth-agent exec ": "test_header.py runs commands that it makes",
    "auth-agent service ": "test_user_manager.py has a service manager",
    "dbus-run-session ": "it goes on until it is stopped, by test_an_agent_uses_a_keyring_on_a_server",
}
DRAWINGS: Final = "docs/design.md"  # the snippets without a language, which tests/test_design.py looks at
PROTOCOL: Final = "docs/protocol.md"  # its session, which test_protocol_session.py replays

ALL: Final = [one for document in DOCUMENTS for one in snippets(document)]


def reason_not_to_run(command: str) -> str | None:
    """Return why that command is not run."""
    return next((reason for start, reason in NOT_RUN.items() if command.startswith(start)), None)


# ---- the world of the README


class _API(BaseHTTPRequestHandler):
    """The API at `https://api.acme.example/`."""

    def do_GET(self) -> None:
        """Answer 200, and keep the token and where else it can be read."""
        assert isinstance(self.server, _APIServer)
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        self.server.tokens.append(token)
        if token:
            self.server.exposed += [path for path in Path("/proc").glob("[0-9]*/cmdline") if _holds(path, token)]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def _holds(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:  # that process has ended
        return False


class _APIServer(ThreadingHTTPServer):
    """Keeps the tokens that arrived, and the files in which other users could read them."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _API)
        self.tokens: list[str] = []
        self.exposed: list[Path] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


@contextmanager
def browser(home: AgentProcess, provider: OpenIDProvider) -> Generator[None]:
    """A browser at which a person logs in wherever it is sent, through that provider's proxy."""
    pipe, program = home.home / "addresses", home.home / "browser"
    os.mkfifo(pipe)
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$1\" > {pipe}\n")
    program.chmod(0o700)
    home.environment.update(BROWSER=str(program), SSH_CONNECTION="", SSH_TTY="")
    # For both, so that reading doesn't end with each writer.
    with os.fdopen(os.open(pipe, os.O_RDWR), buffering=1) as addresses:

        def log_in_everywhere() -> None:
            while address := addresses.readline().strip():
                httpx.get(provider.visit(provider_url(address), USER), trust_env=False)

        person = threading.Thread(target=log_in_everywhere)
        person.start()
        try:
            yield
        finally:
            os.write(addresses.fileno(), b"\n")
            person.join()


class World:
    """A home in which the packages are installed, with the providers and the API in reach."""

    def __init__(self, installed: Installed, home: AgentProcess, acme: OpenIDProvider, api: _APIServer) -> None:
        self.installed = installed
        self.home = home
        self.acme = acme
        self.api = api

    def shell(self, command: str, shell: str = "bash") -> "subprocess.CompletedProcess[str]":
        """Run a command line as it is typed; what it prints, errors too."""
        for written, filled in FILLED_IN.items():
            command = command.replace(written, filled)
        if "--client-secret" in command:
            return self._with_secret(command, shell)
        return self._run(shell, "-c", command)

    def _with_secret(self, command: str, shell: str) -> "subprocess.CompletedProcess[str]":
        with Terminal([shell, "-c", command], self.home.environment) as terminal:
            terminal.until("Client secret")
            terminal.type(f"{CREDENTIALS[SECRET_CLIENT].secret}\n")
            code = terminal.end()
            return subprocess.CompletedProcess(command, code, terminal.shown)

    def python(self, program: str, *extras: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in the client's environment."""
        return self._run(
            str(self.installed.client.python), "-W", "error", "-c", program, environment=self._with(extras)
        )

    @contextmanager
    def start_program(self, program: str, *extras: str) -> Generator["subprocess.Popen[str]"]:
        """Run a program in the client's environment until the block ends."""
        with subprocess.Popen(
            [self.installed.client.python, "-W", "error", "-c", program],
            env=self.home.environment | self._with(extras),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _with(self, extras: tuple[str, ...]) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join(str(self.installed.client.with_extra(name)) for name in extras)}

    def _run(self, *command: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            env={**self.home.environment, **(environment or {})},
            cwd=self.home.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Installed:
    """Both packages, installed once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "installed"
    shared.mkdir(exist_ok=True)
    return install(shared)


@pytest.fixture
def home(installed: Installed) -> Generator[AgentProcess, None, None]:
    """A home of somebody who has installed both packages; the agent that is started there is ended."""
    with AgentProcess(started=False, command=(str(installed.agent.bin / "auth-agent"),)) as process:
        process.config.unlink()
        runtime = process.home / "run"
        runtime.mkdir(mode=0o700)
        for name in ("AUTH_AGENT_SOCK", "AUTH_AGENT_CONFIG", "PYTHONPATH"):
            process.environment.pop(name, None)
        process.environment.update(
            PATH=f"{installed.agent.bin}:{process.environment['PATH']}",
            XDG_RUNTIME_DIR=str(runtime),
            DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent",
        )
        try:
            yield process
        finally:
            process.run("stop")


@pytest.fixture
def world(installed: Installed, home: AgentProcess, tmp_path: Path) -> Generator[World, None, None]:
    """That home, and the hosts that the README names."""
    if shutil.which("curl") is None:
        pytest.skip("the README's example needs curl: apt-get install curl")
    authority, ports = trustme.CA(), dict[str, int]()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ExitStack() as stack:
        proxy = stack.enter_context(tunnel(ports))

        def tls(host: str) -> tuple[Path, Path]:
            certificate, files = authority.issue_cert(host), (tmp_path / f"{host}.pem", tmp_path / f"{host}.key")
            certificate.cert_chain_pems[0].write_to_path(files[0])
            certificate.private_key_pem.write_to_path(files[1])
            return files

        def provider(host: str, flavor: Flavor) -> OpenIDProvider:
            one = OpenIDProvider(
                flavor=flavor,
                access_token_lifetime=3600,
                overlap=60,
                tls=tls(host),
                ca=tmp_path / "ca.pem",
                origin=f"https://{host}",
                proxy=proxy,
            )
            stack.enter_context(one)
            ports[host] = one.port
            return one

        acme = provider(ACME, "auth0")
        provider(GOOGLE, "plain")
        acme.change_user(USER, claims={"name": NAME}, user_metadata={"city": "Oslo", "plan": "free"})
        api = stack.enter_context(_APIServer(*tls(API)))
        stack.callback(api.shutdown)
        threading.Thread(target=api.serve_forever).start()
        ports[API] = api.server_address[1]
        stack.enter_context(browser(home, acme))
        trusted = str(tmp_path / "ca.pem")
        home.environment.update(
            SSL_CERT_FILE=trusted, CURL_CA_BUNDLE=trusted, REQUESTS_CA_BUNDLE=trusted, HTTPS_PROXY=proxy
        )
        yield World(installed, home, acme, api)


# ---- what is installed


def test_the_environments_have_the_packages_and_what_they_require(installed: Installed) -> None:
    def imported(environment: Environment, module: str, **more: str) -> str:
        command = [str(environment.python), "-c", f"import {module}; print({module}.__file__)"]
        result = subprocess.run(command, env=more, capture_output=True, text=True, check=False)
        return result.stdout.strip() or result.stderr.splitlines()[-1]

    agent, client = installed.agent, installed.client
    assert imported(agent, "auth_agent") == str(agent.site / "auth_agent" / "__init__.py")
    for environment in (agent, client):
        assert imported(environment, "auth_agent_client") == str(environment.site / "auth_agent_client" / "__init__.py")
    assert "No module" in imported(agent, "pytest")
    assert "No module" in imported(client, "anyio")
    aio = imported(client, "auth_agent_client.aio", PYTHONPATH=str(client.with_extra("aio")))
    assert aio == str(client.site / "auth_agent_client" / "aio.py")


# ---- none is left out


@pytest.mark.parametrize("snippet", ALL, ids=str)
def test_a_snippet_is_run_or_listed(snippet: Snippet) -> None:
    if snippet.language == "console":
        assert snippet.commands
    else:
        looked_at = {"": DRAWINGS, "hex": PROTOCOL}.get(snippet.language)
        assert snippet.language in {"python", "toml"} or snippet.document == looked_at


@pytest.mark.parametrize("start", NOT_RUN)
def test_each_command_that_is_not_run_is_in_a_document(start: str) -> None:
    commands = [command for one in ALL if one.language == "console" for command, _ in one.commands]
    assert any(command.startswith(start) for command in commands)


def test_the_python_snippets_pass_mypy(installed: Installed, tmp_path: Path) -> None:
    files: list[str] = []
    for number, snippet in enumerate(one for one in ALL if one.language == "python"):
        file = tmp_path / f"snippet_{number}.py"
        file.write_text(f"# {snippet}\n{snippet.text}")
        files.append(str(file))
    assert len(files) >= 6
    options = ("--strict", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'snippets'}")
    python = f"--python-executable={installed.client.python}"
    command = [sys.executable, "-m", "mypy", *options, python, *files]
    extras = [str(installed.client.with_extra(name)) for name in ("httpx", "requests", "aiohttp")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(extras)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout


# ---- the README, from the first line to the last

# What a program prints, where the README doesn't show it.
PRINTED: Final = {
    "Use it from Python": "200\n",
    "With httpx, requests or aiohttp": "200\n",
    "Python: httpx, requests, aiohttp": "200\n",
    "Handle errors": "",
    "Profile, another API, user metadata, logout": rf"{re.escape(USER)} {NAME} .*\nFalse .*work\.users.*\n",
    "Log in from a program": "(Open this URL: .*\n)?work ready\n",
    "asyncio and trio, watching for changes": r"\d+\.\d+\nready \d+\.\d+\nlogged_out None\n",
    "auth-agent-client": "",
}


def output_pattern(output: str) -> str:
    """A pattern for output as a document shows it: three dots are anything, and there may be more around it."""
    return re.escape(output.strip()).replace("…", ".*")


def run_commands(world: World, snippet: Snippet) -> None:
    for command, output in snippet.commands:
        if reason_not_to_run(command) is None:
            result = world.shell(command)
            assert result.returncode == 0, f"{snippet}: {command}\n{result.stdout}"
            assert re.search(output_pattern(output), result.stdout), f"{snippet}: {result.stdout}"


def run_program(world: World, snippet: Snippet) -> None:
    expected = PRINTED[snippet.heading]
    extra = re.search(r"^from auth_agent_client\.(\w+) import AgentAuth$", snippet.text, re.MULTILINE)
    if "asyncio" in snippet.text and extra is None:
        for library in ("trio", "asyncio"):
            run_until_logged_out(world, snippet, library, expected)
    else:
        result = world.python(snippet.text, *([] if extra is None else [extra[1]]))
        assert result.returncode == 0, f"{snippet}:\n{result.stdout}"
        assert re.fullmatch(expected, result.stdout), f"{snippet}: {result.stdout}"


def run_until_logged_out(world: World, snippet: Snippet, library: str, expected: str) -> None:
    """Run a program by that library, log out while it watches, and log in again."""
    program, extras = snippet.text, ["aio"]
    if library == "trio":
        program = program.replace("import asyncio", "import trio").replace("asyncio.run(main())  # or ", "")
        extras.append("trio")
    with world.start_program(program, *extras) as process:
        assert process.stdout is not None
        output = ""
        if expected:
            while "ready" not in output and (line := process.stdout.readline()):
                output += line
            assert world.shell("auth-agent logout work").returncode == 0, output
        output += process.stdout.read()
        assert process.wait(PATIENCE) == 0, f"{snippet}:\n{output}"
    assert re.fullmatch(expected, output), f"{snippet}: {output}"
    if expected:
        assert world.shell("auth-agent login work").returncode == 0


def run_configuration(world: World, snippet: Snippet) -> None:
    """Let the agent read it: all of a configuration, or what is appended to the one there is."""
    tables = tomllib.loads(snippet.text)
    file = world.home.home / ".config" / "auth-agent" / "config.toml"
    before = file.read_text()
    if "accounts" in tables:
        assert set(tables["accounts"]["work"]) == set(ACCOUNT_KEYS)
        file.write_text(snippet.text)
        result = world.shell("auth-agent account list --json")
        file.write_text(before)
        assert result.returncode == 0, result.stdout
    else:
        if snippet.text not in before:  # as another page has it
            file.write_text(f"{before}\n{snippet.text}")
        for command in ("auth-agent reload", "auth-agent token --url https://git.example.com/team"):
            result = world.shell(command)
            assert result.returncode == 0, f"{snippet}: {command}\n{result.stdout}"


RUNNERS: Final = {"console": run_commands, "python": run_program, "toml": run_configuration}


def test_the_snippets_of_the_readme_run_in_order(world: World) -> None:
    readme = snippets("README.md")
    uninstall = [one for one in readme if one.heading == "Uninstall"]
    for snippet in [
        *readme,
        *snippets("client/README.md"),
        *snippets("docs/tools/shell.md"),
        *snippets("docs/tools/python.md"),
    ]:
        if snippet not in uninstall:
            RUNNERS[snippet.language](world, snippet)

    user = world.acme.user(USER)
    assert user is not None
    assert user["user_metadata"] == {"plan": "free", "country": "Canada"}
    # By curl, by Python without and with AgentAuth, by curl with `header`, and by two more programs with AgentAuth.
    assert [world.acme.userinfo(token).status_code for token in world.api.tokens] == [200] * 7
    check_the_request(world, readme)
    check_the_handler(world, readme)

    for snippet in uninstall:
        run_commands(world, snippet)
    left = [path for path in world.home.home.rglob("auth-agent") if "run" not in path.parts]
    assert left == []


def check_the_request(world: World, readme: list[Snippet]) -> None:
    """The example with curl shows the token to nobody, by every shell; without a token, no request is sent."""
    (command,) = [line for one in readme if one.language == "console" for line, _ in one.commands if "curl" in line]
    for shell in filter(shutil.which, ("sh", "bash", "zsh")):
        world.api.tokens.clear()
        result = world.shell(command, shell)
        assert result.returncode == 0, result.stdout
        assert [world.acme.userinfo(token).status_code for token in world.api.tokens] == [200]
    assert world.api.exposed == []
    world.api.tokens.clear()
    assert world.shell(command.replace("token work", "token nobody")).returncode == 1
    assert world.api.tokens == []


def check_the_handler(world: World, readme: list[Snippet]) -> None:
    """Check that the example of errors prints the remedy, and that the agent may be back later."""
    (handler,) = [one for one in readme if one.heading == "Handle errors"]
    assert world.shell("auth-agent logout work").returncode == 0
    result = world.python(handler.text)
    assert (result.returncode, result.stdout.count("auth-agent login work")) == (1, 1), result.stdout
    result = world.python(handler.text.replace("Agent()", "Agent('/nonexistent/agent.sock')"))
    assert (result.returncode, result.stdout.endswith("auth-agent start\ntry again later\n")) == (1, True), (
        result.stdout
    )


# ---- the documents


def commands_of(document: str) -> list[str]:
    """Return the commands of a document that are run."""
    console = [one for one in snippets(document) if one.language == "console"]
    return [command for one in console for command, _ in one.commands if reason_not_to_run(command) is None]


def test_the_commands_of_the_documents_are_run_here() -> None:
    ran = {
        # After the README's, in the same world.
        "docs/tools/shell.md": commands_of("docs/tools/shell.md"),
        "docs/tools/python.md": commands_of("docs/tools/python.md"),
        "docs/service.md": [
            "auth-agent start",
            'eval "$(auth-agent start --shell)"',
            "auth-agent run --store memory -- auth-agent status",
        ],
        "docs/store.md": [
            "auth-agent start --store file",
            "auth-agent unlock",
            "auth-agent unlock --passphrase-fd 3 3< /run/secrets/auth-agent",
        ],
    }
    for document in DOCUMENTS:
        if "README" not in document:
            assert commands_of(document) == ran.get(document, [])


def test_an_agent_runs_without_a_service_manager(home: AgentProcess) -> None:
    start, set_variable, beside_command = commands_of("docs/service.md")
    home.environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nonexistent"
    script = f'{start} && {set_variable} && echo "socket=$AUTH_AGENT_SOCK" && {beside_command}; auth-agent stop'
    result = home_run(home, "sh", "-c", script)
    assert "started one" in result.stdout
    assert "already running" in result.stdout
    assert f"socket={home.environment['XDG_RUNTIME_DIR']}/auth-agent/agent.sock" in result.stdout
    assert "in memory only" in result.stdout
    assert result.returncode == 0


def test_an_agent_uses_a_sealed_file_on_a_server(home: AgentProcess) -> None:
    start, unlock, unlock_by_descriptor = commands_of("docs/store.md")
    assert home_run(home, "sh", "-c", start).returncode == 0
    with Terminal(unlock.split(), home.environment) as terminal:
        for prompt in ("Passphrase: ", "Passphrase again: "):
            terminal.until(prompt)
            terminal.type("five random words\n")
        assert terminal.end() == 0
    secret = home.home / "secret"
    secret.write_text("five random words\n")
    restart = f"auth-agent stop; {start}; {unlock_by_descriptor.replace('/run/secrets/auth-agent', str(secret))}"
    result = home_run(home, "sh", "-c", f"{restart}; auth-agent status; auth-agent stop")
    assert "Unlocked." in result.stdout
    assert "sessions are kept in a sealed file" in result.stdout


def test_an_agent_uses_a_keyring_on_a_server(home: AgentProcess, provider: OpenIDProvider) -> None:
    missing = missing_packages()
    if missing is not None or shutil.which("dbus-run-session") is None:
        pytest.skip(f"there is no keyring to test with: {missing or 'apt-get install dbus'}")
    console = [one for one in snippets("docs/store.md") if one.language == "console"]
    (command,) = [line for one in console for line, _ in one.commands if line.startswith("dbus-run-session")]
    assert command == remedies.run_with_keyring().line
    # A person enters the password at a terminal.
    ask = home.home / "bin" / "systemd-ask-password"
    ask.parent.mkdir()
    ask.write_text("#!/bin/sh\nprintf secret\n")
    ask.chmod(0o700)
    home.environment["PATH"] = f"{ask.parent}:{home.environment['PATH']}"
    home.environment.pop("DBUS_SESSION_BUS_ADDRESS")
    home.environment["AUTH_AGENT_SOCK"] = str(home.socket)
    with running(home, ["bash", "-c", command]) as process:
        until(home.answers)
        assert (
            home.run("account", "add", "work", "--issuer", provider.issuer, "--client-id", "native-app").returncode == 0
        )
        with home.client() as client:
            log_in(client, provider)
            until(lambda: record(client).saved)
            assert client.status().agent.store["name"] == "keyring"
        assert home.run("stop").returncode == 0
        assert process.wait(PATIENCE) == 0


def home_run(home: AgentProcess, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command there; what it prints, errors too."""
    return subprocess.run(
        command,
        env=home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def running(home: AgentProcess, command: list[str]) -> Generator["subprocess.Popen[bytes]"]:
    """A command that goes on until it is ended, with all that it started."""
    with (home.home / "output").open("w") as output:
        process = subprocess.Popen(
            command,
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
