"""How a person is shown the agent and its sessions."""

import math
import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent import remedies
from auth_agent.cli.condition import condition_of
from auth_agent.cli.status import Reboot, change, overview, status_lines
from auth_agent.cli.terminal import Terminal, columns
from auth_agent_client.messages import RECORD, RENEWALS, STATES

NOW = 1_800_000_000.0
VERSION = "0.4.0"
SECRET_SERVICE = "keyring.backends.SecretService.Keyring"

# What msgpack can bring, but for floats that are no numbers (they have a test of their own).
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(codec=None))
    | st.binary(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=5,
)
NAMED: dict[str, st.SearchStrategy[object]] = {
    **dict.fromkeys(RECORD, VALUES),
    "state": st.sampled_from(STATES) | VALUES,
    "renewal": st.sampled_from(RENEWALS) | VALUES,
}
RECORDS: st.SearchStrategy[list[dict[str, object]]] = st.lists(st.fixed_dictionaries({}, optional=NAMED), max_size=4)
ABOUT = st.dictionaries(
    st.sampled_from(["pid", "version", "started_at", "socket", "config", "default", "store", "restart_refused"]), VALUES
)


def shown(**more: object) -> dict[str, object]:
    """A record as an agent gives it."""
    return {
        "account": "work",
        "issuer": "https://acme.example/",
        "subject": "auth0|alice",
        "name": "Alice",
        "state": "ready",
        "renewal": "idle",
        "saved": True,
        "reason": None,
        "expires_at": NOW + 3599,
        "refresh_at": NOW + 2880,
        "last_refresh_at": NOW - 720,
        "refreshes": 3,
        "session_ends_at": None,
        **more,
    }


def about(store: Mapping[str, object] | None = None, **more: object) -> dict[str, object]:
    """What an agent tells of itself."""
    keyring = {"name": "keyring", "backend": SECRET_SERVICE, "state": "ready", "unread": 0, "unsaved": 0}
    return {
        "pid": 7820,
        "version": VERSION,
        "started_at": NOW - 7500,
        "socket": "/run/user/1000/auth-agent/agent.sock",
        "restart_refused": None,
        "default": None,
        "store": {**keyring, "problem": None, "remedy": None, **(store or {})},
        **more,
    }


def status(*records: dict[str, object], terminal: Terminal | None = None, **agent: Any) -> str:
    """The whole output."""
    told = {"agent": about(**agent), "accounts": list(records)}
    return "\n".join(overview(told, NOW, VERSION, terminal or Terminal(80)))


def field(label: str, *records: dict[str, object], **agent: Any) -> str | None:
    """What stands beside that label, in one line; None where there is no such label."""
    said = status(*records, terminal=Terminal(), **agent)
    found = re.search(rf"^  {label} +(.*)$", said, re.MULTILINE)
    return found and found[1]


def test_an_account_is_a_block_and_the_agent_another() -> None:
    assert (
        status(
            shown(),
            shown(
                account="home",
                state="logged_out",
                renewal="none",
                subject=None,
                name=None,
                refresh_at=None,
                expires_at=None,
                last_refresh_at=None,
            ),
            default="work",
        )
        == """\
● work (default)  ready, token good for 59 min
  login    Alice (auth0|alice) at https://acme.example/
  refresh  in 48 min; 3 so far, the last one 12 min ago

○ home            not logged in
  login    https://acme.example/
  help     log in: auth-agent login home

  agent    version 0.4.0, process 7820, running for 2 h 5 min
  socket   /run/user/1000/auth-agent/agent.sock
  store    sessions are kept in the system keyring (Secret Service)
  reboot   would lose nothing"""
    )


def test_what_is_wrong_stands_below_its_account_with_what_helps() -> None:
    said = status(shown(renewal="retrying", reason="the provider answered HTTP 503", refresh_at=NOW + 12))
    assert said.splitlines()[:5] == [
        "▲ work  ready, but refreshes fail, token good for 59 min",
        "  login    Alice (auth0|alice) at https://acme.example/",
        "  refresh  next attempt in 12 s; 3 so far, the last one 12 min ago",
        "  problem  the provider answered HTTP 503",
        "  help     the agent retries by itself; to retry now: auth-agent refresh work",
    ]


def test_without_accounts_it_says_how_to_begin() -> None:
    assert status().splitlines()[:2] == [
        "There are no accounts yet. To begin:",
        "  auth-agent login NAME --issuer URL --client-id ID",
    ]


def test_a_name_that_takes_half_a_line_leaves_the_others_their_columns() -> None:
    lines = status(shown(account="n" * 64), shown(account="home"), shown(account="x")).splitlines()
    assert lines[:2] == [f"● {'n' * 64}", "  state    ready, token good for 59 min"]
    assert "● home  ready, token good for 59 min" in lines
    assert "● x     ready, token good for 59 min" in lines


