"""The commands for the rest of a session: who is logged in, what is kept with the user, and how it ends."""

import base64
import json
import re
import shlex
import stat
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from auth_agent_client import Agent, Denied, Unavailable
from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.impostor import listening, scripted
from tests.integration.terminal import Terminal
from tests.op.provider import MANAGEMENT_SCOPE, OpenIDProvider

ALICE = "auth0|alice"
ADDRESS = r"http://127\.0\.0\.1:\d+/authorize\?\S+(?=\s)"
NO_BROWSER = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with a session of `work`, and no browser."""
    with AgentProcess({"work": account(provider, default=True, redirect_ports=[0])}) as process:
        process.environment.update(NO_BROWSER)
        with process.client() as client:
            log_in(client, provider)
        yield process


@pytest.fixture
def managed(agent: AgentProcess, provider: OpenIDProvider) -> AgentProcess:
    """The same with a login for the Management API, by which `work` has its user's data."""
    scope = f"openid offline_access {MANAGEMENT_SCOPE}"
    users = account(provider, audience=provider.management_audience, scope=scope)
    agent.configure({"work": account(provider, default=True, management_account="users"), "users": users})
    assert agent.run("reload").returncode == 0
    with agent.client() as client:
        log_in(client, provider, "users", audience=provider.management_audience, scope=scope)
    return agent


def at_terminal(agent: AgentProcess, *arguments: str, columns: int = 80) -> Terminal:
    return Terminal([*COMMAND, *arguments], agent.environment, columns)


def output_at_terminal(agent: AgentProcess, *arguments: str, columns: int = 80) -> str:
    with at_terminal(agent, *arguments, columns=columns) as terminal:
        assert terminal.end() == 0
        return terminal.shown


