"""What the service manager is notified of, with a receiver in its place."""

import os
import socket
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auth_agent.config import Account, Config
from auth_agent.host.clock import Clock
from auth_agent.host.systemd import status, watchdog_interval
from auth_agent.notification.manager import ManagerNotifier, status_text
from auth_agent.sessions.state import Locked
from auth_agent.sessions.table import Table
from auth_agent_client.messages import LOGIN_REQUIRED, READY


@pytest.fixture
def received(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[], list[str]], None, None]:
    """A manager at NOTIFY_SOCKET; it returns the messages since the last call."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def messages() -> list[str]:
            found: list[str] = []
            while True:
                try:
                    found.append(receiver.recv(4096).decode())
                except BlockingIOError:
                    return found

        yield messages


def notifier_of(*accounts: str, **environ: str) -> tuple[Any, Table]:
    """Return a refresher that is watched, and its table."""
    config = Config(Path("config.toml"), {name: Account(name, "https://a.example", "id") for name in accounts})
    table = Table(config, Clock())
    refresher = SimpleNamespace(on_look=lambda: None, longest_pause=30.0)
    ManagerNotifier(table, {**os.environ, **environ}).watch(refresher)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] -- all that it uses of a refresher
    return refresher, table


def test_each_look_feeds_the_watchdog_and_a_status_is_sent_when_it_changes(received: Callable[[], list[str]]) -> None:
    refresher, table = notifier_of("work", WATCHDOG_USEC="60000000")
    refresher.on_look()
    refresher.on_look()
    assert received() == ["WATCHDOG=1", "STATUS=1 account", "WATCHDOG=1"]
    table.configure(Config(Path("config.toml")))
    refresher.on_look()
    assert received() == ["WATCHDOG=1", "STATUS=0 accounts"]


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_a_lock_is_shown_at_the_next_look_whatever_the_number_of_accounts(
    count: int, received: Callable[[], list[str]]
) -> None:
    refresher, table = notifier_of(*map("account-{}".format, range(count)))
    refresher.on_look()
    table.set_lock(Locked("it was locked"))
    refresher.on_look()
    table.set_lock(None)
    refresher.on_look()
    accounts = f"STATUS={count} account{'' if count == 1 else 's'}"
    assert received() == [accounts, "STATUS=locked", accounts]


def test_without_a_watchdog_only_the_status_is_sent(received: Callable[[], list[str]]) -> None:
    refresher, _ = notifier_of("work")
    refresher.on_look()
    assert received() == ["STATUS=1 account"]
    assert refresher.longest_pause == 30.0


def test_without_a_manager_a_look_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    refresher, _ = notifier_of("work", WATCHDOG_USEC="1000000")
    before = refresher.on_look
    assert before() is None
    assert refresher.longest_pause == 30.0


@pytest.mark.parametrize(("seconds", "pause"), [(180, 30.0), (60, 20.0), (3, 1.0)])
def test_a_short_watchdog_makes_looks_frequent_enough(
    seconds: int, pause: float, received: Callable[[], list[str]]
) -> None:
    refresher, _ = notifier_of("work", WATCHDOG_USEC=str(seconds * 1_000_000))
    assert refresher.longest_pause == pause
    assert received() == []


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "12"}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "13"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, 999_999_999_999.999999),
    ],
)
def test_the_watchdogs_interval_is_read_for_this_process_only(
    environ: Mapping[str, str], interval: float | None
) -> None:
    assert watchdog_interval(environ, 12) == interval


def test_a_status_is_one_line() -> None:
    assert "\n" not in status("work\nREADY=1")


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ({}, "0 accounts"),
        ({"work": READY}, "1 account"),
        ({"work": READY, "home": LOGIN_REQUIRED}, "2 accounts; login needed: home"),
        (dict.fromkeys("abcde", LOGIN_REQUIRED), "5 accounts; login needed: a, b, c, 2 more"),
    ],
)
def test_a_status_has_the_accounts_and_the_logins_that_are_needed(states: Mapping[str, str], text: str) -> None:
    assert status_text(states, None) == text


def test_a_status_has_the_time_of_the_next_refresh() -> None:
    now = time.time()
    at = time.strftime("%H:%M:%S", time.localtime(now))
    assert status_text({"work": READY}, now) == f"1 account; next refresh at {at}"