def test_names_of_wide_characters_do_not_shift_the_columns() -> None:
    latin, wide = (line for line in status(shown(), shown(account="無効")).splitlines() if "ready" in line)
    assert columns(wide.partition("ready")[0]) == columns(latin.partition("ready")[0])


def test_who_and_where_are_on_two_lines_rather_than_broken() -> None:
    subject = "auth0|5f7c8ec7c33c6c004bbafe82"
    lines = status(shown(name="Alice Example", subject=subject, issuer="https://acme.eu.auth0.com/")).splitlines()
    assert lines[1:3] == [f"  login    Alice Example ({subject})", "           at https://acme.eu.auth0.com/"]


@pytest.mark.parametrize(
    ("name", "subject", "who"),
    [
        ("Alice", "auth0|alice", "Alice (auth0|alice) at https://acme.example/"),
        (None, "auth0|alice", "auth0|alice at https://acme.example/"),
        ("same", "same", "same at https://acme.example/"),
        (None, None, "https://acme.example/"),
        (7, None, "https://acme.example/"),
    ],
)
def test_who_is_logged_in_is_a_name_and_a_subject(name: object, subject: object, who: str) -> None:
    assert field("login", shown(name=name, subject=subject)) == who


# ---- refreshes


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "in 48 min; 3 so far, the last one 12 min ago"),
        ({"refreshes": 0}, "in 48 min; none yet, logged in 12 min ago"),
        ({"renewal": "running", "refresh_at": None}, "now; 3 so far, the last one 12 min ago"),
        ({"refresh_at": NOW - 5}, "now; 3 so far, the last one 12 min ago"),
        ({"renewal": "retrying", "refresh_at": NOW + 12}, "next attempt in 12 s; 3 so far, the last one 12 min ago"),
        ({"renewal": "none", "refresh_at": None}, "3 so far, the last one 12 min ago"),
        ({"last_refresh_at": None}, "in 48 min"),
        ({"last_refresh_at": NOW + 60}, "in 48 min; 3 so far, the last one just now"),  # a clock that was set
    ],
)
def test_refreshes_are_told_to_come_and_past(record: dict[str, object], said: str) -> None:
    assert field("refresh", shown(**record)) == said


def test_the_end_of_a_session_is_told_by_date_and_by_time() -> None:
    end = NOW + 90_000
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
    assert field("session", shown(session_ends_at=end)) == f"log in again before {date}, in 1 d 1 h"
    assert field("session", shown(session_ends_at=1e300)) is None
    assert field("session", shown(session_ends_at=end, state="login_required")) is None


def test_the_end_of_a_session_is_a_warning_the_day_before() -> None:
    end = NOW + 86_000
    said = status(shown(session_ends_at=end)).splitlines()
    assert said[0] == "▲ work  ready, token good for 59 min"
    assert field("session", shown(session_ends_at=end)) is None  # it is told once
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
    assert field("problem", shown(session_ends_at=end)) == f"log in again before {date}, in 23 h 53 min"
    assert field("help", shown(session_ends_at=end)) == "log in again before that: auth-agent login work"
    assert change(shown(session_ends_at=end), NOW)[0].startswith(f"▲ work  ready: log in again before {date}")


def test_a_failure_is_told_before_the_end_of_a_session() -> None:
    record = shown(session_ends_at=NOW + 60, renewal="retrying", reason="the provider answered HTTP 503")
    assert field("problem", record) == "the provider answered HTTP 503"
    assert (field("session", record) or "").endswith("in 1 min")


def test_the_end_of_a_session_that_has_passed_is_told_as_such() -> None:
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW - 60))
    assert field("problem", shown(session_ends_at=NOW - 60)) == (
        f"log in again: the provider ended the session at {date}"
    )


# ---- the store


@pytest.mark.parametrize("store", [{"name": "memory"}, {"name": "another", "persistent": False}])
def test_what_is_not_persistent_loses_every_session(store: dict[str, object]) -> None:
    store = {**store, "backend": None}
    assert field("store", shown(), store=store) == "sessions are kept in memory only"
    assert field("reboot", shown(), store=store) == "would lose every session, and so would the end of the agent"


def test_a_missing_keyring_is_a_problem_with_a_remedy() -> None:
    store = {"state": "missing", "problem": "there is no D-Bus session, and so no keyring"}
    assert field("store", shown(), store=store) == "sessions are kept in memory only, for now"
    assert field("problem", shown(), store=store) == "there is no D-Bus session, and so no keyring"
    assert "gnome-keyring" in (field("help", shown(), store=store) or "")
    assert "every session" in (field("reboot", shown(), store=store) or "")


