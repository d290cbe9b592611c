"""A short `make demo`: its summary, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.demo.request import Request
from tests.demo.tally import Outcome, Tally
from tests.integration.agent_process import PATIENCE
from tests.integration.terminal import Terminal

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "tests.demo"]


def environment(**more: str) -> dict[str, str]:
    """As on a machine without a screen."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    return {**inherited, "BROWSER": "", "SSH_CONNECTION": "", "SSH_TTY": "", "PYTHONPATH": str(ROOT), **more}


def run_demo(**more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        COMMAND,
        env=environment(**more),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def children(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_the_demo_shows_requests_without_failures() -> None:
    result = run_demo(DEMO_SECONDS="12")  # longer than a token lives
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert "Logged in to demo as Name of auth0|alice." in result.stdout
    assert re.search(r"requests +[1-9][0-9]* by 4 programs", result.stdout)
    assert re.search(r"failed +0, and 0 refused", result.stdout)
    assert re.search(r"refreshes +[1-9]", result.stdout)
    assert re.search(r"slowest answer +[0-9.]+ ms from the agent", result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80


# A person at a browser: gets the address, logs in, and ends where the provider sends him.
PERSON = f"""#!{sys.executable}
import sys
from urllib.parse import parse_qs, urlsplit
import httpx
from tests.op.login import provider_url, walk
url = provider_url(sys.argv[1])
stop = parse_qs(urlsplit(url).query)["redirect_uri"][0]
with httpx.Client(trust_env=False) as http:
    http.get(walk(http, url, "auth0|bob", stop))
"""


def test_the_demo_logs_in_with_the_browser_if_there_is_one(tmp_path: Path) -> None:
    person = tmp_path / "browser"
    person.write_text(PERSON)
    person.chmod(0o700)
    result = run_demo(DEMO_SECONDS="1", BROWSER=str(person))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "A login, once: you, with any name and password" in result.stdout
    assert "Logged in to demo as Name of auth0|bob." in result.stdout


def at_terminal(more: Mapping[str, str]) -> AbstractContextManager[Terminal]:
    return Terminal(COMMAND, environment(**more))


def test_ctrl_c_ends_the_demo_with_a_summary_and_without_processes() -> None:
    with at_terminal({"DEMO_SECONDS": "600"}) as terminal:
        terminal.until(r"[1-9][0-9]* +0 +0 +1 ")
        processes = children(terminal.process.pid)
        assert len(processes) >= 6  # a provider, an agent, four programs
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
        assert re.search(r"requests +[1-9][0-9]* by 4 programs", terminal.shown)
    deadline = time.monotonic() + PATIENCE
    while any(Path("/proc", one).exists() for one in processes):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "inf"])
def test_a_time_that_is_not_a_number_is_an_error(seconds: str) -> None:
    result = run_demo(DEMO_SECONDS=seconds)
    assert (result.returncode, result.stdout) == (2, "")
    assert "DEMO_SECONDS" in result.stderr


def tally(*requests: Request) -> Tally:
    one = Tally()
    for request in requests:
        one.add(request)
    return one


GOOD = Request(agent=0.001, provider=0.01, token=1.0)


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Outcome(30, {"mail": tally()}), "nothing happened"),
        (Outcome(30, {"mail": tally(GOOD), "notes": tally()}), "no request came from notes"),
        (Outcome(30, {"mail": tally(GOOD, Request(0.001, failure="gone"))}), "1 request failed; the last one: gone"),
        (Outcome(30, {"mail": tally(Request(0.001, 0.01, 1.0, refused=True))}), "refused 1 token"),
        (Outcome(30, {"mail": tally(GOOD)}, reused=2), "2 refresh tokens came to the provider more than once"),
        (Outcome(30, {"mail": tally(GOOD)}, ended=["mail ended with 1: oh"]), "mail ended with 1"),
    ],
)
def test_every_failed_request_is_reported(outcome: Outcome, problem: str) -> None:
    assert any(problem in one for one in outcome.problems())


def test_nothing_is_reported_if_all_requests_succeeded() -> None:
    assert Outcome(30, {"mail": tally(GOOD, GOOD)}).problems() == []
