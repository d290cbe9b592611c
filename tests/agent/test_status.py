"""How the command line shows the agent and its sessions."""

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

# All values of msgpack, except NaN and infinity, which have their own test.
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
    st.sampled_from(
        [
            "pid",
            "version",
            "started_at",
            "socket",
            "socket_problem",
            "config",
            "default",
            "store",
            "restart_refused",
            "locked",
            "lock",
        ]
    ),
    VALUES,
)


def record_with(**more: object) -> dict[str, object]:
    """Return a record as the agent sends it."""
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


def agent_with(store: Mapping[str, object] | None = None, **more: object) -> dict[str, object]:
    """Return the agent's part of a status."""
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
    """Return the complete output."""
    data = {"agent": agent_with(**agent), "accounts": list(records)}
    return "\n".join(overview(data, NOW, VERSION, terminal or Terminal(80)))


def field(label: str, *records: dict[str, object], **agent: Any) -> str | None:
    """Return the text beside that label, in one line; None if the screen has no such label."""
    output = status(*records, terminal=Terminal(), **agent)
    match = re.search(rf"^  {label} +(.*)$", output, re.MULTILINE)
    return match and match[1]


def test_each_account_and_the_agent_have_a_block() -> None:
    assert (
        status(
            record_with(),
            record_with(
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


def test_a_problem_is_shown_below_its_account_with_the_remedy() -> None:
    output = status(record_with(renewal="retrying", reason="the provider answered HTTP 503", refresh_at=NOW + 12))
    assert output.splitlines()[:5] == [
        "▲ work  ready, but refreshes fail, token good for 59 min",
        "  login    Alice (auth0|alice) at https://acme.example/",
        "  refresh  next attempt in 12 s; 3 so far, the last one 12 min ago",
        "  problem  the provider answered HTTP 503",
        "  help     the agent retries by itself; to retry now: auth-agent refresh work",
    ]


def test_without_accounts_the_first_command_is_shown() -> None:
    assert status().splitlines()[:2] == [
        "There are no accounts yet. To begin:",
        "  auth-agent login NAME --issuer URL --client-id ID",
    ]


def test_a_long_name_does_not_shift_the_columns_of_others() -> None:
    lines = status(record_with(account="n" * 64), record_with(account="home"), record_with(account="x")).splitlines()
    assert lines[:2] == [f"● {'n' * 64}", "  state    ready, token good for 59 min"]
    assert "● home  ready, token good for 59 min" in lines
    assert "● x     ready, token good for 59 min" in lines


def test_names_of_wide_characters_do_not_shift_the_columns() -> None:
    latin, wide = (line for line in status(record_with(), record_with(account="無効")).splitlines() if "ready" in line)
    assert columns(wide.partition("ready")[0]) == columns(latin.partition("ready")[0])


def test_user_and_issuer_are_on_two_lines_if_one_is_too_short() -> None:
    subject = "auth0|5f7c8ec7c33c6c004bbafe82"
    lines = status(record_with(name="Alice Example", subject=subject, issuer="https://acme.eu.auth0.com/")).splitlines()
    assert lines[1:3] == [f"  login    Alice Example ({subject})", "           at https://acme.eu.auth0.com/"]


@pytest.mark.parametrize(
    ("name", "subject", "expected"),
    [
        ("Alice", "auth0|alice", "Alice (auth0|alice) at https://acme.example/"),
        (None, "auth0|alice", "auth0|alice at https://acme.example/"),
        ("same", "same", "same at https://acme.example/"),
        (None, None, "https://acme.example/"),
        (7, None, "https://acme.example/"),
    ],
)
def test_the_user_is_shown_by_name_and_subject(name: object, subject: object, expected: str) -> None:
    assert field("login", record_with(name=name, subject=subject)) == expected


# ---- refreshes


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({}, "in 48 min; 3 so far, the last one 12 min ago"),
        ({"refreshes": 0}, "in 48 min; none yet, logged in 12 min ago"),
        ({"renewal": "running", "refresh_at": None}, "now; 3 so far, the last one 12 min ago"),
        ({"refresh_at": NOW - 5}, "now; 3 so far, the last one 12 min ago"),
        ({"renewal": "retrying", "refresh_at": NOW + 12}, "next attempt in 12 s; 3 so far, the last one 12 min ago"),
        ({"renewal": "none", "refresh_at": None}, "3 so far, the last one 12 min ago"),
        ({"last_refresh_at": None}, "in 48 min"),
        ({"last_refresh_at": NOW + 60}, "in 48 min; 3 so far, the last one just now"),  # the clock was set
    ],
)
def test_the_next_and_the_last_refresh_are_shown(record: dict[str, object], text: str) -> None:
    assert field("refresh", record_with(**record)) == text


def test_the_end_of_a_session_is_shown_as_date_and_duration() -> None:
    end = NOW + 90_000
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
    assert field("session", record_with(session_ends_at=end)) == f"log in again before {date}, in 1 d 1 h"
    assert field("session", record_with(session_ends_at=1e300)) is None
    assert field("session", record_with(session_ends_at=end, state="login_required")) is None


def test_the_end_of_a_session_is_a_warning_the_day_before() -> None:
    end = NOW + 86_000
    lines = status(record_with(session_ends_at=end)).splitlines()
    assert lines[0] == "▲ work  ready, token good for 59 min"
    assert field("session", record_with(session_ends_at=end)) is None  # it is shown once
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
    assert field("problem", record_with(session_ends_at=end)) == f"log in again before {date}, in 23 h 53 min"
    assert field("help", record_with(session_ends_at=end)) == "log in again before that: auth-agent login work"
    assert change(record_with(session_ends_at=end), NOW)[0].startswith(f"▲ work  ready: log in again before {date}")


def test_a_failure_precedes_the_end_of_a_session() -> None:
    record = record_with(session_ends_at=NOW + 60, renewal="retrying", reason="the provider answered HTTP 503")
    assert field("problem", record) == "the provider answered HTTP 503"
    assert (field("session", record) or "").endswith("in 1 min")


def test_an_end_that_the_next_refresh_moves_is_no_problem() -> None:
    record = record_with(session_ends_at=NOW + 300, session_end_moves=True, refresh_at=NOW + 180)
    assert status(record).splitlines()[0] == "● work  ready, token good for 59 min"
    assert field("session", record) is None
    assert field("problem", {**record, "refresh_at": NOW + 301}) is not None
    assert field("problem", {**record, "session_end_moves": False}) is not None
    running = {**record, "renewal": "running", "refresh_at": None}
    assert field("problem", running) is None
    failing = {**record, "renewal": "retrying", "reason": "the provider answered HTTP 503"}
    assert (field("session", failing) or "").endswith("in 5 min")


def test_a_token_without_a_known_end_is_good() -> None:
    lines = status(record_with(expires_at=None, renewal="none", refresh_at=None)).splitlines()
    assert lines[0] == "● work  ready, token without a known end"
    assert field("problem", record_with(expires_at=None, renewal="none", refresh_at=None)) is None


def test_a_passed_end_of_a_session_is_a_problem() -> None:
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW - 60))
    assert field("problem", record_with(session_ends_at=NOW - 60)) == (
        f"log in again: the provider ended the session at {date}"
    )