def test_a_locked_keyring_is_told_once_with_the_command_that_unlocks_it() -> None:
    reason = "the keyring is locked; unlock it: security unlock-keychain"
    store = {"state": "locked", "problem": "the keyring is locked", "remedy": "unlock it: security unlock-keychain"}
    records = [shown(account=name, state="locked", reason=reason, renewal="none") for name in ("work", "home")]
    said = status(*records, store={**store, "unread": 2})
    assert said.count("security unlock-keychain") == 1
    assert said.count("the store, see below") == 2
    assert "  problem  the keyring is locked\n  help     unlock it: security unlock-keychain\n" in said
    assert "  unread   2 sessions still to be read from the store\n" in said


@pytest.mark.parametrize(
    ("backend", "named"),
    [
        ("keyring.backends.macOS.Keyring", "the login keychain"),
        ("keyring.backends.Other", "the keyring keyring.backends.Other"),
        (None, "the keyring"),
    ],
)
def test_keyrings_have_names_for_people(backend: str | None, named: str) -> None:
    assert field("store", shown(), store={"backend": backend}) == f"sessions are kept in {named}"


def test_what_is_not_saved_would_be_lost() -> None:
    said = field("reboot", shown(), shown(account="home", saved=False), store={"unsaved": 1})
    assert said == "would lose what is not saved yet: home"


def test_what_is_not_saved_of_other_accounts_is_counted() -> None:
    assert field("reboot", shown(), store={"unsaved": 1}) == "would lose the unsaved changes of 1 session"


# ---- the agent


def test_an_older_agent_is_pointed_out_with_the_command_that_restarts_it() -> None:
    lines = status(shown(), version="0.3.12").splitlines()
    assert lines[-1] == "auth-agent restart"
    assert "0.3.12" in lines[-2]
    assert "0.4.0 is installed; restart it:" in " ".join(lines[-2:])


@pytest.mark.parametrize("version", ["0.4.0", "0.10.0", "1.0.0", "", None, "9" * 5000])
def test_an_agent_that_is_not_older_is_left_in_peace(version: object) -> None:
    assert "restart" not in status(shown(), version=version)


def test_a_restart_that_was_refused_is_told() -> None:
    refused = {"at": NOW - 180, "reason": "the keyring is locked"}
    assert field("restart", shown(), restart_refused=refused) == "refused 3 min ago: the keyring is locked"


def test_the_configuration_file_is_named_where_the_agent_tells_it() -> None:
    assert field("config", shown(), config="/etc/config.toml") == "/etc/config.toml"
    assert field("config", shown()) is None


@pytest.mark.parametrize(
    ("home", "path"), [("/home/al", "~/c.toml"), ("/home/al/", "~/c.toml"), ("/home/a", None), ("", None), ("/", None)]
)
def test_a_path_at_home_is_as_a_person_writes_it(home: str, path: str | None) -> None:
    told: dict[str, object] = {"agent": about(config="/home/al/c.toml"), "accounts": []}
    said = overview(told, NOW, VERSION, Terminal(), home)
    assert f"  config   {path or '/home/al/c.toml'}" in said


# ---- where it is shown

EVERY = [
    shown(account=f"{state}-{renewal}", state=state, renewal=renewal, reason=reason, saved=saved)
    for state in STATES
    for renewal in RENEWALS
    for reason, saved in ((None, True), ("r" * 200, False), ("some words " * 20, False))
]
LONG = shown(
    account="n" * 64,
    name="名前" * 60,
    subject="auth0|" + "5f7c8ec7" * 20,
    issuer="https://acme.example/" + "realm/" * 40,
    state="login_required",
    reason="invalid_grant: " + "x" * 180,
    session_ends_at=NOW + 1e7,
)


@pytest.mark.parametrize("width", [80, 120, 40, 30])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_the_terminal_but_a_command_that_stands_alone(width: int, *, colour: bool) -> None:
    terminal = Terminal(width, colour)
    store = {"state": "failing", "problem": "p" * 300, "remedy": "do it: " + "command " * 20, "unread": 7}
    agent = {"socket": "/run/" + "s" * 100, "config": "/home/" + "c" * 200, "version": "0.0.1", "store": store}
    lines = status(*EVERY, LONG, terminal=terminal, **agent).splitlines()
    lines += [line for record in (*EVERY, LONG) for line in change(record, NOW, terminal, "12:00:00  ")]
    wide = {line.strip() for line in map(bare, lines) if columns(line) > width}
    helps = {one.line for record in (*EVERY, LONG) for one in condition_of(record, NOW).remedy}
    assert wide <= helps
    assert [line for line in helps if line not in "\n".join(map(bare, lines))] == []  # whole, to be copied


