"""Every command of a remedy is run in the situation for which it is shown, and has the effect that its text promises.

Each test takes the remedy from where a person or a program gets it (an error, a record or a command's output) and runs
exactly its arguments.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from auth_agent import remedies
from auth_agent_client import Agent, AgentError, Remedy, __version__
from auth_agent_client.remedy import remedies_from_wire
from tests.agent import test_remedies as examples
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import PASSWORD, KeyringSession
from tests.integration.terminal import Terminal
from tests.op.provider import CREDENTIALS, MANAGEMENT_SCOPE, OpenIDProvider

ROOT: Final = Path(__file__).parents[2]
URL: Final = r"http://127\.0\.0\.1:\d+/authorize\?\S+(?=\s)"
BOB: Final = "auth0|bob"
# Columns: enough for each remedy on one line.
WIDE: Final = 400

# The commands that no test below runs, and why.
NOT_RUN: Final = {
    "log_in_by_device": "the same command as that of `other_ports`",
    "account_of_another_client": "has ID in place of a client id",
    "log_in_once": "an API's challenge names the parameters; test_remedies.py of the agent shows its form",
    "log_in_with_scopes": "the same",
    "provide_cluster_info": "needs kubectl; tools/test_kubectl.py sets it up by the same command",
    "use_agents_user": "needs kubectl; tools/test_kubectl.py has its form",
    "deactivate": "needs a service manager; test_user_manager.py runs it",
    "install_by_force": "needs a service manager; test_user_manager.py runs it",
    "install_service": "the same",
    "correct_proxy": "the same as `reload`",
    "restart_socket_unit": "test_user_manager.py runs it",
    "reload": "test_config_commands.py runs it",
    "paste_url": "test_login_command.py runs it",
    "hide_url": "the same",
    "log_in_by_pasting": "the same",
    "adopt": "test_unlock.py runs it",
    "choose_passphrase": "test_unlock.py runs it",
    "move_to": "test_store_move.py runs it",
    "move_to_file": "test_store_move.py runs it",
    "lock_memory": "test_lock.py runs it",
    "unlock": "test_unlock.py runs it",
    "run_with_keyring": "test_snippets.py runs it, since docs/store.md has it too",
    "trust_and_log_in": "test_tls.py runs it with a file",
    "correct_clock": "a test machine has no time service; a test checks that the program exists",
    "find_entry": "tools/test_keyrings.py does what it says",
    "unlock_keychain": "only macOS has a keychain",
}


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with the account `work`, not logged in; commands have no browser, and auth-agent in PATH."""
    with AgentProcess({"work": account(provider, redirect_ports=[0])}) as process:
        set_environment(process)
        yield process


@pytest.fixture
def alone() -> Generator[AgentProcess, None, None]:
    """An environment for commands without an agent."""
    with AgentProcess(started=False) as process:
        set_environment(process)
        yield process


def set_environment(agent: AgentProcess) -> None:
    """Put auth-agent into the PATH of commands, and remove the browser."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    agent.environment.update(PATH=path, BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")


# ---- reading remedies, and running them


def parse_remedies(text: str) -> list[Remedy]:
    """Return the remedies in a command's output."""
    lines = [re.fullmatch(r"  (\S.*?): (\S.*)", line) for line in text.splitlines()]
    return [Remedy(line[1], *shlex.split(line[2])) for line in lines if line is not None]


def remedies_of_failing(agent: AgentProcess, *arguments: str, stdin: str | None = None) -> list[Remedy]:
    """Run a command, which must fail; return the remedies that it prints."""
    result = agent.run(*arguments, stdin=stdin)
    assert result.returncode != 0
    return parse_remedies(result.stderr)


def of_record(agent: AgentProcess, name: str = "work") -> tuple[Remedy, ...]:
    """Return the remedies of an account's record, as `status --json` prints it."""
    accounts = json.loads(agent.run("status", "--json").stdout)["accounts"]
    return remedies_from_wire(next(account for account in accounts if account["account"] == name)["remedy"])


