"""Every command that a remedy shows is run, where its situation is, and brings about what its sentence says.

Each test takes the remedy from where a person or a program gets it: an error, a record, or what a command says. What
is run are its very arguments.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from auth_agent import remedies
from auth_agent_client import Agent, AgentError, Remedy, __version__
from auth_agent_client.remedy import remedies_from_wire
from tests.agent import test_remedies as made
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import PASSWORD, KeyringSession
from tests.integration.terminal import Terminal
from tests.op.provider import CREDENTIALS, MANAGEMENT_SCOPE, OpenIDProvider

ROOT: Final = Path(__file__).parents[2]
URL: Final = r"http://127\.0\.0\.1:\d+/authorize\?\S+"
BOB: Final = "auth0|bob"
# Wide enough that each remedy stands on a line of its own.
WIDE: Final = 400

# The commands that no test below runs, and why.
NOT_RUN: Final = {
    "correct_clock": "a machine of a test has no service that tells of its clock; that the program is there is checked",
    "unlock_keychain": "macOS alone has a keychain",
}


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with the account `work`, not logged in, and a person without a browser who has auth-agent in PATH."""
    with AgentProcess({"work": account(provider, redirect_ports=[0])}) as process:
        as_a_person(process)
        yield process


@pytest.fixture
def alone() -> Generator[AgentProcess, None, None]:
    """A place for commands, where no agent runs."""
    with AgentProcess(started=False) as process:
        as_a_person(process)
        yield process


def as_a_person(agent: AgentProcess) -> None:
    """Let commands find auth-agent as a person's shell does, and no browser."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    agent.environment.update(PATH=path, BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")


# ---- what is shown, and what is done with it


def shown(text: str) -> list[Remedy]:
    """The remedies below what a command said."""
    lines = [re.fullmatch(r"  (\S.*?): (\S.*)", line) for line in text.splitlines()]
    return [Remedy(line[1], *shlex.split(line[2])) for line in lines if line is not None]


def said(agent: AgentProcess, *arguments: str, stdin: str | None = None) -> list[Remedy]:
    """The remedies of a command that fails."""
    done = agent.run(*arguments, stdin=stdin)
    assert done.returncode != 0
    return shown(done.stderr)


def of_record(agent: AgentProcess, name: str = "work") -> tuple[Remedy, ...]:
    """The remedies of an account's record, as `status --json` prints it."""
    accounts = json.loads(agent.run("status", "--json").stdout)["accounts"]
    return remedies_from_wire(next(one for one in accounts if one["account"] == name)["remedy"])


def of_error(call: Callable[..., object], *arguments: Any, **more: Any) -> tuple[Remedy, ...]:
    """The remedies of the error that a call raises."""
    with pytest.raises(AgentError) as raised:
        call(*arguments, **more)
    return raised.value.remedy


def given(expected: Remedy, among: Iterable[Remedy]) -> list[str]:
    """The arguments of a remedy, which must be among those."""
    assert expected in (found := list(among)), found
    return list(expected.command)