def bare(line: str) -> str:
    """The line without its escape codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def test_colours_change_no_word() -> None:
    plain = status(*EVERY, LONG)
    coloured = status(*EVERY, LONG, terminal=Terminal(80, colour=True))
    assert "\x1b" not in plain
    assert bare(coloured) == plain


def test_a_pipe_gets_each_field_in_one_line_and_in_full() -> None:
    said = status(LONG, terminal=Terminal())
    assert f"at {LONG['issuer']}" in said
    assert f"auth-agent login {'n' * 64}" in said
    assert len(said.splitlines()) == 10


def test_a_terminal_that_knows_ascii_only_gets_that() -> None:
    terminal = Terminal(80, encoding="ascii")
    records = [shown(state=state, renewal="none", last_refresh_at=None) for state in STATES]
    assert status(*records, terminal=terminal).isascii()


# ---- a line of watch


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({}, "● work  ready, token good for 59 min, refresh in 48 min"),
        ({"renewal": "running", "refresh_at": None}, "● work  ready, token good for 59 min, refresh now"),
        (
            {"renewal": "retrying", "reason": "no route", "refresh_at": NOW + 12},
            "▲ work  ready, but refreshes fail: no route, token good for 59 min, next attempt in 12 s",
        ),
        (
            {"state": "expired", "renewal": "running", "expires_at": NOW - 5, "refresh_at": None},
            "▲ work  expired, refresh now",
        ),
        ({"state": "logged_out", "renewal": "none"}, "○ work  not logged in"),
        ({"state": "login_required", "renewal": "none", "reason": "gone"}, "✗ work  login required: gone"),
    ],
)
def test_a_change_is_one_line(record: dict[str, object], line: str) -> None:
    assert change(shown(**record), NOW, head="12:00:00  ") == [f"12:00:00  {line}"]


# ---- what comes from outside


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "a\u2028b", "\u202eevil", "c1 \x9b31m", "bell\x07"])
def test_nothing_that_a_terminal_obeys_reaches_it(text: str) -> None:
    names = ("account", "name", "subject", "issuer", "state", "reason")
    record = shown(**dict.fromkeys(names, text))
    store = dict.fromkeys(("backend", "problem", "remedy", "state"), text)
    agent = {**dict.fromkeys(("socket", "version", "config"), text), "restart_refused": {"at": NOW, "reason": text}}
    lines = status(record, terminal=Terminal(), store=store, **agent).splitlines()
    lines += change(record, NOW)
    assert [character for line in lines for character in line if not character.isprintable()] == []


@settings(max_examples=50)
@given(records=RECORDS, agent=ABOUT, store=st.dictionaries(st.sampled_from(["name", "problem", "unread"]), VALUES))
def test_answers_of_any_kind_become_printable_lines(
    records: list[dict[str, object]], agent: dict[str, object], store: dict[str, object]
) -> None:
    told = {"agent": {"store": store, **agent}, "accounts": records}
    lines = [*overview(told, NOW, VERSION, Terminal(80)), *status_lines(records, NOW)]
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in overview(told, NOW, VERSION, Terminal(80)) if columns(line) > 80] == []


@pytest.mark.parametrize("answer", [{}, {"agent": None, "accounts": 7}, {"agent": {"store": []}, "accounts": [None]}])
def test_an_answer_without_what_is_expected_does_not_raise(answer: dict[str, object]) -> None:
    assert overview(answer, NOW, VERSION)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_a_time_that_means_nothing_does_not_raise(value: float) -> None:
    times = dict.fromkeys(("expires_at", "refresh_at", "last_refresh_at", "session_ends_at", "refreshes"), value)
    assert status(shown(**times), shown(state="expired", **times), started_at=value)


# ---- after a reboot


@pytest.mark.parametrize(
    ("reboot", "line"),
    [
        (None, "  reboot   would lose nothing"),
        (Reboot(starts=True), "  reboot   would lose nothing; the service starts the agent again"),
        (Reboot(starts=False), "  reboot   would lose nothing, but nothing starts the agent again"),
    ],
)
def test_what_comes_back_after_a_reboot_is_shown(reboot: Reboot | None, line: str) -> None:
    store = {"name": "keyring", "persistent": True, "state": "ready"}
    assert line in overview({"agent": {"store": store}, "accounts": []}, 0.0, "1.0", reboot=reboot)


def test_what_starts_the_agent_after_a_reboot_is_shown_below() -> None:
    reboot = Reboot(starts=False, remedy=(remedies.install_service(),))
    *_, last = overview({"agent": {}, "accounts": []}, 0.0, "1.0", reboot=reboot)
    assert last == f"  help     {remedies.install_service()}"
