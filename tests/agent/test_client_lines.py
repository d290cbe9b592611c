"""How the command line shows which programs got tokens."""

import math

import pytest
from hypothesis import given, strategies as st

from auth_agent import remedies
from auth_agent.cli.clients import client_lines, status_with_clients
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.terminal import Terminal, columns
from auth_agent_client import Agent, Status
from auth_agent_client.errors import InvalidRequest
from tests.agent.test_status import VALUES

NOW = 1_800_000_000.0
UNIT = "app-gnome-org.gnome.Terminal-*.scope"


def client(**more: object) -> dict[str, object]:
    """Return a program's row as the agent sends it."""
    return {
        "account": "work",
        "program": "curl",
        "executable": "/usr/bin/curl",
        "unit": None,
        "pid": 4711,
        "methods": {"token": 3},
        "last_at": NOW - 12,
        **more,
    }


def status(*clients: object) -> Status:
    return Status(agent={"started_at": NOW - 11_100}, accounts=[], clients=list(clients))


BACKUP = client(program="backup", unit=UNIT, pid=17, methods={"token": 1204, "profile": 1}, last_at=NOW - 7500)


def test_clients_are_a_table() -> None:
    assert client_lines(status(client(), BACKUP), None, NOW, Terminal(120)) == [
        "PROGRAM  ACCOUNT  LAST           TIMES   PID  FROM",
        "curl     work     12 s ago           3  4711  /usr/bin/curl",
        f"backup   work     2 h 5 min ago   1205    17  {UNIT} /usr/bin/curl",
        "",
        "Counted since the agent started, 3 h 5 min ago.",
    ]


def test_a_last_column_that_does_not_fit_continues_below() -> None:
    assert client_lines(status(client(), BACKUP), None, NOW, Terminal(84))[2:4] == [
        f"backup   work     2 h 5 min ago   1205    17  {UNIT}",
        "                                              /usr/bin/curl",
    ]


def test_in_a_narrow_terminal_a_program_is_a_sentence() -> None:
    assert client_lines(status(BACKUP), None, NOW, Terminal(60))[:-2] == [
        "backup work, 2 h 5 min ago, 1205 times, pid 17",
        f"{UNIT} /usr/bin/curl",
    ]


def test_unknown_programs_and_those_in_another_pid_namespace_are_marked() -> None:
    gone = client(program=None, executable=None, pid=99)
    outside = client(program=None, executable=None, pid=0)
    lines = client_lines(status(gone, outside), None, NOW, Terminal(120))
    assert lines[1].split() == ["unknown", "work", "12", "s", "ago", "3", "99"]
    assert lines[2].startswith("outside  work")
    assert lines[2].endswith("  -  another PID namespace, such as a container's")


def test_without_programs_there_is_a_sentence() -> None:
    assert client_lines(status(), None, NOW) == ["No program has taken a token since the agent started, 3 h 5 min ago."]
    assert client_lines(status(), "work", NOW) == [
        "No program has taken a token of work since the agent started, 3 h 5 min ago."
    ]


@pytest.mark.parametrize("data", [{}, {"agent": None, "clients": None}, {"agent": {"started_at": math.nan}}])
def test_a_status_of_an_unknown_form_has_no_programs(data: dict[str, object]) -> None:
    assert client_lines(Status(data), None, NOW) == ["No program has taken a token since the agent started."]


@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(client(), VALUES)) | VALUES, max_size=4),
    st.sampled_from([None, 30, 40, 80, 120]),
)
def test_any_rows_are_printable_lines_that_fit(clients: list[object], width: int | None) -> None:
    for line in client_lines(status(*clients), None, NOW, Terminal(width)):
        assert line.isprintable()
        assert width is None or columns(line) <= width


class Failing(Agent):
    """An agent that refuses a parameter."""

    def __init__(self, parameter: str) -> None:
        super().__init__("/nowhere")
        self.parameter = parameter

    def status(self, account: str | None = None, *, clients: bool = False) -> Status:
        raise InvalidRequest(f"{account}: {clients}", parameter=self.parameter)


def test_an_agent_without_the_parameter_clients_must_be_restarted() -> None:
    with pytest.raises(CommandError) as raised:
        status_with_clients(Failing("clients"), "work")
    assert raised.value.remedy == (remedies.restart(),)


def test_any_other_invalid_parameter_is_raised() -> None:
    with pytest.raises(InvalidRequest, match="work: True"):
        status_with_clients(Failing("account"), "work")