def run(agent: AgentProcess, command: list[str], stdin: str | None = None) -> str:
    """Run a command, which must succeed; what it printed."""
    done = subprocess.run(
        command,
        env=agent.environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def at_terminal(agent: AgentProcess, command: list[str]) -> Generator[Terminal, None, None]:
    """Run a command with a person at it."""
    with Terminal(command, agent.environment, WIDE) as terminal:
        yield terminal


def log_in_by(agent: AgentProcess, provider: OpenIDProvider, command: list[str], user: str = "auth0|alice") -> None:
    """Run a command that logs in by the browser, and log in there."""
    with at_terminal(agent, command) as terminal:
        provider.enter(terminal.until(URL)[0], user)
        assert terminal.end() == 0, terminal.shown


def fail_to_log_in(agent: AgentProcess, *arguments: str, by: Callable[[str], object]) -> list[Remedy]:
    """Begin a login, which that does not let succeed; the remedies that are shown."""
    with at_terminal(agent, [*COMMAND, "login", *arguments]) as terminal:
        by(terminal.until(URL)[0])
        assert terminal.end() != 0
        return shown(terminal.shown)


def serves(agent: AgentProcess, provider: OpenIDProvider, name: str = "work") -> None:
    """The account has a token that the provider takes."""
    token = run(agent, ["auth-agent", "token", name]).strip()
    assert provider.userinfo(token).status_code == 200


def starts_an_agent(agent: AgentProcess, command: list[str], path: Path) -> None:
    """Run a command that is an agent, until it serves at that socket, and end it."""
    with subprocess.Popen(command, env=agent.environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: is_served(path))
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0


def is_served(path: Path) -> bool:
    """Whether an agent answers at that socket."""
    try:
        with Agent(str(path)) as client:
            return client.hello().pid is not None
    except AgentError:
        return False


# ---- logging in


def test_who_is_logged_out_logs_in(agent: AgentProcess, provider: OpenIDProvider) -> None:
    assert given(remedies.log_in("work"), of_record(agent)) == given(remedies.log_in("work"), said(agent, "token"))
    log_in_by(agent, provider, given(remedies.log_in("work"), said(agent, "token")))
    serves(agent, provider)


def test_a_session_that_is_over_begins_again(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    provider.fault("status", status=400, body={"error": "invalid_grant"})
    assert remedies.log_in_again("work") in said(agent, "refresh", "work")
    log_in_by(agent, provider, given(remedies.log_in_again("work"), of_record(agent)))
    serves(agent, provider)
    assert of_record(agent) == ()


def test_a_session_whose_audience_was_changed_gets_the_new_one(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    agent.configure({"work": account(provider, redirect_ports=[0], audience="https://api.example")})
    client.reload()
    log_in_by(agent, provider, given(remedies.log_in_again("work"), of_error(client.token)))
    assert client.token().audience == "https://api.example"


def test_a_session_that_nothing_renews_begins_again_before_its_end(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    agent.configure({"work": account(provider, "no-refresh-app", redirect_ports=[0])})
    client.reload()
    log_in_by(agent, provider, ["auth-agent", "login", "work"])
    before = record(client)["epoch"]
    log_in_by(agent, provider, given(remedies.log_in_in_time("work"), of_record(agent)))
    assert record(client)["epoch"] != before
    serves(agent, provider)


def test_a_login_that_was_refused_is_tried_again(agent: AgentProcess, provider: OpenIDProvider) -> None:
    helps = fail_to_log_in(agent, "work", by=lambda url: httpx.get(provider.cancel(url)))
    log_in_by(agent, provider, given(remedies.try_again("work"), helps))
    serves(agent, provider)


def test_another_user_is_meant(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    helps = fail_to_log_in(agent, "work", by=lambda url: provider.enter(url, BOB))
    log_in_by(agent, provider, given(remedies.switch_user("work"), helps), BOB)
    assert record(client).subject == BOB


def test_another_user_s_refresh_token_is_meant(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    first, another = (provider.login(BOB).refresh_token for _ in range(2))
    helps = said(agent, "import", "work", stdin=first)
    run(agent, given(remedies.switch_user_by_import("work"), helps), stdin=another)
    assert record(client).subject == BOB
    serves(agent, provider)


def test_a_login_without_a_port(agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(device_interval=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        agent.configure({"work": account(provider, redirect_ports=[port])})
        find, _, device = remedies.other_ports("work")
        helps = said(agent, "login", "work")
        if shutil.which(find.command[0]) is None:
            pytest.skip("the ports' list: apt-get install iproute2")
        assert f":{port} " in run(agent, given(find, helps))
        with at_terminal(agent, given(device, helps)) as terminal:
            code, where = terminal.until(r"\n +([A-Z]{4}-[A-Z]{4})\n")[1], terminal.until(r"\n +(http://\S+)\n")[1]
            provider.approve(where, user_code=code)
            assert terminal.end() == 0
    serves(agent, provider)


def test_a_client_s_secret_is_asked_for(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    secret = CREDENTIALS["post-app"]
    keys = account(provider, "post-app", token_endpoint_auth_method=secret.method, redirect_ports=[0])
    agent.configure({"work": keys, "other": keys})
    client.reload()
    with at_terminal(agent, given(remedies.give_secret("login", "work"), said(agent, "login", "work"))) as terminal:
        terminal.until("Client secret: ")
        terminal.type(f"{secret.secret}\n")
        provider.enter(terminal.until(URL)[0])
        assert terminal.end() == 0
    serves(agent, provider)
    token = "none of a provider's"
    helps = said(agent, "import", "other", stdin=token)
    with at_terminal(agent, given(remedies.give_secret("import", "other"), helps)) as terminal:
        terminal.until("Client secret: ")
        terminal.type(f"{secret.secret}\n")
        terminal.until("Refresh token: ")
        terminal.type(f"{client_s_refresh_token(provider)}\n")
        assert terminal.end() == 0, terminal.shown
    serves(agent, provider, "other")


def client_s_refresh_token(provider: OpenIDProvider) -> str:
    """A refresh token of the client that has a secret, got by another program."""
    token = provider.login(client_id="post-app").refresh_token
    assert token is not None
    return token


def test_id_tokens_come_with_openid_and_the_other_scopes_stay(
    agent: AgentProcess, start_provider: Callable[..., OpenIDProvider], client: Agent
) -> None:
    provider = start_provider(device_interval=1)
    scope = "email read:things"
    agent.configure({"work": account(provider, redirect_ports=[0], scope=scope, audience="https://api.example")})
    client.reload()
    with at_terminal(agent, ["auth-agent", "login", "work", "--flow", "device"]) as terminal:
        provider.approve(terminal.until(r"(http://\S+user_code=\S+)\n")[1])
        assert terminal.end() == 0, terminal.shown
    helps = given(remedies.log_in_for_id_tokens("work", scope), said(agent, "id-token", "work"))
    log_in_by(agent, provider, helps)
    assert run(agent, ["auth-agent", "id-token", "work"])
    assert "read:things" in (client.token().scope or "").split()


def test_a_new_account_stays_and_is_logged_in_to_for_whom_it_was(agent: AgentProcess, provider: OpenIDProvider) -> None:
    new = ("users", "--issuer", provider.issuer, "--client-id", "native-app", "--redirect-port", "0")
    helps = fail_to_log_in(agent, *new, "--management-for", "work", by=lambda url: httpx.get(provider.cancel(url)))
    log_in_by(agent, provider, given(remedies.log_in_for("work", remedies.try_again("users")), helps))
    serves(agent, provider, "users")
    assert 'management_account = "users"' in agent.config.read_text()


# ---- what the account is


def test_what_was_wrong_of_an_account_is_corrected_and_logged_in_to(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    agent.configure({"work": account(provider, redirect_ports=[0], issuer=wrong)})
    helps = given(remedies.correct_and_log_in("work", ["issuer"]), said(agent, "login", "work"))
    agent.configure({"work": account(provider, redirect_ports=[0])})
    log_in_by(agent, provider, helps)
    serves(agent, provider)


def test_a_new_account_that_is_wrong_is_corrected_by_the_option_that_is_named(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    helps = said(agent, "login", "new", "--issuer", wrong, "--client-id", "native-app", "--redirect-port", "0")
    assert len(helps) == 1
    command = given(remedies.correct_and_log_in("new", ["issuer"]), helps)
    log_in_by(agent, provider, [*command, "--issuer", provider.issuer])
    serves(agent, provider, "new")


def test_a_session_survives_what_was_wrong_of_its_account(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    agent.configure({"work": account(provider, redirect_ports=[0], issuer=wrong)})
    helps = given(remedies.correct_and_log_in("work", ["issuer"]), said(agent, "login", "work"))
    agent.configure({"work": account(provider, redirect_ports=[0])})
    log_in_by(agent, provider, helps)
    serves(agent, provider)


def test_an_account_that_is_wrong_is_corrected_and_read_again(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    secret = CREDENTIALS["post-app"]
    right = account(provider, "post-app", token_endpoint_auth_method=secret.method, redirect_ports=[0])
    agent.configure({"work": right})
    client.reload()
    client.import_refresh_token(client_s_refresh_token(provider), "work", client_secret=secret.secret)
    agent.configure({"work": {**right, "token_endpoint_auth_method": "client_secret_basic"}})
    client.reload()
    assert agent.run("refresh", "work").returncode != 0
    helps = given(remedies.correct_and_reload(("client_id", "token_endpoint_auth_method")), of_record(agent))
    agent.configure({"work": right})
    run(agent, helps)
    until(lambda: of_record(agent) == ())
    serves(agent, provider)


def test_what_was_corrected_at_the_provider_is_tried(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    provider.fault("status", status=401, body={"error": "invalid_client"}, times=None)
    helps = given(remedies.refresh_when_corrected("work"), said(agent, "refresh", "work"))
    provider.clear_faults()
    run(agent, helps)
    assert of_record(agent) == ()


def test_an_import_that_a_wrong_account_fails_is_tried_again(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    token = provider.login().refresh_token
    agent.configure({"work": account(provider, issuer=provider.issuer.replace("127.0.0.1", "localhost"))})
    client.reload()
    helps = given(remedies.correct_and_reload(["issuer"]), said(agent, "import", "work", stdin=token))
    agent.configure({"work": account(provider)})
    run(agent, helps)
    run(agent, ["auth-agent", "import", "work"], stdin=token)
    serves(agent, provider)


def test_an_account_that_is_put_back_has_its_session(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    before = agent.config.read_text()
    agent.configure({})
    with agent.begin("watch", "work", "--json") as watching:
        until(watching.output)
        client.reload()
        until(lambda: "account_removed" in watching.output())
        last = json.loads(watching.output().splitlines()[-1])
    helps = given(remedies.put_back_and_reload(), remedies_from_wire(last["remedy"]))
    agent.config.write_text(before)
    run(agent, helps)
    serves(agent, provider)


def test_a_file_that_was_corrected_is_read(agent: AgentProcess) -> None:
    right = agent.config.read_text()
    agent.config.write_text(right.replace("issuer", "isuer"))
    helps = given(remedies.correct_configuration(), said(agent, "reload"))
    agent.config.write_text(right + "\n[accounts.home]\n" + right.partition("\n")[2])
    run(agent, helps)
    assert {one["account"] for one in json.loads(agent.run("status", "--json").stdout)["accounts"]} == {"work", "home"}


@pytest.mark.parametrize("in_one_browser", [True, False])
def test_an_api_that_a_session_cannot_have_is_an_account_s_of_its_own(
    in_one_browser: bool, agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(access_token_lifetime=3600, multi_resource=False)
    agent.configure({"work": account(provider, redirect_ports=[0])})
    with provider.browser() as browser, agent.client() as client:
        client.reload()

        def enter(command: list[str]) -> None:
            with at_terminal(agent, command) as terminal:
                url = terminal.until(URL)[0]
                if in_one_browser:
                    browser.enter(url)
                else:
                    provider.enter(url)
                assert terminal.end() == 0, terminal.shown

        enter(["auth-agent", "login", "work"])
        api = "https://api.example"
        own = remedies.account_of_its_own("work", provider.issuer, "native-app", api, None)
        enter(given(own, said(agent, "token", "work", "--audience", api)))
        assert client.token("work.api").audience == api
        client.refresh("work.api")
        client.refresh("work")
        client.logout("work.api")
        client.refresh("work")  # the one is not the other's, even where the provider has one grant for both
        serves(agent, provider)


@pytest.mark.parametrize("command", [("token",), ("account", "remove", "wor")])
def test_who_has_no_account_sees_how_to_add_one(command: tuple[str, ...], agent: AgentProcess) -> None:
    agent.configure({})
    assert agent.run("reload").returncode == 0
    assert "auth-agent login work --issuer" in run(agent, given(remedies.begin(), said(agent, *command)))


def test_who_adds_an_account_twice_sees_how_it_is_changed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    helps = said(agent, "account", "add", "work", "--issuer", provider.issuer, "--client-id", "native-app")
    assert "or changed there" in " ".join(run(agent, given(remedies.change_account(), helps)).split())


def test_a_session_is_logged_out_before_its_account_is_another_client_s(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    again = ("login", "work", "--client-id", "second-app")
    run(agent, given(remedies.log_out("work"), said(agent, *again)))
    assert record(client).state == "logged_out"
    log_in_by(agent, provider, [*COMMAND, *again])
    serves(agent, provider)


def test_an_account_is_removed_with_its_session(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    run(agent, given(remedies.log_out_and_remove("work"), said(agent, "account", "remove", "work")))
    assert not client.status().accounts
    assert "work" not in agent.config.read_text()


# ---- refreshing


def test_after_an_outage_it_is_tried_now(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    provider.fault("status", status=503, times=None)
    assert remedies.refresh("work") in said(agent, "refresh", "work")
    helps = given(remedies.refresh("work"), of_record(agent))
    provider.clear_faults()
    run(agent, helps)
    assert of_record(agent) == ()


# ---- users at Auth0


def test_the_user_s_data_has_a_login_of_its_own(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    audience, scope = provider.management_audience, f"openid offline_access {MANAGEMENT_SCOPE}"
    own = remedies.management_account("work", None, provider.issuer, "native-app", audience, scope)
    log_in_by(agent, provider, given(own, said(agent, "metadata", "get", "work")))
    assert json.loads(run(agent, ["auth-agent", "metadata", "get", "work"])) == {}


def manage(
    agent: AgentProcess, provider: OpenIDProvider, user: str = "auth0|alice", scope: str = MANAGEMENT_SCOPE
) -> None:
    """Log in to `work`, and as that user to `users` for its user's data."""
    scope = f"openid offline_access {scope}"
    users = account(provider, audience=provider.management_audience, scope=scope, redirect_ports=[0])
    agent.configure({"work": account(provider, management_account="users"), "users": users})
    with agent.client() as client:
        client.reload()
        log_in(client, provider)
        log_in(client, provider, "users", user=user, audience=provider.management_audience, scope=scope)


def test_a_user_s_data_is_got_at_as_the_same_user(agent: AgentProcess, provider: OpenIDProvider) -> None:
    manage(agent, provider, BOB)
    helps = said(agent, "metadata", "get", "work")
    log_in_by(agent, provider, given(remedies.log_in_as_the_same("users"), helps))
    assert json.loads(run(agent, ["auth-agent", "metadata", "get", "work"])) == {}


def test_a_scope_that_is_missing_is_added_to_the_others(agent: AgentProcess, provider: OpenIDProvider) -> None:
    manage(agent, provider, scope="read:current_user email")
    needed, scope = f"openid offline_access {MANAGEMENT_SCOPE}", "openid offline_access read:current_user email"
    helps = said(agent, "metadata", "set", "work", "country=Canada")
    log_in_by(agent, provider, given(remedies.widen_scope("users", needed, scope), helps))
    assert json.loads(run(agent, ["auth-agent", "metadata", "set", "work", "country=Canada"])) == {"country": "Canada"}
    assert 'scope = "openid offline_access read:current_user update:current_user_metadata email"' in (
        agent.config.read_text()
    )


def test_what_holds_of_metadata_is_seen(agent: AgentProcess, provider: OpenIDProvider) -> None:
    manage(agent, provider)
    path = provider.user_path("auth0|alice")
    provider.fault("drop-after", route=path, method="PATCH")
    provider.fault("drop-before", route=path, method="GET", times=None)
    helps = said(agent, "metadata", "set", "work", "country=Canada")
    provider.clear_faults()
    assert json.loads(run(agent, given(remedies.look_at_metadata("work"), helps))) == {"country": "Canada"}


# ---- this machine


def test_a_clock_that_is_wrong_is_shown_by_a_program_that_is_there(
    agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(access_token_lifetime=3600, clock_offset=3600)
    agent.configure({"work": account(provider, redirect_ports=[0])})
    helps = fail_to_log_in(agent, "work", by=provider.enter)
    command = given(remedies.correct_clock(), helps)
    provider.set_clock(0)
    log_in_by(agent, provider, given(remedies.try_again("work"), helps))
    if shutil.which(command[0]) is None:
        pytest.skip("the clock's settings: apt-get install systemd")


def test_a_directory_is_closed_to_others(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    agent.socket.parent.chmod(0o755)
    run(agent, given(remedies.close_directory(str(agent.socket.parent)), said(agent, "token", "work")))
    serves(agent, provider)


# ---- the agent


def test_where_no_agent_listens_one_is_started(alone: AgentProcess) -> None:
    with KeyringSession(keyring=False) as session:
        alone.environment.update(session.environment)
        starts_an_agent(alone, given(remedies.start_agent(), said(alone, "token")), alone.socket)


def test_another_agent_at_the_same_socket_is_looked_at(agent: AgentProcess) -> None:
    helps = said(agent, "run", "--store", "memory")
    assert f"process {agent.process.pid}" in run(agent, given(remedies.see_status_at(str(agent.socket)), helps))


def test_another_agent_that_has_the_sessions_is_looked_at_and_left_alone(provider: OpenIDProvider) -> None:
    with (
        KeyringSession() as keyring,
        AgentProcess({"work": account(provider)}, environment=keyring.environment, store="keyring") as agent,
        agent.client() as client,
    ):
        as_a_person(agent)
        log_in(client, provider)
        first, second = agent.environment["AUTH_AGENT_SOCK"], agent.home / "second" / "agent.sock"
        agent.environment["AUTH_AGENT_SOCK"] = str(second)
        helps = said(agent, "run")
        assert f"process {agent.process.pid}" in run(agent, given(remedies.see_status_at(first), helps))
        starts_an_agent(agent, given(remedies.run_beside(str(second)), helps), second.with_name("memory.sock"))
        # Whose file doesn't say where it listens, as of a full disk.
        (lock,) = (path for path in agent.home.rglob("*lock*") if first in path.read_text())
        os.truncate(lock, 0)
        helps = said(agent, "run")
        agent.environment["AUTH_AGENT_SOCK"] = first
        assert f"process {agent.process.pid}" in run(agent, given(remedies.see_status(), helps))
        serves(agent, provider)


def test_where_the_store_cannot_be_used_sessions_are_kept_in_memory(alone: AgentProcess) -> None:
    (alone.home / "a file").touch()
    alone.environment["XDG_STATE_HOME"] = str(alone.home / "a file")
    starts_an_agent(alone, given(remedies.run_in_memory(), said(alone, "run")), alone.socket)


def test_a_keyring_is_unlocked_here(provider: OpenIDProvider) -> None:
    if shutil.which("systemd-ask-password") is None:
        pytest.skip("a prompt for the password: apt-get install systemd")
    with (
        KeyringSession() as keyring,
        AgentProcess({"work": account(provider)}, environment=keyring.environment, store="keyring") as agent,
    ):
        as_a_person(agent)
        with agent.client() as client:
            log_in(client, provider)
            until(lambda: record(client)["saved"] is True)
        agent.terminate()
        keyring.lock()
        agent.start()
        until(lambda: "locked" in agent.run("status").stdout)
        _, here = remedies.unlock_keyring()
        store = json.loads(agent.run("status", "--json").stdout)["agent"]["store"]
        command = given(here, remedies_from_wire(store["remedy"]))
        # In a shell, which goes on when the command has ended: the keyring's daemon comes from there too.
        with at_terminal(agent, ["sh", "-i"]) as terminal:
            terminal.type(f"{shlex.join(command)}\n")
            terminal.until("assword")
            terminal.type(f"{PASSWORD}\n")
            terminal.until("GNOME_KEYRING_CONTROL=")  # as it says when it has begun
            terminal.type("exit\n")
            assert terminal.end() == 0, terminal.shown
        with agent.client() as client:
            until(lambda: record(client).state == "ready")
        serves(agent, provider)


def test_an_older_agent_is_restarted(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        as_a_person(agent)
        site = agent.home / "site"
        for package in ("agent/auth_agent", "client/auth_agent_client"):
            shutil.copytree(ROOT / package, site / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
        module = site / "auth_agent_client" / "__init__.py"
        today = module.read_text()
        module.write_text(today.replace(f'__version__ = "{__version__}"', '__version__ = "0.0.1"'))
        agent.environment["PYTHONPATH"] = str(site)
        agent.start()
        del agent.environment["PYTHONPATH"]
        module.write_text(f"{today}\n")
        text = agent.run("status").stdout.splitlines()[-1]
        assert "The agent is of version 0.0.1" in text
        assert str(remedies.restart()) in text
        run(agent, list(remedies.restart().command))
        assert "version 0.0.1" not in agent.run("status").stdout
        assert agent.answers()


def test_a_restart_that_loses_sessions_is_meant(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    before = client.hello().agent_id
    run(agent, given(remedies.restart_by_force(), said(agent, "restart")))
    with agent.client() as another:
        assert another.hello().agent_id != before


def test_an_agent_whose_program_is_gone_is_stopped_and_started(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        as_a_person(agent)
        program = agent.home / "auth-agent"
        program.write_text("import sys\nfrom auth_agent.cli import main\nsys.exit(main())\n")
        agent.command = (sys.executable, str(program))
        agent.start()
        program.unlink()
        agent.command = COMMAND
        # It is said by the command that asked, and stands in `status` from then on.
        helps = said(agent, "restart")
        run(agent, given(remedies.start_anew(), helps))
        assert agent.process.wait(PATIENCE) == 0
        agent.start()
        assert agent.answers()


# ---- all of them


def test_every_command_of_a_remedy_is_run_here_or_is_not_for_a_reason() -> None:
    have_a_command = {name for name in made.EXAMPLES if any(one.command for one in made.examples(name))}
    named = set(re.findall(r"remedies\.(\w+)\(", Path(__file__).read_text()))
    assert have_a_command - named - set(NOT_RUN) == set()
    assert set(NOT_RUN) <= have_a_command