# ---- the store


@pytest.mark.parametrize("store", [{"name": "memory"}, {"name": "another", "persistent": False}])
def test_a_store_in_memory_loses_every_session(store: dict[str, object]) -> None:
    store = {**store, "backend": None}
    assert field("store", record_with(), store=store) == "sessions are kept in memory only"
    assert field("reboot", record_with(), store=store) == "would lose every session, and so would the end of the agent"


def test_a_missing_keyring_is_a_problem_with_a_remedy() -> None:
    store = {"state": "missing", "problem": "there is no D-Bus session, and so no keyring"}
    assert field("store", record_with(), store=store) == "sessions are kept in memory only, for now"
    assert field("problem", record_with(), store=store) == "there is no D-Bus session, and so no keyring"
    assert "gnome-keyring" in (field("help", record_with(), store=store) or "")
    assert "every session" in (field("reboot", record_with(), store=store) or "")


def test_a_locked_keyring_is_shown_once_with_the_command_that_unlocks_it() -> None:
    reason = "the keyring is locked; unlock it: security unlock-keychain"
    store = {"state": "locked", "problem": "the keyring is locked", "remedy": "unlock it: security unlock-keychain"}
    records = [record_with(account=name, state="locked", reason=reason, renewal="none") for name in ("work", "home")]
    output = status(*records, store={**store, "unread": 2})
    assert output.count("security unlock-keychain") == 1
    assert output.count("the store, see below") == 2
    assert "  problem  the keyring is locked\n  help     unlock it: security unlock-keychain\n" in output
    assert "  unread   2 sessions still to be read from the store\n" in output