def of_error(call: Callable[..., object], *arguments: Any, **more: Any) -> tuple[Remedy, ...]:
    """Return the remedies of the error that a call raises."""
    with pytest.raises(AgentError) as raised:
        call(*arguments, **more)
    return raised.value.remedy


def command_of(expected: Remedy, remedies_: Iterable[Remedy]) -> list[str]:
    """Return the command of a remedy, which must be one of these."""
    assert expected in (actual := list(remedies_)), actual
    return list(expected.command)


def run(agent: AgentProcess, command: list[str], stdin: str | None = None) -> str:
    """Run a command, which must succeed; return its standard output."""
    result = subprocess.run(
        command,
        env=agent.environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@contextlib.contextmanager
def at_terminal(agent: AgentProcess, command: list[str]) -> Generator[Terminal, None, None]:
    """Run a command in a terminal."""
    with Terminal(command, agent.environment, WIDE) as terminal:
        yield terminal


def log_in_by(agent: AgentProcess, provider: OpenIDProvider, command: list[str], user: str = "auth0|alice") -> None:
    """Run a command that logs in with the browser, and log in there."""
    with at_terminal(agent, command) as terminal:
        provider.enter(terminal.until(URL)[0], user)
        assert terminal.end() == 0, terminal.shown


def fail_to_log_in(agent: AgentProcess, *arguments: str, by: Callable[[str], object]) -> list[Remedy]:
    """Run a login that `by` makes fail; return the remedies that it prints."""
    with at_terminal(agent, [*COMMAND, "login", *arguments]) as terminal:
        by(terminal.until(URL)[0])
        assert terminal.end() != 0
        return parse_remedies(terminal.shown)


def serves(agent: AgentProcess, provider: OpenIDProvider, name: str = "work") -> None:
    """Check that the account has a token that the provider accepts."""
    token = run(agent, ["auth-agent", "token", name]).strip()
    assert provider.userinfo(token).status_code == 200


def starts_an_agent(agent: AgentProcess, command: list[str], path: Path) -> None:
    """Run a command that is an agent until it serves at that socket, then stop it."""
    with subprocess.Popen(command, env=agent.environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: is_served(path))
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0


def is_served(path: Path) -> bool:
    """Return whether an agent responds at that socket."""
    try:
        with Agent(str(path)) as client:
            return client.hello().pid is not None
    except AgentError:
        return False


# ---- logging in


def test_log_in(agent: AgentProcess, provider: OpenIDProvider) -> None:
    assert command_of(remedies.log_in("work"), of_record(agent)) == command_of(
        remedies.log_in("work"), remedies_of_failing(agent, "token")
    )
    log_in_by(agent, provider, command_of(remedies.log_in("work"), remedies_of_failing(agent, "token")))
    serves(agent, provider)


def test_log_in_again_after_the_session_has_ended(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    provider.fault("status", status=400, body={"error": "invalid_grant"})
    assert remedies.log_in_again("work") in remedies_of_failing(agent, "refresh", "work")
    log_in_by(agent, provider, command_of(remedies.log_in_again("work"), of_record(agent)))
    serves(agent, provider)
    assert of_record(agent) == ()


def test_log_in_again_after_the_audience_was_changed(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    agent.configure({"work": account(provider, redirect_ports=[0], audience="https://api.example")})
    client.reload()
    log_in_by(agent, provider, command_of(remedies.log_in_again("work"), of_error(client.token)))
    assert client.token().audience == "https://api.example"


def test_log_in_before_the_end_of_a_session_without_a_refresh_token(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    agent.configure({"work": account(provider, "no-refresh-app", redirect_ports=[0])})
    client.reload()
    log_in_by(agent, provider, ["auth-agent", "login", "work"])
    before = record(client)["epoch"]
    log_in_by(agent, provider, command_of(remedies.log_in_before_end("work"), of_record(agent)))
    assert record(client)["epoch"] != before
    serves(agent, provider)


def test_try_again_after_a_cancelled_login(agent: AgentProcess, provider: OpenIDProvider) -> None:
    shown_remedies = fail_to_log_in(agent, "work", by=lambda url: httpx.get(provider.cancel(url)))
    log_in_by(agent, provider, command_of(remedies.try_again("work"), shown_remedies))
    serves(agent, provider)


def test_switch_the_user_by_a_login(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    shown_remedies = fail_to_log_in(agent, "work", by=lambda url: provider.enter(url, BOB))
    log_in_by(agent, provider, command_of(remedies.switch_user("work"), shown_remedies), BOB)
    assert record(client).subject == BOB


def test_switch_the_user_by_an_import(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    first, another = (provider.login(BOB).refresh_token for _ in range(2))
    shown_remedies = remedies_of_failing(agent, "import", "work", stdin=first)
    run(agent, command_of(remedies.switch_user_by_import("work"), shown_remedies), stdin=another)
    assert record(client).subject == BOB
    serves(agent, provider)


def test_log_in_by_device_if_the_ports_are_in_use(
    agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(device_interval=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        agent.configure({"work": account(provider, redirect_ports=[port])})
        find, _, device = remedies.other_ports("work")
        shown_remedies = remedies_of_failing(agent, "login", "work")
        if shutil.which(find.command[0]) is None:
            pytest.skip("the ports' list: apt-get install iproute2")
        assert f":{port} " in run(agent, command_of(find, shown_remedies))
        with at_terminal(agent, command_of(device, shown_remedies)) as terminal:
            code, where = terminal.until(r"\n +([A-Z]{4}-[A-Z]{4})\n")[1], terminal.until(r"\n +(http://\S+)\n")[1]
            provider.approve(where, user_code=code)
            assert terminal.end() == 0
    serves(agent, provider)


def test_enter_the_client_secret_at_a_prompt(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    secret = CREDENTIALS["post-app"]
    keys = account(provider, "post-app", token_endpoint_auth_method=secret.method, redirect_ports=[0])
    agent.configure({"work": keys, "other": keys})
    client.reload()
    with at_terminal(
        agent, command_of(remedies.give_secret("login", "work"), remedies_of_failing(agent, "login", "work"))
    ) as terminal:
        terminal.until("Client secret: ")
        terminal.type(f"{secret.secret}\n")
        provider.enter(terminal.until(URL)[0])
        assert terminal.end() == 0
    serves(agent, provider)
    token = "not a provider's"
    shown_remedies = remedies_of_failing(agent, "import", "other", stdin=token)
    with at_terminal(agent, command_of(remedies.give_secret("import", "other"), shown_remedies)) as terminal:
        terminal.until("Client secret: ")
        terminal.type(f"{secret.secret}\n")
        terminal.until("Refresh token: ")
        terminal.type(f"{client_s_refresh_token(provider)}\n")
        assert terminal.end() == 0, terminal.shown
    serves(agent, provider, "other")


def client_s_refresh_token(provider: OpenIDProvider) -> str:
    """Return a refresh token of the client with a secret, issued to another program."""
    token = provider.login(client_id="post-app").refresh_token
    assert token is not None
    return token


def test_log_in_with_openid_in_addition_to_the_other_scopes(
    agent: AgentProcess, start_provider: Callable[..., OpenIDProvider], client: Agent
) -> None:
    provider = start_provider(device_interval=1)
    scope = "email read:things"
    agent.configure({"work": account(provider, redirect_ports=[0], scope=scope, audience="https://api.example")})
    client.reload()
    with at_terminal(agent, ["auth-agent", "login", "work", "--flow", "device"]) as terminal:
        provider.approve(terminal.until(r"(http://\S+user_code=\S+)\n")[1])
        assert terminal.end() == 0, terminal.shown
    shown_remedies = remedies_of_failing(agent, "id-token", "work")
    command = command_of(remedies.log_in_for_id_tokens("work", scope, switch_user=True), shown_remedies)
    log_in_by(agent, provider, command)
    assert run(agent, ["auth-agent", "id-token", "work"])
    assert "read:things" in (client.token().scope or "").split()


def test_log_in_without_offline_access(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    agent.configure({"work": account(provider, redirect_ports=[0], scope="openid email offline_access")})
    client.reload()
    provider.fault("status", route=provider.paths["device_authorization"], status=400, body={"error": "invalid_scope"})
    shown_remedies = remedies_of_failing(agent, "login", "work", "--flow", "device")
    log_in_by(
        agent, provider, command_of(remedies.log_in_without_offline_access("work", "openid email"), shown_remedies)
    )
    assert "openid email" in agent.config.read_text()


def test_name_api_by_audience(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    agent.configure({"work": account(provider, redirect_ports=[0], audience="https://api.acme.example")})
    client.reload()
    provider.fault("status", route=provider.paths["device_authorization"], status=400, body={"error": "invalid_target"})
    shown_remedies = remedies_of_failing(agent, "login", "work", "--flow", "device")
    log_in_by(agent, provider, command_of(remedies.name_api_by_audience("work"), shown_remedies))
    assert client.token("work").audience_verified


def test_try_again_to_log_in_to_a_new_management_account(agent: AgentProcess, provider: OpenIDProvider) -> None:
    new = ("users", "--issuer", provider.issuer, "--client-id", "native-app", "--redirect-port", "0")
    shown_remedies = fail_to_log_in(
        agent, *new, "--management-for", "work", by=lambda url: httpx.get(provider.cancel(url))
    )
    assert "users" not in agent.config.read_text()
    again = remedies.log_in_with("users", (*new[1:], "--management-for", "work"), remedies.try_again("users"))
    log_in_by(agent, provider, command_of(again, shown_remedies))
    serves(agent, provider, "users")
    assert 'management_account = "users"' in agent.config.read_text()


# ---- the configuration of an account


def test_choose_the_default_account(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    both = {name: account(provider, redirect_ports=[0]) for name in ("work", "home")}
    agent.configure(both)
    client.reload()
    shown_remedies = remedies_of_failing(agent, "token")
    assert shown_remedies == list(of_error(client.token))
    run(agent, command_of(remedies.choose_default("work"), shown_remedies))
    assert client.token().account == "work"


def test_correct_the_account_and_log_in(agent: AgentProcess, provider: OpenIDProvider) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    agent.configure({"work": account(provider, redirect_ports=[0], issuer=wrong)})
    command = command_of(remedies.correct_and_log_in("work", ["issuer"]), remedies_of_failing(agent, "login", "work"))
    agent.configure({"work": account(provider, redirect_ports=[0])})
    log_in_by(agent, provider, command)
    serves(agent, provider)


def test_correct_a_new_account_by_an_option(agent: AgentProcess, provider: OpenIDProvider) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    new = ("--issuer", wrong, "--client-id", "native-app", "--redirect-port", "0")
    shown_remedies = remedies_of_failing(agent, "login", "new", *new)
    assert len(shown_remedies) == 1
    correct = remedies.log_in_with("new", new, remedies.correct_and_log_in("new", ["issuer"]))
    command = command_of(correct, shown_remedies)
    log_in_by(agent, provider, [*command, "--issuer", provider.issuer])
    serves(agent, provider, "new")


def test_correct_the_account_of_a_session_and_log_in(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    agent.configure({"work": account(provider, redirect_ports=[0], issuer=wrong)})
    command = command_of(remedies.correct_and_log_in("work", ["issuer"]), remedies_of_failing(agent, "login", "work"))
    agent.configure({"work": account(provider, redirect_ports=[0])})
    log_in_by(agent, provider, command)
    serves(agent, provider)


def test_correct_the_account_and_reload(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    secret = CREDENTIALS["post-app"]
    right = account(provider, "post-app", token_endpoint_auth_method=secret.method, redirect_ports=[0])
    agent.configure({"work": right})
    client.reload()
    client.import_refresh_token(client_s_refresh_token(provider), "work", client_secret=secret.secret)
    agent.configure({"work": {**right, "token_endpoint_auth_method": "client_secret_basic"}})
    client.reload()
    assert agent.run("refresh", "work").returncode != 0
    command = command_of(remedies.correct_and_reload(("client_id", "token_endpoint_auth_method")), of_record(agent))
    agent.configure({"work": right})
    run(agent, command)
    until(lambda: of_record(agent) == ())
    serves(agent, provider)


def test_refresh_after_a_correction_at_the_provider(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    log_in(client, provider)
    provider.fault("status", status=401, body={"error": "invalid_client"}, times=None)
    command = command_of(remedies.refresh_when_corrected("work"), remedies_of_failing(agent, "refresh", "work"))
    provider.clear_faults()
    run(agent, command)
    assert of_record(agent) == ()


def test_correct_the_account_and_import_again(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    token = provider.login().refresh_token
    agent.configure({"work": account(provider, issuer=provider.issuer.replace("127.0.0.1", "localhost"))})
    client.reload()
    command = command_of(
        remedies.correct_and_reload(["issuer"]), remedies_of_failing(agent, "import", "work", stdin=token)
    )
    agent.configure({"work": account(provider)})
    run(agent, command)
    run(agent, ["auth-agent", "import", "work"], stdin=token)
    serves(agent, provider)


def test_restore_the_account_of_a_session_and_reload(
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
    command = command_of(remedies.restore_account_and_reload(), remedies_from_wire(last["remedy"]))
    agent.config.write_text(before)
    run(agent, command)
    serves(agent, provider)


def test_correct_the_configuration_and_reload(agent: AgentProcess) -> None:
    right = agent.config.read_text()
    agent.config.write_text(right.replace("issuer", "isuer"))
    command = command_of(remedies.correct_configuration(), remedies_of_failing(agent, "reload"))
    agent.config.write_text(right + "\n[accounts.home]\n" + right.partition("\n")[2])
    run(agent, command)
    assert {account["account"] for account in json.loads(agent.run("status", "--json").stdout)["accounts"]} == {
        "work",
        "home",
    }


@pytest.mark.parametrize("in_one_browser", [True, False])
def test_make_a_separate_account_for_a_refused_api(
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
        enter(command_of(own, remedies_of_failing(agent, "token", "work", "--audience", api)))
        assert client.token("work.api").audience == api
        client.refresh("work.api")
        client.refresh("work")
        client.logout("work.api")
        client.refresh("work")  # it survives, even if the provider has one grant for both
        serves(agent, provider)


@pytest.mark.parametrize("command", [("token",), ("account", "remove", "wor")])
def test_show_how_to_add_an_account(command: tuple[str, ...], agent: AgentProcess) -> None:
    agent.configure({})
    assert agent.run("reload").returncode == 0
    assert "auth-agent login work --issuer" in run(
        agent, command_of(remedies.begin(), remedies_of_failing(agent, *command))
    )


def test_show_how_to_change_an_account(agent: AgentProcess, provider: OpenIDProvider) -> None:
    shown_remedies = remedies_of_failing(
        agent, "account", "add", "work", "--issuer", provider.issuer, "--client-id", "native-app"
    )
    assert "--client-id" in run(agent, command_of(remedies.change_account(), shown_remedies))


def test_log_out_before_changing_the_client(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    again = ("login", "work", "--client-id", "second-app")
    run(agent, command_of(remedies.log_out("work"), remedies_of_failing(agent, *again)))
    assert record(client).state == "logged_out"
    log_in_by(agent, provider, [*COMMAND, *again])
    serves(agent, provider)


def test_log_out_and_remove_an_account(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    run(agent, command_of(remedies.log_out_and_remove("work"), remedies_of_failing(agent, "account", "remove", "work")))
    assert not client.status().accounts
    assert "work" not in agent.config.read_text()


# ---- refreshing


def test_retry_a_refresh_after_an_outage(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    provider.fault("status", status=503, times=None)
    assert remedies.refresh("work") in remedies_of_failing(agent, "refresh", "work")
    command = command_of(remedies.refresh("work"), of_record(agent))
    provider.clear_faults()
    run(agent, command)
    assert of_record(agent) == ()


# ---- users at Auth0


def test_log_in_to_a_management_account(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    audience, scope = provider.management_audience, f"openid offline_access {MANAGEMENT_SCOPE}"
    own = remedies.management_account("work", None, provider.issuer, "native-app", audience, scope)
    log_in_by(agent, provider, command_of(own, remedies_of_failing(agent, "metadata", "get", "work")))
    assert json.loads(run(agent, ["auth-agent", "metadata", "get", "work"])) == {}


def manage(
    agent: AgentProcess, provider: OpenIDProvider, user: str = "auth0|alice", scope: str = MANAGEMENT_SCOPE
) -> None:
    """Log in to `work`, and as `user` to `users`, the account for the Management API."""
    scope = f"openid offline_access {scope}"
    users = account(provider, audience=provider.management_audience, scope=scope, redirect_ports=[0])
    agent.configure({"work": account(provider, management_account="users"), "users": users})
    with agent.client() as client:
        client.reload()
        log_in(client, provider)
        log_in(client, provider, "users", user=user, audience=provider.management_audience, scope=scope)


def test_log_in_to_the_management_account_as_the_same_user(agent: AgentProcess, provider: OpenIDProvider) -> None:
    manage(agent, provider, BOB)
    shown_remedies = remedies_of_failing(agent, "metadata", "get", "work")
    log_in_by(agent, provider, command_of(remedies.log_in_as_the_same("users"), shown_remedies))
    assert json.loads(run(agent, ["auth-agent", "metadata", "get", "work"])) == {}


def test_log_in_with_a_missing_management_scope(agent: AgentProcess, provider: OpenIDProvider) -> None:
    manage(agent, provider, scope="read:current_user email")
    needed, scope = f"openid offline_access {MANAGEMENT_SCOPE}", "openid offline_access read:current_user email"
    shown_remedies = remedies_of_failing(agent, "metadata", "set", "work", "country=Canada")
    log_in_by(agent, provider, command_of(remedies.widen_scope("users", needed, scope), shown_remedies))
    assert json.loads(run(agent, ["auth-agent", "metadata", "set", "work", "country=Canada"])) == {"country": "Canada"}
    assert 'scope = "openid offline_access read:current_user update:current_user_metadata email"' in (
        agent.config.read_text()
    )


def test_show_the_metadata_after_a_lost_response(agent: AgentProcess, provider: OpenIDProvider) -> None:
    manage(agent, provider)
    path = provider.user_path("auth0|alice")
    provider.fault("drop-after", route=path, method="PATCH")
    provider.fault("drop-before", route=path, method="GET", times=None)
    shown_remedies = remedies_of_failing(agent, "metadata", "set", "work", "country=Canada")
    provider.clear_faults()
    assert json.loads(run(agent, command_of(remedies.show_metadata("work"), shown_remedies))) == {"country": "Canada"}


# ---- this machine


def test_show_the_clock(agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=3600, clock_offset=3600)
    agent.configure({"work": account(provider, redirect_ports=[0])})
    shown_remedies = fail_to_log_in(agent, "work", by=provider.enter)
    command = command_of(remedies.correct_clock(), shown_remedies)
    provider.set_clock(0)
    log_in_by(agent, provider, command_of(remedies.try_again("work"), shown_remedies))
    if shutil.which(command[0]) is None:
        pytest.skip("the clock's settings: apt-get install systemd")


def test_close_the_directory_to_other_users(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    agent.socket.parent.chmod(0o755)
    run(
        agent,
        command_of(remedies.close_directory(str(agent.socket.parent)), remedies_of_failing(agent, "token", "work")),
    )
    serves(agent, provider)


def test_make_close_and_free_the_place_of_a_token_file(
    agent: AgentProcess, provider: OpenIDProvider, client: Agent
) -> None:
    folder = agent.home / "folder"
    path, configuration = folder / "token", agent.config.read_text()
    agent.config.write_text(f'{configuration}\n[files."{path}"]\naccount = "work"\n')
    client.reload()
    log_in(client, provider)

    def helps(remedy: Remedy) -> bool:
        return remedy in client.status().agent.files[0].remedy

    until(partial(helps, remedies.make_folder(str(folder))))
    run(agent, list(remedies.make_folder(str(folder)).command))
    folder.chmod(0o770)
    client.reload()
    until(partial(helps, remedies.close_folder(str(folder))))
    path.write_text("a person's")
    run(agent, list(remedies.close_folder(str(folder)).command))
    client.reload()
    until(partial(helps, remedies.free_path(str(path))))
    assert str(path) in run(agent, list(remedies.free_path(str(path)).command))
    path.unlink()
    client.reload()
    until(lambda: path.exists() and path.read_text() == client.token("work").access_token)


# ---- the agent


def test_start_the_agent(alone: AgentProcess) -> None:
    with KeyringSession(keyring=False) as session:
        alone.environment.update(session.environment)
        run(alone, command_of(remedies.start_agent(), remedies_of_failing(alone, "token")))
        try:
            assert is_served(alone.socket)
            shown_remedies = remedies_of_failing(alone, "start", "--store", "memory")
        finally:
            assert alone.run("stop").returncode == 0
        assert shown_remedies == [remedies.stop_first()]


def test_start_the_agent_without_a_service_manager(alone: AgentProcess) -> None:
    alone.environment.update(XDG_RUNTIME_DIR=str(alone.home), DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
    own = alone.environment.pop("AUTH_AGENT_SOCK")
    command = command_of(remedies.start(), remedies_of_failing(alone, "service", "install"))
    run(alone, command)
    try:
        assert is_served(alone.home / "auth-agent" / "agent.sock")
    finally:
        assert alone.run("stop").returncode == 0
        alone.environment["AUTH_AGENT_SOCK"] = own


def test_close_a_configuration_that_others_may_change(agent: AgentProcess) -> None:
    agent.config.chmod(0o666)
    findings = json.loads(agent.run("doctor", "--json").stdout)["findings"]
    shown_remedies = [remedy for finding in findings for remedy in remedies_from_wire(finding["remedy"])]
    run(agent, command_of(remedies.close_file(str(agent.config)), shown_remedies))
    assert agent.config.stat().st_mode & 0o777 == 0o600


def test_show_the_sessions_of_the_agent_at_the_same_socket(agent: AgentProcess) -> None:
    shown_remedies = remedies_of_failing(agent, "run", "--store", "memory")
    assert f"process {agent.process.pid}" in run(
        agent, command_of(remedies.see_status_at(str(agent.socket)), shown_remedies)
    )


def test_end_an_agent_whose_socket_is_gone(agent: AgentProcess) -> None:
    agent.process.send_signal(signal.SIGSTOP)  # it does not look before the command does
    agent.socket.unlink()
    run(agent, command_of(remedies.end_agent(agent.process.pid), remedies_of_failing(agent, "stop")))
    agent.process.send_signal(signal.SIGCONT)
    assert agent.process.wait(PATIENCE) == 0


def test_show_the_other_agent_or_run_a_second_one_in_memory(provider: OpenIDProvider) -> None:
    with (
        KeyringSession() as keyring,
        AgentProcess({"work": account(provider)}, environment=keyring.environment, store="keyring") as agent,
        agent.client() as client,
    ):
        set_environment(agent)
        log_in(client, provider)
        first, second = agent.environment["AUTH_AGENT_SOCK"], agent.home / "second" / "agent.sock"
        agent.environment["AUTH_AGENT_SOCK"] = str(second)
        shown_remedies = remedies_of_failing(agent, "run")
        assert f"process {agent.process.pid}" in run(agent, command_of(remedies.see_status_at(first), shown_remedies))
        starts_an_agent(
            agent, command_of(remedies.run_beside(str(second)), shown_remedies), second.with_name("memory.sock")
        )
        stop = command_of(remedies.stop_at(first), shown_remedies)
        # Its lock file doesn't have the socket, as after a full disk.
        (lock,) = agent.home.rglob("keyring.lock")
        os.truncate(lock, 0)
        shown_remedies = remedies_of_failing(agent, "run")
        agent.environment["AUTH_AGENT_SOCK"] = first
        assert f"process {agent.process.pid}" in run(agent, command_of(remedies.see_status(), shown_remedies))
        serves(agent, provider)
        run(agent, stop)
        assert agent.process.wait(PATIENCE) == 0


def test_run_in_memory_if_the_store_can_not_be_used(alone: AgentProcess) -> None:
    (alone.home / "a file").touch()
    alone.environment["XDG_STATE_HOME"] = str(alone.home / "a file")
    starts_an_agent(alone, command_of(remedies.run_in_memory(), remedies_of_failing(alone, "run")), alone.socket)


def test_start_with_the_store_that_has_the_sessions_if_that_is_not_known(alone: AgentProcess) -> None:
    note = alone.home / ".local" / "state" / "auth-agent" / "store-in-use.json"
    note.parent.mkdir(parents=True)
    note.write_text("damaged")
    shown_remedies = remedies_of_failing(alone, "run")
    assert command_of(remedies.start_with_store("keyring"), shown_remedies)
    run(alone, command_of(remedies.start_with_store("file"), shown_remedies))
    with alone.client() as client:
        assert client.status().agent.store.name == "file"
    assert json.loads(note.read_text())["store"] == "file"
    assert alone.run("stop").returncode == 0


def test_unlock_the_keyring_in_a_terminal(provider: OpenIDProvider) -> None:
    if shutil.which("systemd-ask-password") is None:
        pytest.skip("a prompt for the password: apt-get install systemd")
    with (
        KeyringSession() as keyring,
        AgentProcess({"work": account(provider)}, environment=keyring.environment, store="keyring") as agent,
    ):
        set_environment(agent)
        with agent.client() as client:
            log_in(client, provider)
            until(lambda: record(client)["saved"] is True)
        agent.terminate()
        keyring.lock()
        agent.start()
        _, here = remedies.unlock_keyring()
        remedy = until(lambda: json.loads(agent.run("status", "--json").stdout)["agent"]["store"]["remedy"])
        command = command_of(here, remedies_from_wire(remedy))
        # In a shell, which continues after the command: the keyring's daemon is its child.
        with at_terminal(agent, ["sh", "-i"]) as terminal:
            terminal.type(f"{shlex.join(command)}\n")
            terminal.until("assword")
            terminal.type(f"{PASSWORD}\n")
            terminal.until("GNOME_KEYRING_CONTROL=")  # the daemon's output when it has started
            terminal.type("exit\n")
            assert terminal.end() == 0, terminal.shown
        with agent.client() as client:
            until(lambda: record(client).state == "ready")
        serves(agent, provider)


def test_restart_an_older_agent(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        set_environment(agent)
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
        last_line = agent.run("status").stdout.splitlines()[-1]
        assert "version 0.0.1" in last_line
        assert str(remedies.restart()) in last_line
        run(agent, list(remedies.restart().command))
        assert "version 0.0.1" not in agent.run("status").stdout
        assert agent.answers()


def test_restart_and_lose_sessions(agent: AgentProcess, provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    before = client.hello().agent_id
    run(agent, command_of(remedies.restart_by_force(), remedies_of_failing(agent, "restart")))
    with agent.client() as another:
        assert another.hello().agent_id != before


def test_stop_an_agent_whose_program_was_removed(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        set_environment(agent)
        program = agent.home / "auth-agent"
        program.write_text("import sys\nfrom auth_agent.cli import main\nsys.exit(main())\n")
        agent.command = (sys.executable, str(program))
        agent.start()
        program.unlink()
        agent.command = COMMAND
        shown_remedies = remedies_of_failing(agent, "restart")
        assert command_of(remedies.repair_and_restart(), shown_remedies)
        run(agent, command_of(remedies.stop_old_agent(), shown_remedies))
        assert agent.process.wait(PATIENCE) == 0
        agent.start()
        assert agent.answers()


# ---- all of them


def test_every_command_of_a_remedy_is_run_here_or_listed_as_not_run() -> None:
    have_a_command = {name for name in examples.EXAMPLES if any(remedy.command for remedy in examples.examples(name))}
    named = set(re.findall(r"remedies\.(\w+)\(", Path(__file__).read_text()))
    assert have_a_command - named - set(NOT_RUN) == set()
    assert set(NOT_RUN) <= have_a_command
