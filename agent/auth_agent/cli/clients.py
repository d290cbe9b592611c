"""Format which programs take tokens: `auth-agent status --clients`."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.condition import ago
from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns
from auth_agent.printable import printable
from auth_agent_client import Agent, ClientUsage, Status
from auth_agent_client.errors import InvalidRequest

_GAP: Final = "  "
# The last column, of units and paths, needs this width; without it there is no table.
_LEAST_ROOM: Final = 24


class _Client(NamedTuple):
    """The cells for one program and one account."""

    program: str
    account: str
    last: str
    times: str
    pid: str
    origin: tuple[str, ...]


_CELLS: Final = 5  # the columns of a fixed width; `origin` takes the rest
_HEAD: Final = _Client("PROGRAM", "ACCOUNT", "LAST", "TIMES", "PID", ("FROM",))


def status_with_clients(agent: Agent, account: str | None) -> Status:
    """Return the status of the agent and of the account, or of all accounts, with the programs that used them.

    Raises:
        CommandError: the agent is an older one, which doesn't count.
        AgentError: the agent can't tell.

    """
    try:
        return agent.status(account, clients=True)
    except InvalidRequest as error:
        if error.parameter != "clients":
            raise
        raise CommandError(
            "the running agent is an older version, which doesn't count clients", remedies.restart()
        ) from error


def client_lines(status: Status, account: str | None, now: float, terminal: Terminal = PLAIN) -> list[str]:
    """Return the lines of `auth-agent status --clients`, the latest client first.

    Args:
        status: the result of `status`.
        account: the account that was asked for; None for all.
        now: Unix time in seconds.
        terminal: the terminal that shows the lines.

    """
    started = status.agent.started_at
    since = "" if started is None else f", {ago(now - started)}"
    clients = [_client(client, now) for client in status.clients]
    if not clients:
        whose = "" if account is None else f" of {account}"
        return terminal.wrap("", [Piece(f"No program has taken a token{whose} since the agent started{since}.")])
    end = terminal.wrap("", [Piece(f"Counted since the agent started{since}.", "label")])
    return [*(_table(clients, terminal) or _paragraphs(clients, terminal)), "", *end]


def _client(client: ClientUsage, now: float) -> _Client:
    pid, last = client.pid, client.last_at
    outside = pid == 0
    origin = [printable(client.unit), printable(client.executable)]
    return _Client(
        "outside" if outside else printable(client.program) or "unknown",
        printable(client.account) or "-",
        "-" if last is None else ago(now - last),
        str(sum(client.methods.values())),
        "-" if outside or pid is None else str(pid),
        ("another PID namespace, such as a container's",) if outside else tuple(filter(None, origin)),
    )


def _table(clients: Sequence[_Client], terminal: Terminal) -> list[str]:
    """Return a table with one row a client; no lines if the terminal is too narrow."""
    rows = [_HEAD, *clients]
    widths = [max(map(columns, column)) for column in zip(*(row[:_CELLS] for row in rows), strict=True)]
    used = sum(widths) + len(_GAP) * len(widths)
    if terminal.width is not None and terminal.width - used < _LEAST_ROOM:
        return []
    return [line for row in rows for line in _row(row, widths, terminal)]


def _row(row: _Client, widths: Sequence[int], terminal: Terminal) -> list[str]:
    head = ""
    for text, width, name in zip(row[:_CELLS], widths, _Client._fields[:_CELLS], strict=True):
        blanks = " " * (width - columns(text))
        style = "label" if row is _HEAD else "strong" if name == "program" else ""
        cell = terminal.styled(text, style)
        head += (f"{blanks}{cell}" if name in ("times", "pid") else f"{cell}{blanks}") + _GAP
    style = "label" if row is _HEAD else ""
    return terminal.wrap(head, [Piece(text, style, whole=True) for text in row.origin])


def _paragraphs(clients: Iterable[_Client], terminal: Terminal) -> list[str]:
    return [
        line
        for client in clients
        for line in terminal.wrap(
            "",
            [
                Piece(client.program, "strong", whole=True),
                Piece(f"{client.account}, {client.last}, {client.times} times, pid {client.pid}"),
                *(Piece(text, whole=True) for text in client.origin),
            ],
        )
    ]
