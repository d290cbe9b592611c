"""Who took what, counted."""

import itertools
import os

from auth_agent.host.program import Program
from auth_agent.ipc.peer import Peer
from auth_agent.ipc.usage import MOST_ROWS, Usage
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent_client.wire import MAX_MESSAGE, Connection, Request
from tests.agent.world import NOON

KEY = "\U0001f511"  # four bytes
CURL = Program("curl", "/usr/bin/curl", None)


class Client:
    """A connection of that program."""

    def __init__(self, program: Program | None = CURL, pid: int = 4711) -> None:
        self.peer = Peer(pid, os.getuid())
        self.rate_limit = RateLimit()
        self.program = program

    def watch(self, accounts: frozenset[str] | None) -> None:
        pass

    def changed(self, account: str) -> None:
        pass


class Clock:
    """The wall clock, which somebody sets."""

    now = NOON

    def __call__(self) -> float:
        return self.now


def named(number: int) -> Client:
    return Client(Program(f"program-{number}", None, None), number)


def names(usage: Usage) -> list[object]:
    return [row["program"] for row in usage.rows()]


def test_nobody_took_anything_at_first() -> None:
    assert Usage().rows() == []


def test_what_a_program_took_is_a_row_with_its_last_pid_and_time() -> None:
    clock = Clock()
    usage = Usage(clock)
    usage.count(Client(pid=1), "token", "work")
    clock.now += 5
    usage.count(Client(pid=2), "token", "work")
    usage.count(Client(pid=3), "profile", "work")
    assert usage.rows() == [
        {
            "account": "work",
            "program": "curl",
            "executable": "/usr/bin/curl",
            "unit": None,
            "pid": 3,
            "methods": {"token": 2, "profile": 1},
            "last_at": NOON + 5,
        }
    ]


def test_a_row_is_a_program_and_an_account() -> None:
    usage = Usage()
    for account, program in itertools.product(
        ("work", "home"), (CURL, CURL._replace(unit="backup.service"), CURL._replace(executable="/tmp/curl"))
    ):
        usage.count(Client(program), "token", account)
    assert len(usage.rows()) == 6
    assert [row["account"] for row in usage.rows("home")] == ["home"] * 3
    assert usage.rows("other") == []


def test_what_is_given_out_is_a_copy() -> None:
    usage = Usage()
    usage.count(Client(), "token", "work")
    before = usage.rows()
    usage.count(Client(), "token", "work")
    assert before[0]["methods"] == {"token": 1}


def test_who_is_not_known_is_a_row_a_process_and_what_is_outside_is_one() -> None:
    usage = Usage()
    for pid in (7, 8, 8, 0, 0, 0):
        usage.count(Client(None, pid), "token", "work")
    assert [(row["program"], row["pid"], row["methods"]) for row in usage.rows()] == [
        (None, 0, {"token": 3}),
        (None, 8, {"token": 2}),
        (None, 7, {"token": 1}),
    ]


def test_the_latest_is_first_also_where_the_clock_was_set_back() -> None:
    clock = Clock()
    usage = Usage(clock)
    for number in (1, 2, 3, 1):
        clock.now -= 3600
        usage.count(named(number), "token", "work")
    assert names(usage) == ["program-1", "program-3", "program-2"]


def test_of_too_many_the_one_that_was_used_longest_ago_goes() -> None:
    clock = Clock()
    usage = Usage(clock)
    for number in range(MOST_ROWS):
        usage.count(named(number), "token", "work")
    clock.now -= 86_400
    usage.count(named(0), "token", "work")
    for number in range(MOST_ROWS, MOST_ROWS + 10):
        usage.count(named(number), "token", "work")
    kept = names(usage)
    assert len(kept) == MOST_ROWS
    assert "program-0" in kept
    assert {f"program-{number}" for number in range(1, 11)}.isdisjoint(kept)
    assert kept[:10] == [f"program-{number}" for number in range(MOST_ROWS + 9, MOST_ROWS - 1, -1)]


def test_the_longest_names_fit_in_half_a_message() -> None:
    usage = Usage()
    for number in range(MOST_ROWS):
        program = Program(KEY * 64, f"{KEY * 196}{number:04}", KEY * 100)
        usage.count(Client(program), "update_user_metadata", "x" * 64)
    assert len(usage.rows()) == MOST_ROWS
    assert len(Connection().respond(Request(1, "status", {}), {"clients": usage.rows()})) < MAX_MESSAGE / 2