@pytest.mark.parametrize(
    ("lock", "shown"),
    [
        ({"keep_alive": False, "pending": []}, "serves nobody, and has no secret in memory"),
        ({"keep_alive": True, "pending": []}, "serves nobody; sessions are refreshed"),
        ({"pending": ["work"]}, "serves nobody; not in the store yet, and so in memory: work"),
    ],
)
def test_a_locked_agent_is_shown_once_with_the_command_that_unlocks_it(lock: dict[str, object], shown: str) -> None:
    remedy = [{"text": "unlock it", "command": ["auth-agent", "unlock"]}]
    records = [
        record_with(account=name, state="locked", reason="the agent is locked", remedy=remedy)
        for name in ("work", "home")
    ]
    output = "\n".join(overview({"agent": agent_with(locked=True, lock=lock), "accounts": records}, NOW, VERSION))
    assert output.count("auth-agent unlock") == 1
    assert f"  locked   {shown}\n  help     unlock it: auth-agent unlock\n" in output
    assert "the agent is locked" not in output
    assert "▲ work  locked\n" in output


@pytest.mark.parametrize(
    ("backend", "readable_name"),
    [
        ("keyring.backends.macOS.Keyring", "the login keychain"),
        ("keyring.backends.Other", "the keyring keyring.backends.Other"),
        (None, "the keyring"),
    ],
)
def test_keyrings_have_readable_names(backend: str | None, readable_name: str) -> None:
    assert field("store", record_with(), store={"backend": backend}) == f"sessions are kept in {readable_name}"


def test_unsaved_sessions_are_named() -> None:
    text = field("reboot", record_with(), record_with(account="home", saved=False), store={"unsaved": 1})
    assert text == "would lose what is not saved yet: home"


def test_unsaved_sessions_of_other_accounts_are_counted() -> None:
    assert field("reboot", record_with(), store={"unsaved": 1}) == "would lose the unsaved changes of 1 session"


# ---- the agent


def test_an_older_agent_is_shown_with_the_command_that_restarts_it() -> None:
    lines = status(record_with(), version="0.3.12").splitlines()
    assert lines[-1] == "auth-agent restart"
    assert "0.3.12" in lines[-2]
    assert "0.4.0 is installed; restart it:" in " ".join(lines[-2:])


@pytest.mark.parametrize("version", ["0.4.0", "0.10.0", "1.0.0", "", None, "9" * 5000])
def test_an_agent_that_is_not_older_has_no_restart_command(version: object) -> None:
    assert "restart" not in status(record_with(), version=version)


def test_a_refused_restart_is_shown() -> None:
    refused = {"at": NOW - 180, "reason": "the keyring is locked"}
    assert field("restart", record_with(), restart_refused=refused) == "refused 3 min ago: the keyring is locked"


def test_the_configuration_file_is_shown_if_the_agent_sends_it() -> None:
    assert field("config", record_with(), config="/etc/config.toml") == "/etc/config.toml"
    assert field("config", record_with()) is None


@pytest.mark.parametrize(
    ("home", "path"), [("/home/al", "~/c.toml"), ("/home/al/", "~/c.toml"), ("/home/a", None), ("", None), ("/", None)]
)
def test_a_path_in_the_home_directory_begins_with_a_tilde(home: str, path: str | None) -> None:
    data: dict[str, object] = {"agent": agent_with(config="/home/al/c.toml"), "accounts": []}
    lines = overview(data, NOW, VERSION, Terminal(), home)
    assert f"  config   {path or '/home/al/c.toml'}" in lines