def result_of(agent: AgentProcess, *arguments: str) -> Any:
    """Run a command, which must succeed; return the JSON that it prints."""
    result = agent.run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a JWT that a command printed."""
    payload = token.strip().split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def record_browser_urls(agent: AgentProcess) -> Path:
    program, seen = agent.home / "browser", agent.home / "seen"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen({str(seen)!r}, 'w').write(sys.argv[1])\n")
    program.chmod(stat.S_IRWXU)
    agent.environment["BROWSER"] = str(program)
    return seen


# ---- profile


def test_the_profile_command_with_json_prints_the_claims(agent: AgentProcess, provider: OpenIDProvider) -> None:
    provider.change_user(ALICE, claims={"https://acme.example/roles": ["admin", {"of": 7}], "name": "Zoë \x9b31m"})
    claims = provider.userinfo(agent.run("token").stdout.strip()).json()
    result = agent.run("profile", "work", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == claims
    assert "Zoë" in result.stdout
    assert "\x9b" not in result.stdout


def test_the_profile_command_prints_the_claims_for_people(agent: AgentProcess, provider: OpenIDProvider) -> None:
    provider.change_user(ALICE, claims={"https://acme.example/a-long-name/of-roles": ["admin"], "name": "A\x1b[31m"})
    lines = output_at_terminal(agent, "profile").splitlines()
    assert lines[0] == "● work  A [31m"
    assert "  email     auth0.alice@example.invalid ✓ verified" in lines
    assert "  subject   auth0|alice" in lines
    assert re.search(r"^  updated   \d{4}-\d\d-\d\d \d\d:\d\d, (just now|.* ago)$", "\n".join(lines), re.MULTILINE)
    where = lines.index("  https://acme.example/a-long-name/of-roles")
    assert lines[where + 1].strip() == '["admin"]'


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_of_a_profile_is_wider_than_the_terminal(
    columns: int, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    provider.change_user(ALICE, claims={"name": "word " * 40, "x" * 100: "y" * 300, "nickname": "宽" * 90})
    assert max(map(len, output_at_terminal(agent, "profile", columns=columns).splitlines())) <= columns


def test_a_profile_in_a_pipe_has_no_colours(agent: AgentProcess) -> None:
    assert "\x1b" not in agent.run("profile").stdout
    with at_terminal(agent, "profile") as terminal:
        assert terminal.end() == 0
        assert "\x1b[32m✓ verified\x1b[0m" in terminal.raw


def test_commands_share_one_userinfo_request(agent: AgentProcess, provider: OpenIDProvider) -> None:
    for _ in range(3):
        assert agent.run("profile", "--max-age", "0").returncode == 0
    assert provider.count(provider.paths["userinfo"]) == 1


def test_a_profile_that_cannot_be_fetched_is_the_id_token_s_and_marked_stale(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    provider.fault("drop-before", route=provider.paths["userinfo"], times=None)
    result = agent.run("profile", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["sub"] == ALICE
    assert "the provider gave no newer profile" in result.stderr
    output = agent.run("profile").stdout
    assert output.startswith("▲ work")
    assert re.search(r"^  stale +as of .*; the provider gave no newer ones$", output, re.MULTILINE)


# ---- id-token and token


def test_the_id_token_command_prints_only_the_token(agent: AgentProcess) -> None:
    result = agent.run("id-token", "work", "--min-ttl", "60")
    assert (result.returncode, result.stderr) == (0, "")
    claims = claims_of(result.stdout)
    assert claims["sub"] == ALICE
    known = result_of(agent, "id-token", "--json")
    assert sorted(known) == ["account", "expires_at", "id_token"]
    assert (known["id_token"], known["expires_at"]) == (result.stdout.strip(), claims["exp"])


def test_a_min_ttl_beyond_the_id_tokens_lifetime_is_an_error(agent: AgentProcess) -> None:
    result = agent.run("id-token", "--min-ttl", "86400")
    assert (result.returncode, result.stdout) == (1, "")
    assert "min_ttl" in result.stderr


def test_the_token_command_prints_a_token_for_another_api(agent: AgentProcess) -> None:
    result = agent.run("token", "work", "--audience", "https://api.example", "--scope", "read:things")
    assert (result.returncode, result.stderr) == (0, "")
    claims = claims_of(result.stdout)
    assert "https://api.example" in claims["aud"]
    assert claims["sub"] == ALICE
    assert claims["scope"] == "read:things"
    assert agent.run("token").stdout != result.stdout


# ---- user and metadata


def test_a_user_is_printed_whole_or_by_fields(managed: AgentProcess, provider: OpenIDProvider) -> None:
    assert result_of(managed, "user", "work", "--json") == provider.user(ALICE)
    assert result_of(managed, "user", "--json", "--field", "email", "--field", "logins_count").keys() == {
        "email",
        "logins_count",
    }
    lines = managed.run("user", "--field", "email").stdout
    assert lines == "email  auth0.alice@example.invalid\n"
    result = managed.run("user", "--field", "nothing")
    assert (result.returncode, result.stdout) == (1, "")
    assert "none of these fields of the user: nothing" in result.stderr


def test_without_a_login_for_the_api_the_remedy_s_command_works(agent: AgentProcess, provider: OpenIDProvider) -> None:
    result = agent.run("metadata", "set", "work", "country=Canada")
    assert (result.returncode, result.stdout) == (1, "")
    match = re.search(r"auth-agent (login work\.users .*)", result.stderr)
    assert match, result.stderr
    with at_terminal(agent, "metadata", "get") as terminal:
        assert terminal.end() == 1
        assert f"\n    {match[0]}\n" in terminal.shown  # whole, to be copied
    with at_terminal(agent, *shlex.split(match[1]), "--redirect-port", "0") as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0, terminal.shown
    assert result_of(agent, "metadata", "set", "work", "country=Canada") == {"country": "Canada"}
    assert (provider.user(ALICE) or {})["user_metadata"] == {"country": "Canada"}


def test_metadata_keeps_the_types_of_its_values(managed: AgentProcess) -> None:
    assert result_of(managed, "metadata", "get") == {}
    words = ["country=Canada", "active:=true", 'address:={"city": "Oslo", "no": [1, 2.5, null]}', "count:=3", "n=3"]
    whole = {
        "country": "Canada",
        "active": True,
        "address": {"city": "Oslo", "no": [1, 2.5, None]},
        "count": 3,
        "n": "3",
    }
    assert result_of(managed, "metadata", "set", "work", *words) == whole
    assert result_of(managed, "metadata", "get", "work") == whole
    assert managed.run("metadata", "get", "country").stdout == "Canada\n"
    assert managed.run("metadata", "get", "country", "--json").stdout == '"Canada"\n'
    assert managed.run("metadata", "get", "work", "active").stdout == "true\n"
    assert result_of(managed, "metadata", "get", "work", "address") == whole["address"]


def test_metadata_is_changed_by_key_and_cleared_with_clear(managed: AgentProcess) -> None:
    result_of(managed, "metadata", "set", "a=1", "b=2", "c=3", "d:=4")
    assert result_of(managed, "metadata", "set", "a=9", "--unset", "b", "c:=null") == {"a": "9", "d": 4}
    assert result_of(managed, "metadata", "set", "work", "x:=[]", "--clear") == {"x": []}
    assert result_of(managed, "metadata", "set", "--clear") == {}
    assert result_of(managed, "metadata", "get") == {}


def test_a_single_argument_is_an_account_if_there_is_one_of_that_name(managed: AgentProcess) -> None:
    result_of(managed, "metadata", "set", "users=many", "country=Canada")
    assert result_of(managed, "metadata", "get", "work") == {"users": "many", "country": "Canada"}
    assert result_of(managed, "metadata", "get", "users") == {"users": "many", "country": "Canada"}  # by its own token
    assert managed.run("metadata", "get", "work", "users").stdout == "many\n"
    result = managed.run("metadata", "get", "nothing")
    assert (result.returncode, result.stdout) == (1, "")
    assert "country, users" in result.stderr
    assert managed.run("metadata", "get", "work", "a b").returncode == 1


def test_metadata_is_escaped_at_a_terminal_and_unchanged_in_a_pipe(managed: AgentProcess) -> None:
    result_of(managed, "metadata", "set", "evil=\x1b[31mred\nand more")
    assert managed.run("metadata", "get", "evil").stdout == "\x1b[31mred\nand more\n"
    with at_terminal(managed, "metadata", "get", "evil") as terminal:
        assert terminal.end() == 0
        assert terminal.raw == " [31mred\r\nand more\r\n"
    with at_terminal(managed, "metadata", "get") as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.raw
        assert json.loads(terminal.shown) == {"evil": "\x1b[31mred\nand more"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("set",), 2, "KEY=TEXT"),
        (("set", "work"), 2, "KEY=TEXT"),
        (("set", "work", "users"), 2, "users is"),
        (("set", "a=1", "work"), 2, "work is"),
        (("set", "a:=yes"), 2, "yes"),
        (("set", "a:=NaN"), 2, "NaN"),
        (("set", "a:=[1e999]"), 2, "1e999"),
        (("set", 'a:={"b": 1, "b": 2}'), 2, "b is"),
        (("set", "=x"), 2, "=x"),
        (("set", "a=1", "a:=2"), 2, "a is"),
        (("set", "a=1", "--unset", "a"), 2, "a is"),
        (("set", "--unset", "a", "--unset", "a"), 2, "a is"),
        (("set", "--unset", ""), 2, "--unset"),
        (("set", "--clear", "--unset", "a"), 2, "--unset"),
        (("set", "a:=36893488147419103232"), 2, "user_metadata"),
        (("set", f"a:={'[' * 20}{']' * 20}"), 2, "user_metadata"),
        (("get", "work", "a", "b"), 2, "(b)"),
        (("set", "wrk", "a=1"), 1, "mean work"),
        (("get", "wrk", "a"), 1, "mean work"),
    ],
)
def test_mistakes_are_reported_and_nothing_is_sent(
    arguments: tuple[str, ...], code: int, message: str, managed: AgentProcess, provider: OpenIDProvider
) -> None:
    result = managed.run("metadata", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert provider.count(provider.user_path(ALICE)) == 0


def test_the_error_of_metadata_at_another_provider_names_it(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(flavor="plain")
    with AgentProcess({"work": account(provider)}) as agent, agent.client() as client:
        log_in(client, provider)
        result = agent.run("metadata", "get")
    assert (result.returncode, result.stdout) == (1, "")
    assert provider.issuer in result.stderr


# ---- logout


def test_a_logout_prints_its_result(agent: AgentProcess, provider: OpenIDProvider) -> None:
    result = agent.run("logout")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "work: logged out; its refresh token was revoked at the provider\n"
    assert provider.count(provider.paths["revocation"]) == 1
    again = agent.run("logout", "work")
    assert (again.returncode, again.stderr) == (0, "work: was not logged in\n")


def test_logout_with_keep_session_revokes_nothing(agent: AgentProcess, provider: OpenIDProvider) -> None:
    token = agent.run("token").stdout.strip()
    result = agent.run("logout", "--keep-session")
    assert result.returncode == 0
    assert "was not revoked" in result.stderr
    assert provider.count(provider.paths["revocation"]) == 0
    assert provider.userinfo(token).status_code == 200
    assert agent.run("token").returncode == 4


def test_an_offline_logout_forgets_the_session_and_reports_that_it_was_not_revoked(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    provider.fault("drop-before", route=None, times=None)
    result = agent.run("logout")
    assert result.returncode == 0
    assert "its refresh token could not be revoked" in result.stderr
    provider.clear_faults()
    assert agent.run("token").returncode == 4


def test_logout_all_ends_every_session(managed: AgentProcess) -> None:
    result = managed.run("logout", "--all")
    assert (result.returncode, result.stdout) == (0, "")
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["work", "users"]
    with managed.client() as client:
        assert [record(client, name)["state"] for name in ("work", "users")] == ["logged_out"] * 2
    again = managed.run("logout", "--all")
    assert (again.returncode, again.stderr) == (0, "Nobody is logged in.\n")


def test_a_logout_of_all_continues_after_a_failure_and_exits_with_the_worst_code() -> None:
    records = [{"account": name, "state": "ready", "renewal": "idle"} for name in ("a", "b", "c")]
    with AgentProcess(started=False) as place:
        place.socket.parent.mkdir(mode=0o700)
        with (
            listening(place.socket) as server,
            scripted(
                server,
                {"agent": {}, "accounts": records},
                Denied("a: no\x1b[31m", reason="no\x1b[31m"),
                Unavailable("the agent is busy"),
                {"revoked": True},
            ) as requests,
        ):
            result = place.run("logout", "--all")
    assert result.returncode == 6
    assert result.stderr.splitlines() == [
        "auth-agent: a: no [31m",
        "auth-agent: b: the agent is busy",
        "c: logged out; its refresh token was revoked at the provider",
    ]
    assert [request.parameters.get("account") for request in requests] == [None, "a", "b", "c"]


def test_logout_with_browser_ends_the_login_at_the_provider(agent: AgentProcess, provider: OpenIDProvider) -> None:
    seen = record_browser_urls(agent)
    with provider.browser() as browser:
        with at_terminal(agent, "login") as terminal:
            browser.open(browser.visit(terminal.until(ADDRESS)[0]))
            assert terminal.end() == 0
        assert browser.is_logged_in()
        seen.unlink()
        with at_terminal(agent, "logout", "--browser") as terminal:
            assert terminal.end() == 0
            assert "Your browser should show the logout of 127.0.0.1" in " ".join(terminal.shown.split())
        browser.log_out(until(lambda: seen.read_text() if seen.exists() else ""))
        assert not browser.is_logged_in()


def test_the_logout_url_is_printed_if_no_browser_opens(agent: AgentProcess, provider: OpenIDProvider) -> None:
    result = agent.run("logout", "--browser")
    assert result.returncode == 0
    assert result.stdout.startswith(provider.url)
    assert result.stdout.count("\n") == 1
    assert "open this URL in the browser" in result.stderr


def test_a_provider_without_a_logout_page_is_reported(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(flavor="plain")
    provider.fault("merge", route="/.well-known/openid-configuration", times=None, unset=["end_session_endpoint"])
    with AgentProcess({"work": account(provider)}) as agent, agent.client() as client:
        log_in(client, provider)
        result = agent.run("logout", "--browser")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no known logout page" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--all", "work"), 2, "--all"),
        (("wrk",), 1, "mean work"),
        (("a b",), 2, "account"),
    ],
)
def test_wrong_usage_of_logout_is_an_error(
    arguments: tuple[str, ...], code: int, message: str, agent: AgentProcess, client: Agent
) -> None:
    result = agent.run("logout", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert record(client)["state"] == "ready"


def test_a_logout_without_a_default_account_needs_a_name(managed: AgentProcess, provider: OpenIDProvider) -> None:
    managed.configure({name: account(provider) for name in ("work", "users")})
    managed.run("reload")
    result = managed.run("logout")
    assert result.returncode == 2
    assert "work, users" in result.stderr


# ---- the end of a session


@pytest.mark.parametrize(("seconds", "mark"), [(7 * 86_400, "●"), (3600, "▲")])
def test_a_session_that_the_provider_ends_shows_when(
    seconds: int, mark: str, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    ceiling = int(time.time()) + seconds
    provider.fault("merge", grant_type="refresh_token", claims={"session_expiry": ceiling})
    assert agent.run("refresh").returncode == 0
    lines = agent.run("status", "work").stdout.splitlines()
    assert lines[0].startswith(f"{mark} work")
    date = time.strftime("%Y-%m-%d", time.localtime(ceiling))
    assert any(f"log in again before {date}" in line for line in lines), lines
