"""The commands as a person or a script meets them: what they print where, and their exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account
from tests.op.provider import OpenIDProvider


@pytest.fixture
def logged_in(agent: AgentProcess, provider: OpenIDProvider) -> AgentProcess:
    """An agent into which a person imported a session."""
    refresh_token = provider.login().refresh_token
    result = agent.run("import", "work", stdin=f"{refresh_token}\n")
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "Name of auth0|alice" in result.stderr
    return agent


def test_the_token_command_prints_only_the_token(logged_in: AgentProcess, provider: OpenIDProvider) -> None:
    result = logged_in.run("token")
    assert (result.returncode, result.stderr) == (0, "")
    assert provider.userinfo(result.stdout.removesuffix("\n")).status_code == 200


def test_the_token_command_with_json_prints_all_fields(logged_in: AgentProcess) -> None:
    output = json.loads(logged_in.run("token", "work", "--json").stdout)
    properties = (
        *("access_token", "account", "audience", "audience_verified", "expires_at", "scope", "token_type"),
        "username",
    )
    assert tuple(sorted(output)) == properties
    assert output["account"] == "work"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("token", "nobody"), 1, "nobody"),
        (("token", "wrk"), 1, "mean work"),
        (("token", "--min-ttl", "soon"), 2, "--min-ttl"),
        (("token", "--min-ttl"), 2, "--min-ttl"),
        (("token", "--colour"), 2, "--colour"),
        (("token", "a", "b"), 2, "(b)"),
        (("token", "--min-ttl=86400"), 1, "3599 s"),
        (("token", "--audience", ""), 2, "audience"),
        (("logout", "nobody"), 1, "nobody"),
        (("stauts",), 2, "No such command 'stauts'. Did you mean status?"),
        (("logn",), 2, "Did you mean login?"),
        (("whoami",), 2, "No such command 'whoami'. Use: auth-agent profile\n"),
        (("list",), 2, "Use: auth-agent account list\n"),
        (("auth", "login"), 2, "Use: auth-agent login\n"),
        (("account", "renam"), 2, "Did you mean rename?"),
        (("xyzzy",), 2, "No such command 'xyzzy'.\n"),
        (("status", "--colour"), 2, "--colour"),
        (("status", "--min-ttl", "60"), 2, "--min-ttl"),
        (("status", "--check", "--min-ttl", "-1"), 2, "--min-ttl"),
        (("status", "--check", "--min-ttl", "inf"), 2, "min_ttl"),
        (("status", "--check", "--json"), 2, "--check"),
        (("status", "--check", "wrk"), 1, "mean work"),
        (("import",), 2, "refresh token"),
    ],
)
def test_mistakes_are_printed_on_stderr_with_their_exit_code(
    lasting_agent: AgentProcess, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = lasting_agent.run(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        *(
            "token",
            "id-token",
            "profile",
            "user",
            "metadata get",
            "metadata get country",
            "metadata set country=Canada",
        ),
        *("status", "status --check", "refresh", "reload", "logout", "logout --all", "stop", "restart"),
    ],
)
def test_without_an_agent_every_command_prints_how_to_start_one(command: str) -> None:
    with AgentProcess(started=False) as nowhere:
        result = nowhere.run(*command.split())
    assert result.returncode == 3
    assert "auth-agent start" in result.stderr


def test_a_token_without_a_login_is_an_error(agent: AgentProcess) -> None:
    result = agent.run("token")
    assert result.returncode == 4
    assert "auth-agent login work" in result.stderr


def test_an_unreachable_provider_has_an_exit_code_of_its_own(logged_in: AgentProcess, provider: OpenIDProvider) -> None:
    provider.fault("status", status=503)
    result = logged_in.run("refresh")
    assert result.returncode == 5
    assert "HTTP 503" in result.stderr


def test_status_shows_each_account(logged_in: AgentProcess, provider: OpenIDProvider) -> None:
    logged_in.configure({"work": account(provider), "home": account(provider, default=True)})
    assert logged_in.run("reload").stderr == "added: home\n"
    lines = logged_in.run("status").stdout.splitlines()
    assert lines[0] == "● work            ready, token good for 59 min"
    assert lines[1] == f"  login    Name of auth0|alice (auth0|alice) at {provider.issuer}"
    assert "○ home (default)  not logged in" in lines
    assert "  help     log in: auth-agent login home" in lines
    assert "  socket   ~/run/agent.sock" in lines
    assert "  config   ~/config.toml" in lines
    assert "  store    sessions are kept in memory only" in lines
    output = json.loads(logged_in.run("status", "home", "--json").stdout)
    assert [record["account"] for record in output["accounts"]] == ["home"]
    assert output["agent"]["default"] == "home"


def test_status_prints_what_is_wrong_below_the_account(logged_in: AgentProcess, provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, times=None)  # or the backoff's next attempt would mend it meanwhile
    logged_in.run("refresh")
    lines = logged_in.run("status").stdout.splitlines()
    assert lines[0] == "▲ work (default)  ready, but refreshes fail, token good for 59 min"
    assert "  problem  the provider answered HTTP 503" in lines
    assert "  help     the agent retries by itself; to retry now: auth-agent refresh work" in lines


def test_status_has_colours_on_demand_only(logged_in: AgentProcess) -> None:
    assert "\x1b" not in logged_in.run("status").stdout
    logged_in.environment["CLICOLOR_FORCE"] = "1"
    assert "\x1b[32mready\x1b[0m, token" in logged_in.run("status").stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_status_works_in_an_encoding_that_lacks_its_symbols(encoding: str, logged_in: AgentProcess) -> None:
    logged_in.environment["PYTHONIOENCODING"] = encoding
    result = logged_in.run("status")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("* work (default)  ready")


def test_status_without_accounts_prints_how_to_begin() -> None:
    with AgentProcess() as agent:
        assert "auth-agent login NAME --issuer URL --client-id ID" in agent.run("status").stdout
        result = agent.run("status", "--check")
    assert (result.returncode, result.stdout) == (4, "")
    assert "auth-agent login --help" in result.stderr


# ---- status --check


def test_status_check_prints_nothing_if_all_sessions_are_good(logged_in: AgentProcess) -> None:
    for arguments in (("work",), (), ("--min-ttl", "60")):
        result = logged_in.run("status", "--check", *arguments)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_check_prints_how_long_the_token_is_valid_if_that_is_too_short(logged_in: AgentProcess) -> None:
    result = logged_in.run("status", "--check", "--min-ttl", "7200", "work")
    assert (result.returncode, result.stdout) == (5, "")
    assert result.stderr == "auth-agent: work: token good for 59 min, less than 2 h\n"


def test_status_check_of_all_accounts_fails_if_one_is_logged_out(
    logged_in: AgentProcess, provider: OpenIDProvider
) -> None:
    logged_in.configure({"work": account(provider), "home": account(provider)})
    logged_in.run("reload")
    result = logged_in.run("status", "--check")
    assert result.returncode == 4
    assert result.stderr == "auth-agent: home: not logged in\n  log in: auth-agent login home\n"
    assert logged_in.run("status", "--check", "work").returncode == 0


def test_a_check_of_a_session_that_the_provider_ended_prints_the_reason(
    logged_in: AgentProcess, provider: OpenIDProvider
) -> None:
    provider.fault("status", status=403, body={"error": "invalid_grant", "error_description": "revoked"})
    logged_in.run("refresh")
    result = logged_in.run("status", "--check")
    assert result.returncode == 4
    assert result.stderr == (
        "auth-agent: work: login required: invalid_grant: revoked\n  log in again: auth-agent login work\n"
    )


def test_reload_prints_what_changed_or_why_the_file_can_not_be_read(logged_in: AgentProcess) -> None:
    assert logged_in.run("reload").stderr == "no account changed\n"
    logged_in.config.write_text("[accounts.work]\n")
    result = logged_in.run("reload")
    assert result.returncode == 1
    assert "issuer" in result.stderr
    assert logged_in.run("status", "--check").returncode == 0


def test_watch_shows_changes_across_a_restart_until_it_is_interrupted(
    logged_in: AgentProcess, provider: OpenIDProvider
) -> None:
    with logged_in.begin("watch", "work") as watching:
        until(lambda: "● work  ready, token good for 59 min" in watching.output())
        provider.fault("status", status=503)
        logged_in.run("refresh")
        until(lambda: "the provider answered HTTP 503" in watching.output())
        logged_in.kill()
        until(lambda: "the agent is gone" in watching.output())
        logged_in.start()
        until(lambda: "the agent is back" in watching.output())
        until(lambda: "○ work  not logged in" in watching.output())  # it was in memory
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(PATIENCE) == 130
        assert "Traceback" not in watching.output()


def test_watch_prints_records_as_json(logged_in: AgentProcess) -> None:
    with logged_in.begin("watch", "--json") as watching:
        until(lambda: watching.output().endswith("}\n"))
        record = json.loads(watching.output().splitlines()[0])
    assert (record["account"], record["state"]) == ("work", "ready")


def test_watch_of_a_mistyped_name_suggests_the_right_one(logged_in: AgentProcess) -> None:
    result = logged_in.run("watch", "wrok")
    assert result.returncode == 1
    assert "mean work" in result.stderr


def test_watch_fails_if_no_agent_runs_at_its_start(logged_in: AgentProcess) -> None:
    logged_in.kill()
    result = logged_in.run("watch")
    assert result.returncode == 3
    assert "auth-agent start" in result.stderr
    logged_in.start()
    assert logged_in.run("watch", "not a name").returncode == 2


def test_refresh_and_logout_print_what_they_did(logged_in: AgentProcess) -> None:
    assert "good for 35" in logged_in.run("refresh", "work").stderr
    assert "revoked at the provider" in logged_in.run("logout", "work").stderr
    assert logged_in.run("token", "work").returncode == 4


def test_stop_waits_until_the_agent_has_gone(agent: AgentProcess) -> None:
    result = agent.run("stop")
    assert (result.returncode, result.stderr) == (0, "stopped\n")
    assert agent.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    "command",
    [
        *("", "run", "token", "import", "refresh", "reload", "status", "watch", "login", "logout", "stop", "restart"),
        *("profile", "user", "id-token", "metadata get", "metadata set", "account list", "account add"),
    ],
)
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    with AgentProcess(started=False) as nowhere:
        result = nowhere.run(*command.split(), "--help")
    assert result.returncode == 0
    assert "Usage: auth-agent" in result.stdout
    assert "Example:" in result.stdout or not command


def test_every_command_is_listed() -> None:
    with AgentProcess(started=False) as nowhere:
        output = nowhere.run("--help").stdout
    commands = "run token import refresh reload status login logout stop restart profile user metadata id-token account"
    for command in commands.split():
        assert f"\n  {command} " in output


@pytest.mark.parametrize("command", ["token", "status", "token --help", "status --help"])
@pytest.mark.parametrize(("redirection", "code"), [(">/dev/full", 1), (">&-", 1), ("| true", 0)])
def test_output_that_can_not_be_written_is_an_error_without_a_traceback(
    command: str, redirection: str, code: int, lasting_agent: AgentProcess
) -> None:
    shell = f"{sys.executable} -m auth_agent {command} {redirection}"
    result = subprocess.run(
        ["sh", "-c", shell], env=lasting_agent.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr
    assert bool(result.stderr) == (code == 1)


@pytest.mark.parametrize("command", ["token other", "token --near", "status --near", "--verbose token", "refresh"])
@pytest.mark.parametrize("device", ["/dev/full", "a pipe that nobody reads"])
def test_messages_that_can_not_be_written_change_neither_result_nor_exit_code(
    device: str, command: str, lasting_agent: AgentProcess
) -> None:
    arguments = [sys.executable, "-m", "auth_agent", *command.split()]
    expected = subprocess.run(arguments, env=lasting_agent.environment, capture_output=True, check=False)
    assert expected.stderr
    if device == "/dev/full":
        errors = os.open(device, os.O_WRONLY)
    else:
        reading, errors = os.pipe()
        os.close(reading)
    result = subprocess.run(
        arguments, env=lasting_agent.environment, stdout=subprocess.PIPE, stderr=errors, check=False
    )
    os.close(errors)
    assert (result.returncode, result.stdout) == (expected.returncode, expected.stdout)


def test_an_agent_with_closed_standard_streams_works(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, log_is_read=False) as agent:
        agent.terminate()
        shell = f"exec {sys.executable} -m auth_agent run <&- >&- 2>&-"
        with subprocess.Popen(["sh", "-c", shell], env=agent.environment) as process:
            until(agent.answers)
            targets = [Path(f"/proc/{process.pid}/fd/{descriptor}").readlink() for descriptor in range(3)]
            process.terminate()
        assert targets == [Path("/dev/null")] * 3


def test_the_debug_log_has_no_secret(logged_in: AgentProcess, provider: OpenIDProvider) -> None:
    seen = [json.loads(logged_in.run("token", "--json").stdout)["access_token"]]
    provider.fault("garbage", grant_type="refresh_token")
    logged_in.run("refresh")
    seen.append(logged_in.run("token").stdout.strip())
    logged_in.run("logout")
    assert len(set(seen)) == 2
    assert logged_in.until_logged("outcome=lost")
    for secret in seen:
        assert secret not in logged_in.log