# ---- width, colours, encoding

EVERY = [
    record_with(account=f"{state}-{renewal}", state=state, renewal=renewal, reason=reason, saved=saved)
    for state in STATES
    for renewal in RENEWALS
    for reason, saved in ((None, True), ("r" * 200, False), ("some words " * 20, False))
]
LONG = record_with(
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
def test_no_line_is_wider_than_the_terminal_except_a_command_on_its_own_line(width: int, *, colour: bool) -> None:
    terminal = Terminal(width, colour)
    store = {"state": "failing", "problem": "p" * 300, "remedy": "do it: " + "command " * 20, "unread": 7}
    agent = {"socket": "/run/" + "s" * 100, "config": "/home/" + "c" * 200, "version": "0.0.1", "store": store}
    lines = status(*EVERY, LONG, terminal=terminal, **agent).splitlines()
    lines += [line for record in (*EVERY, LONG) for line in change(record, NOW, terminal, "12:00:00  ")]
    too_wide = {line.strip() for line in map(without_codes, lines) if columns(line) > width}
    commands = {remedy.line for record in (*EVERY, LONG) for remedy in condition_of(record, NOW).remedy}
    assert too_wide <= commands
    assert [line for line in commands if line not in "\n".join(map(without_codes, lines))] == []  # to be copied


def without_codes(line: str) -> str:
    """Return the line without its escape codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def test_colours_do_not_change_the_text() -> None:
    plain = status(*EVERY, LONG)
    coloured = status(*EVERY, LONG, terminal=Terminal(80, colour=True))
    assert "\x1b" not in plain
    assert without_codes(coloured) == plain


def test_in_a_pipe_each_field_is_one_complete_line() -> None:
    output = status(LONG, terminal=Terminal())
    assert f"at {LONG['issuer']}" in output
    assert f"auth-agent login {'n' * 64}" in output
    assert len(output.splitlines()) == 10


def test_an_ascii_terminal_gets_only_ascii() -> None:
    terminal = Terminal(80, encoding="ascii")
    records = [record_with(state=state, renewal="none", last_refresh_at=None) for state in STATES]
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
    assert change(record_with(**record), NOW, head="12:00:00  ") == [f"12:00:00  {line}"]


# ---- hostile values


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "a\u2028b", "\u202eevil", "c1 \x9b31m", "bell\x07"])
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    names = ("account", "name", "subject", "issuer", "state", "reason")
    record = record_with(**dict.fromkeys(names, text))
    store = dict.fromkeys(("backend", "problem", "remedy", "state"), text)
    agent = {**dict.fromkeys(("socket", "version", "config"), text), "restart_refused": {"at": NOW, "reason": text}}
    lines = status(record, terminal=Terminal(), store=store, **agent).splitlines()
    lines += change(record, NOW)
    assert [character for line in lines for character in line if not character.isprintable()] == []


@settings(max_examples=50)
@given(records=RECORDS, agent=ABOUT, store=st.dictionaries(st.sampled_from(["name", "problem", "unread"]), VALUES))
def test_any_status_becomes_printable_lines(
    records: list[dict[str, object]], agent: dict[str, object], store: dict[str, object]
) -> None:
    data = {"agent": {"store": store, **agent}, "accounts": records}
    lines = [*overview(data, NOW, VERSION, Terminal(80)), *status_lines(records, NOW)]
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in overview(data, NOW, VERSION, Terminal(80)) if columns(line) > 80] == []


@pytest.mark.parametrize("data", [{}, {"agent": None, "accounts": 7}, {"agent": {"store": []}, "accounts": [None]}])
def test_an_incomplete_status_does_not_raise(data: dict[str, object]) -> None:
    assert overview(data, NOW, VERSION)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_an_invalid_time_does_not_raise(value: float) -> None:
    times = dict.fromkeys(("expires_at", "refresh_at", "last_refresh_at", "session_ends_at", "refreshes"), value)
    assert status(record_with(**times), record_with(state="expired", **times), started_at=value)


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
