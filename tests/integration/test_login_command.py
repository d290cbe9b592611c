"""`auth-agent login`, as a person at a terminal, or a script, meets it."""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.terminal import Terminal
from tests.op.login import provider_url
from tests.op.provider import CREDENTIALS, OpenIDProvider

ANY: dict[str, Any] = {"redirect_ports": [0]}
ADDRESS = r"http://127\.0\.0\.1:\d+/authorize\?\S+(?=\s)"


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent that knows the account `work`, and no browser."""
    with AgentProcess({"work": account(provider, **ANY)}) as process:
        process.environment.update(NO_BROWSER)
        yield process


# As in a shell on a machine without a screen.
NO_BROWSER = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "", "SSH_TTY": ""}


@pytest.fixture
def alone() -> Generator[AgentProcess, None, None]:
    """A place for commands, where no agent runs; whichever is started there is ended."""
    with AgentProcess(started=False) as process:
        process.environment.update(NO_BROWSER, DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
        try:
            yield process
        finally:
            process.run("stop")


def at_terminal(agent: AgentProcess, *arguments: str, columns: int = 80) -> Terminal:
    return Terminal([*COMMAND, *arguments], agent.environment, columns)


def use_browser(agent: AgentProcess, script: str) -> None:
    """Let the browser be a program of ours, which gets the address as its argument."""
    program = agent.home / "browser"
    program.write_text(f"#!{sys.executable}\nimport sys\naddress = sys.argv[1]\n{script}\n")
    program.chmod(stat.S_IRWXU)
    agent.environment["BROWSER"] = str(program)


def new_account(provider: OpenIDProvider, client_id: str = "native-app") -> tuple[str, ...]:
    return ("--issuer", provider.issuer, "--client-id", client_id, "--redirect-port", "0")


def log_in_at_terminal(agent: AgentProcess, provider: OpenIDProvider, *arguments: str) -> str:
    """Log in by the command, and return what it printed."""
    with at_terminal(agent, "login", *arguments) as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0, terminal.shown
        return terminal.shown


# ---- from nothing


def test_a_first_login_starts_the_agent_and_adds_the_account(alone: AgentProcess, provider: OpenIDProvider) -> None:
    alone.config.unlink()
    with at_terminal(alone, "login", "work", *new_account(provider)) as terminal:
        address = terminal.until(ADDRESS)[0]
        assert provider.enter(address).status_code == 200
        assert terminal.end() == 0
        output = terminal.shown
    assert "No agent was running: started one (process " in output
    assert "Added the account work to ~/config.toml" in output
    assert "Logged in to work as Name of auth0|alice." in output
    assert "sessions are kept" in alone.run("status").stdout
    token = alone.run("token", "work").stdout.strip()
    assert provider.userinfo(token).status_code == 200
    assert stat.S_IMODE(alone.config.stat().st_mode) == 0o600
    # The restarted agent does not inherit the descriptor by which the first reported that it serves.
    assert alone.run("restart", "--force").returncode == 0
    log = next(alone.home.rglob("agent.log"))
    until(lambda: log.read_text().count(" listening ") == 2)
    assert "AUTH_AGENT_READY_FD" not in log.read_text()


def test_an_agent_that_was_started_outlives_the_terminal(alone: AgentProcess, provider: OpenIDProvider) -> None:
    with at_terminal(alone, "login", "work", *new_account(provider)) as terminal:
        terminal.until(ADDRESS)
        terminal.type("\x03")
        terminal.end()
    assert alone.answers()
    log = next(alone.home.rglob("agent.log"))
    until(lambda: " listening " in log.read_text())
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_an_agent_that_cannot_start_prints_the_reason(alone: AgentProcess, provider: OpenIDProvider) -> None:
    alone.environment["SSL_CERT_FILE"] = str(alone.home / "none.pem")
    result = alone.run("login", "work", *new_account(provider))
    assert result.returncode == 1
    assert "SSL_CERT_FILE" in result.stderr
    assert not alone.config.read_text().strip()  # nothing was written yet


def test_a_new_account_that_is_wrong_is_corrected_by_another_login(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    result = agent.run("login", "new", "--issuer", wrong, "--client-id", "native-app", "--redirect-port", "0")
    output = " ".join(result.stderr.split())
    assert result.returncode == 1
    assert provider.issuer in output
    assert "correct its issuer by --issuer, and log in: auth-agent login new" in output
    assert "try again" not in output
    log_in_at_terminal(agent, provider, "new", *new_account(provider))


# ---- in a browser


def test_a_browser_is_opened_at_a_url_that_tells_other_users_nothing(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    seen = agent.home / "seen"
    use_browser(agent, f"open({str(seen)!r}, 'w').write(address)")
    with at_terminal(agent, "login") as terminal:
        until(lambda: seen.exists() and seen.read_text())
        terminal.until("Your browser should show the login of 127.0.0.1")
        whole = terminal.until(ADDRESS)[0]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/login/[\w-]{22}", seen.read_text())
        assert provider_url(seen.read_text()) == whole
        assert provider.enter(whole).status_code == 200
        assert terminal.end() == 0
        assert "Logged in to work" in terminal.shown


def test_over_ssh_a_browser_on_another_machine_gets_the_whole_url(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    seen = agent.home / "seen"
    use_browser(agent, f"open({str(seen)!r}, 'w').write(address)")
    agent.environment["SSH_CONNECTION"] = "192.0.2.1 50022 192.0.2.2 22"
    with at_terminal(agent, "login") as terminal:
        until(lambda: seen.exists() and seen.read_text())
        assert provider.enter(seen.read_text()).status_code == 200
        assert terminal.end() == 0


def test_without_a_browser_the_address_is_printed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    use_browser(agent, "sys.exit(3)")
    with at_terminal(agent, "login", "work") as terminal:
        address = terminal.until(ADDRESS)[0]
        terminal.until("If that browser is on another machine")
        provider.enter(address)
        assert terminal.end() == 0


def test_a_script_gets_only_the_url_on_stdout(agent: AgentProcess, provider: OpenIDProvider) -> None:
    command = [*COMMAND, "login", "work", "--no-browser"]
    with subprocess.Popen(
        command,
        env=agent.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        redirect = provider.visit(process.stdout.readline().strip())
        stdout, stderr = process.communicate(f"{redirect}\n", 30)
    assert (process.returncode, stdout) == (0, "")
    assert "Logged in to work" in stderr
    assert "\x1b" not in stderr
    assert redirect not in stderr


def test_a_pasted_redirect_url_is_accepted_and_not_echoed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with at_terminal(agent, "login", "--no-browser") as terminal:
        redirect = provider.visit(terminal.until(ADDRESS)[0])
        terminal.until("Waiting")
        terminal.type("https://example.com/\n")
        terminal.until("This is not the address")
        terminal.type(f"x\x7f{redirect}{'&more=' + 'x' * 3000}\n")  # longer than a terminal's own line may be
        assert terminal.end() == 0
        assert "Logged in to work" in terminal.shown
        code = re.search(r"code=([^&]+)", redirect)
        assert code is not None
        assert code[1] not in terminal.raw


def test_a_mistake_is_reported_and_nothing_is_changed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client:
        with at_terminal(agent, "login") as terminal:
            provider.enter(terminal.until(ADDRESS)[0])
            assert terminal.end() == 0
        before = record(client)
        with at_terminal(agent, "login") as terminal:
            provider.enter(terminal.until(ADDRESS)[0], "auth0|bob")
            assert terminal.end() == 6
            assert "auth-agent login work --switch-user" in " ".join(terminal.shown.split())
        assert record(client)["epoch"] == before["epoch"]
        with at_terminal(agent, "login", "--switch-user") as terminal:
            provider.enter(terminal.until(ADDRESS)[0], "auth0|bob")
            assert terminal.end() == 0
        assert record(client)["subject"] == "auth0|bob"


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_a_cancelled_login_changes_nothing(how: str, agent: AgentProcess) -> None:
    with at_terminal(agent, "login") as terminal:
        terminal.until("Waiting for the login: [0-9]+:[0-9]+ left")
        if how == "Ctrl-C":
            terminal.type("\x03")
        else:
            terminal.process.send_signal(getattr(signal, how))
        assert terminal.end() == 130
        assert terminal.shown.endswith("Cancelled; nothing has changed.\n")
    with agent.client() as client:
        assert record(client)["state"] == "logged_out"
    with at_terminal(agent, "login") as terminal:
        terminal.until(ADDRESS)  # its port is free, or another is


@pytest.mark.parametrize("columns", [80, 120])
def test_only_the_url_is_wider_than_the_terminal(columns: int, agent: AgentProcess, provider: OpenIDProvider) -> None:
    with at_terminal(agent, "login", columns=columns) as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0
        lines = [line.rpartition("\r")[2] for line in terminal.shown.split("\n")]
    assert [line for line in lines if len(line) > columns and not re.fullmatch(rf"{ADDRESS}\n", f"{line}\n")] == []


# ---- on another device


def test_the_device_code_is_on_a_line_of_its_own(
    agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(device_interval=1)
    agent.configure({"work": account(provider)})
    with at_terminal(agent, "login", "--flow", "device") as terminal:
        code = terminal.until(r"\n +([A-Z]{4}-[A-Z]{4})\n")[1]
        where = terminal.until(r"\n +(http://\S+)\n")[1]
        terminal.until("Waiting")
        provider.approve(where, user_code=code)
        assert terminal.end() == 0
        assert "Logged in to work as Name of auth0|alice." in terminal.shown


# ---- secrets


def test_the_login_prompts_for_a_client_secret_that_is_needed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    method = CREDENTIALS["post-app"].method
    agent.configure({"work": account(provider, "post-app", token_endpoint_auth_method=method, **ANY)})
    with at_terminal(agent, "login") as terminal:
        terminal.until("Client secret: ")
        terminal.type(f"{CREDENTIALS['post-app'].secret}\n")
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0
        assert CREDENTIALS["post-app"].secret not in terminal.raw
    assert agent.run("token").returncode == 0


def test_a_client_secret_is_read_from_a_descriptor(agent: AgentProcess, provider: OpenIDProvider) -> None:
    secret = CREDENTIALS["service-app"]
    reading, writing = os.pipe()
    os.write(writing, f"{secret.secret}\n".encode())
    os.close(writing)
    service = ("--issuer", provider.issuer, "--client-id", "service-app", "--grant", "client_credentials")
    method = ("--token-endpoint-auth-method", secret.method)
    result = subprocess.run(
        [*COMMAND, "login", "robot", *service, *method, "--client-secret-fd", str(reading)],
        env=agent.environment,
        pass_fds=[reading],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(reading)
    assert result.returncode == 0, result.stderr
    assert "Logged in to robot as service-app." in result.stderr
    assert secret.secret not in agent.config.read_text()
    assert secret.secret not in agent.log
    assert agent.run("token", "robot").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--client-secret",), "--client-secret-fd"),
        (("--client-secret-fd", "77"), "77"),
        (("--client-secret", "--client-secret-fd", "0"), "--client-secret-fd"),
        (("--client-secret-fd", "0"), "client secret"),
    ],
)
def test_a_client_secret_that_can_not_be_read_is_an_error(
    arguments: tuple[str, ...], message: str, agent: AgentProcess
) -> None:
    result = agent.run("login", "work", *arguments)
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())


# ---- the account


def test_a_failed_login_restores_the_account(agent: AgentProcess, provider: OpenIDProvider) -> None:
    before = f"# mine\n{agent.config.read_text()}"
    agent.config.write_text(before)
    with at_terminal(agent, "login", "work", "--scope", "openid email") as terminal:
        terminal.until(ADDRESS)
        assert "openid email" in agent.config.read_text()
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Restored work in" in terminal.shown
    assert agent.config.read_text() == before
    with at_terminal(agent, "login", "work", "--scope", "openid email offline_access") as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0
    assert agent.config.read_text().startswith("# mine\n")
    assert "openid email offline_access" in agent.config.read_text()


def test_a_prompt_that_is_cancelled_leaves_no_account(agent: AgentProcess, provider: OpenIDProvider) -> None:
    before = agent.config.read_text()
    secret = ("--token-endpoint-auth-method", "client_secret_post")
    with at_terminal(agent, "login", "new", *new_account(provider, "post-app"), *secret) as terminal:
        terminal.until("Client secret")
        assert terminal.interrupt() == 130
        assert "Removed the account new" in terminal.shown
    assert agent.config.read_text() == before
    with at_terminal(agent, "import", "work") as terminal:
        terminal.until("Refresh token")
        assert terminal.interrupt() == 130
        assert "Cancelled; nothing has changed." in terminal.shown


def test_an_account_with_a_session_keeps_its_client(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with at_terminal(agent, "login") as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0
    before = agent.config.read_text()
    result = agent.run("login", "work", "--client-id", "second-app")
    assert result.returncode == 1
    assert "auth-agent logout work" in result.stderr
    assert agent.config.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("login", "wrk"), 1, "mean work"),
        (("login", "new"), 1, "auth-agent login --help"),
        (("login", "new", "--client-id", "x"), 2, "--issuer"),
        (("login", "new", "--issuer", "http://evil.example", "--client-id", "x"), 2, "must begin with https://"),
        (("login", "new", "--issuer", "acme.eu.auth0.com", "--client-id", "x"), 2, "must begin with https://"),
        (("login", "--device"), 2, "No such option '--device'. Use: --flow device"),
        (("login", "--issuer", "https://id.example", "--client-id", "x"), 2, "Name the account"),
        (("login", "work", "--flow", "fax"), 2, "--flow"),
        (("login", "work", "--authorize", "prompt"), 2, "NAME=VALUE"),
        (("login", "work", "--management-for", "wrk"), 1, "mean work"),
        (("login", "work", "--management-for", "work"), 2, "another account"),
        (("login", "new", "--management-for", "work"), 1, "auth-agent login --help"),
        (("login", "a b", "--issuer", "https://id.example", "--client-id", "x"), 1, "a b"),
    ],
)
def test_wrong_usage_is_an_error_and_changes_nothing(
    arguments: tuple[str, ...], code: int, message: str, agent: AgentProcess
) -> None:
    before = agent.config.read_text()
    result = agent.run(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in " ".join(result.stderr.split())
    assert agent.config.read_text() == before


def test_an_agent_that_reads_another_configuration_is_an_error(agent: AgentProcess, provider: OpenIDProvider) -> None:
    other = agent.home / "other.toml"
    agent.environment["AUTH_AGENT_CONFIG"] = str(other)
    result = agent.run("login", "new", *new_account(provider))
    assert result.returncode == 1
    assert str(agent.config) in result.stderr
    assert str(other) in result.stderr


def test_management_for_sets_the_management_account_of_the_other_account(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    agent.config.write_text(f"# mine\n{agent.config.read_text()}")
    with at_terminal(agent, "login", "work.users", *new_account(provider), "--management-for", "work") as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0
    accounts = json.loads(agent.run("account", "list", "--json").stdout)
    assert [(one["name"], one["management_account"], one["state"]) for one in accounts] == [
        ("work", "work.users", "logged_out"),
        ("work.users", None, "ready"),
    ]
    assert agent.config.read_text().startswith("# mine\n")


@pytest.mark.parametrize("is_new", [True, False])
def test_a_cancelled_login_for_another_account_restores_that_account(
    is_new: bool, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    if not is_new:
        assert agent.run("account", "add", "users", *new_account(provider)).returncode == 0
    before = agent.config.read_text()
    keys = new_account(provider) if is_new else ("--scope", "openid email")
    with at_terminal(agent, "login", "users", *keys, "--management-for", "work") as terminal:
        terminal.until(ADDRESS)
        assert 'management_account = "users"' in agent.config.read_text()
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Restored work in" in terminal.shown
        again = f"auth-agent login users {shlex.join(keys)} --management-for work"
        assert again in " ".join(terminal.shown.split())
    assert agent.config.read_text() == before
    assert agent.run("reload").stderr == "no account changed\n"


def test_keys_that_were_changed_meanwhile_are_not_taken_back(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with at_terminal(agent, "login", "users", *new_account(provider), "--management-for", "work") as terminal:
        terminal.until(ADDRESS)
        agent.config.write_text(f"{agent.config.read_text()}# theirs\n")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "has changed meanwhile" in terminal.shown
    assert list(tomllib.loads(agent.config.read_text())["accounts"]) == ["work"]
    assert agent.config.read_text().endswith("# theirs\n")


# ---- the default account


def test_a_second_account_does_not_take_the_default_away(agent: AgentProcess, provider: OpenIDProvider) -> None:
    log_in_at_terminal(agent, provider)
    output = log_in_at_terminal(agent, provider, "home", *new_account(provider))
    assert "work stays the default account" in output
    token = agent.run("token", "--json")
    assert json.loads(token.stdout)["account"] == "work"
    assert agent.run("account", "default", "home").returncode == 0
    assert json.loads(agent.run("token", "--json").stdout)["account"] == "home"
    result = agent.run("account", "remove", "home", "--logout")
    assert result.stderr.endswith("work is the default account now\n")
    assert json.loads(agent.run("token", "--json").stdout)["account"] == "work"


def test_an_account_of_a_login_that_failed_is_neither_kept_nor_counted(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    log_in_at_terminal(agent, provider)
    before = agent.config.read_text()
    result = agent.run("login", "bad", "--issuer", f"{provider.issuer}/realms/x", "--client-id", "nope")
    assert result.returncode == 1
    assert "Removed the account bad from" in result.stderr
    assert agent.config.read_text() == before
    assert agent.run("token").returncode == 0
    assert [one["account"] for one in json.loads(agent.run("status", "--json").stdout)["accounts"]] == ["work"]


def test_the_first_account_is_not_that_of_a_login_that_failed(alone: AgentProcess, provider: OpenIDProvider) -> None:
    wrong = ("--issuer", f"{provider.issuer}/realms/x", "--client-id", "nope")
    with at_terminal(alone, "login", "bad", *wrong) as terminal:
        assert terminal.end() == 1
    log_in_at_terminal(alone, provider, "work", *new_account(provider))
    assert list(tomllib.loads(alone.config.read_text())["accounts"]) == ["work"]
    assert alone.run("token").returncode == 0


def test_an_account_for_another_one_s_user_does_not_count(agent: AgentProcess, provider: OpenIDProvider) -> None:
    log_in_at_terminal(agent, provider)
    output = log_in_at_terminal(agent, provider, "work.users", *new_account(provider), "--management-for", "work")
    assert "default" not in output
    assert json.loads(agent.run("token", "--json").stdout)["account"] == "work"


def test_an_account_that_has_a_session_stays_though_another_login_to_it_is_cancelled(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    with at_terminal(agent, "login", "home", *new_account(provider)) as first:
        first.until(ADDRESS)
        log_in_at_terminal(agent, provider, "home")
        assert first.end() == 6
    assert agent.run("token", "home").returncode == 0
    assert agent.run("login", "bad", "--issuer", provider.issuer, "--client-id", "nope", "--flow", "device").returncode
    assert list(tomllib.loads(agent.config.read_text())["accounts"]) == ["work", "home"]


def test_an_account_is_shown_and_renamed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    agent.config.write_text(f'# mine\n{agent.config.read_text()}\n[hosts."a.example"]\naccount = "work"  # here\n')
    account_fields = json.loads(agent.run("account", "show", "--json").stdout)
    assert (account_fields["name"], account_fields["default"], account_fields["hosts"], account_fields["state"]) == (
        "work", True, ["a.example"], "logged_out",
    )  # fmt: skip
    assert agent.run("account", "rename", "work", "acme").returncode == 0
    assert 'account = "acme"  # here' in agent.config.read_text()
    log_in_at_terminal(agent, provider, "acme")
    assert json.loads(agent.run("account", "show", "acme", "--json").stdout)["session"]["state"] == "ready"
    token = agent.run("token", "acme").stdout
    assert agent.run("account", "rename", "acme", "work").returncode == 0
    assert agent.run("token", "work").stdout == token
    assert agent.run("status", "acme").returncode == 1
    assert agent.run("account", "rename", "acme", "work").returncode == 1
    assert agent.run("account", "rename", "work", "a b").returncode == 2


# ---- auth-agent account


def test_accounts_are_listed_added_and_removed(agent: AgentProcess, provider: OpenIDProvider) -> None:
    assert agent.run("account", "add", "lab", *new_account(provider)).returncode == 0
    table = agent.run("account", "list").stdout
    assert [line.split()[:4] for line in table.splitlines()[1:]] == [
        ["work", "(default)", "logged", "out"],
        ["lab", "logged", "out", provider.issuer],
    ]
    with at_terminal(agent, "login", "lab") as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0
    first = agent.run("account", "remove", "lab")
    assert first.returncode == 1
    assert "--logout" in first.stderr
    second = agent.run("account", "remove", "lab", "--logout")
    assert second.returncode == 0, second.stderr
    assert "lab" not in agent.run("account", "list").stdout
    assert "lab" not in agent.config.read_text()
    assert agent.run("account", "add", "work", *new_account(provider)).returncode == 1


def test_accounts_are_listed_without_an_agent(alone: AgentProcess) -> None:
    assert "There is no account" in alone.run("account", "list").stderr
    alone.configure({"work": {"issuer": "https://id.example", "client_id": "x"}})
    assert alone.run("account", "list").stdout.split() == [
        "ACCOUNT", "ISSUER", "CLIENT", "ID", "work", "(default)", "https://id.example", "x",
    ]  # fmt: skip
    assert alone.run("account", "remove", "work").returncode == 3
