"""Counting which program used which method for which account."""

import itertools
import os

from auth_agent.host.program import Program
from auth_agent.ipc.peer import Peer
from auth_agent.ipc.usage import MOST_ROWS, Usage
from auth_agent.sessions.rate_limit import Asker
from auth_agent_client.wire import MAX_MESSAGE, Connection, Request
from tests.agent.world import NOON

KEY = "\U0001f511"  # four bytes
CURL = Program("curl", "/usr/bin/curl", None)


class Client:
    """A connection from that program."""

    def __init__(self, program: Program | None = CURL, pid: int = 4711) -> None:
        self.peer = Peer(pid, os.getuid())
        self.asker = Asker(self)
        self.program = program

    def watch(self, accounts: frozenset[str] | None) -> None:
        pass

    def changed(self, account: str) -> None:
        pass


def client_of(number: int) -> Client:
    return Client(Program(f"program-{number}", None, None), number)


def names(usage: Usage) -> list[object]:
    return [row["program"] for row in usage.rows()]


def test_at_first_there_are_no_rows() -> None:
    assert Usage().rows() == []


def test_a_program_has_a_row_with_its_last_pid_and_time() -> None:
    usage = Usage()
    usage.count(Client(pid=1), "token", "work", NOON)
    usage.count(Client(pid=2), "token", "work", NOON + 4)
    usage.count(Client(pid=3), "profile", "work", NOON + 5)
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


def test_each_program_and_account_has_a_row() -> None:
    usage = Usage()
    for account, program in itertools.product(
        ("work", "home"), (CURL, CURL._replace(unit="backup.service"), CURL._replace(executable="/tmp/curl"))
    ):
        usage.count(Client(program), "token", account, NOON)
    assert len(usage.rows()) == 6
    assert [row["account"] for row in usage.rows("home")] == ["home"] * 3
    assert usage.rows("other") == []


def test_rows_are_copies() -> None:
    usage = Usage()
    usage.count(Client(), "token", "work", NOON)
    before = usage.rows()
    usage.count(Client(), "token", "work", NOON)
    assert before[0]["methods"] == {"token": 1}


def test_unknown_programs_have_a_row_for_each_pid_and_those_outside_share_one() -> None:
    usage = Usage()
    for pid in (7, 8, 8, 0, 0, 0):
        usage.count(Client(None, pid), "token", "work", NOON)
    assert [(row["program"], row["pid"], row["methods"]) for row in usage.rows()] == [
        (None, 0, {"token": 3}),
        (None, 8, {"token": 2}),
        (None, 7, {"token": 1}),
    ]


def test_the_most_recent_row_is_first_even_if_the_clock_was_set_back() -> None:
    usage = Usage()
    for hours, number in enumerate((1, 2, 3, 1)):
        usage.count(client_of(number), "token", "work", NOON - 3600 * hours)
    assert names(usage) == ["program-1", "program-3", "program-2"]


def test_of_too_many_rows_the_least_recent_is_dropped() -> None:
    usage = Usage()
    for number in range(MOST_ROWS):
        usage.count(client_of(number), "token", "work", NOON)
    usage.count(client_of(0), "token", "work", NOON - 86_400)
    for number in range(MOST_ROWS, MOST_ROWS + 10):
        usage.count(client_of(number), "token", "work", NOON)
    programs = names(usage)
    assert len(programs) == MOST_ROWS
    assert "program-0" in programs
    assert {f"program-{number}" for number in range(1, 11)}.isdisjoint(programs)
    assert programs[:10] == [f"program-{number}" for number in range(MOST_ROWS + 9, MOST_ROWS - 1, -1)]


def test_the_longest_names_fit_in_half_a_message() -> None:
    usage = Usage()
    for number in range(MOST_ROWS):
        program = Program(KEY * 64, f"{KEY * 196}{number:04}", KEY * 100)
        usage.count(Client(program), "update_user_metadata", "x" * 64, NOON)
    assert len(usage.rows()) == MOST_ROWS
    assert len(Connection().respond(Request(1, "status", {}), {"clients": usage.rows()})) < MAX_MESSAGE / 2
