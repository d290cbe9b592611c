"""How a person is shown the agent and its sessions: `auth-agent status`, and a line of `auth-agent watch`.

Decides what is said, from what the agent answered; of the screen it knows no more than a `Terminal` tells.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from auth_agent import remedies
from auth_agent.cli.condition import Condition, ago, condition, number, session_end
from auth_agent.cli.stake import accounts_at_stake, is_persistent
from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns, duration
from auth_agent.printable import printable
from auth_agent_client.messages import IDLE, READY, RETRYING, RUNNING
from auth_agent_client.remedy import Remedy, remedies_from_wire

# How people call the keyrings.
_KEYRINGS: Final = {
    "keyring.backends.SecretService.Keyring": "the system keyring (Secret Service)",
    "keyring.backends.macOS.Keyring": "the login keychain",
}
_LABEL: Final = 7  # columns, of the longest label
# A name that takes more of a line than this leaves no room for the state beside it.
_NAME_SHARE: Final = 0.45
_LONGEST: Final = 300  # characters of a text from outside
_LONGEST_PATH: Final = 4096  # as on Linux


def overview(
    told: Mapping[str, object], now: float, version: str, terminal: Terminal = PLAIN, home: str = ""
) -> list[str]:
    """The lines of `auth-agent status`.

    Args:
        told: what the agent answered.
        now: Unix time in seconds.
        version: of this command; an agent that is older is pointed out.
        terminal: where it is shown.
        home: the person's directory, which paths in it are shown without.

    """
    about, records = _map(told.get("agent")), told.get("accounts")
    listed = [_map(record) for record in records] if isinstance(records, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any list from the agent
    store = _map(about.get("store"))
    fails = store.get("state") not in (None, "ready")
    blocks = [
        *_blocks(listed, now, terminal, default=about.get("default"), store_fails=fails),
        *([] if listed else [_how_to_begin(terminal)]),
        _agent_block(about, listed, now, terminal, home),
        *_upgrade(about, version, terminal),
    ]
    return _separated(blocks)


def status_lines(records: Iterable[Mapping[str, object]], now: float, terminal: Terminal = PLAIN) -> list[str]:
    """A block of lines an account; `now` is Unix time in seconds."""
    return _separated(_blocks(list(records), now, terminal))


def change(record: Mapping[str, object], now: float, terminal: Terminal = PLAIN, head: str = "") -> list[str]:
    """What a record says now, in a line, or in the lines that it takes, after that head; `now` is Unix time."""
    found = condition(record, now)
    # Two blanks after the name, one of them its own.
    name = Piece(f"{printable(record.get('account')) or '-'} ", "strong", whole=True)
    further = [found.problem, found.more if record.get("state") == READY else "", _next(record, now)]
    said = ", ".join(filter(None, further))
    end = ":" if found.problem else "," if said else ""
    pieces = [name, Piece(f"{found.words}{end}", found.kind if found.kind != "off" else ""), Piece(said)]
    return terminal.wrap(f"{head}{terminal.mark(found.kind)} ", pieces)


# ---- accounts


def _blocks(
    records: Sequence[Mapping[str, object]],
    now: float,
    terminal: Terminal,
    *,
    default: object = None,
    store_fails: bool = False,
) -> list[list[str]]:
    names = [_Name(record, default) for record in records]
    most = None if terminal.width is None else int(terminal.width * _NAME_SHARE)
    beside = max((name.columns for name in names if most is None or name.columns <= most), default=0)
    return [
        _block(record, name, beside, now, terminal, condition(record, now, store_fails=store_fails))
        for record, name in zip(records, names, strict=True)
    ]


class _Name:
    """An account's name, as it heads a block."""

    def __init__(self, record: Mapping[str, object], default: object) -> None:
        self.text = printable(record.get("account")) or "-"
        self.remark = " (default)" if default is not None and record.get("account") == default else ""
        self.columns = columns(self.text + self.remark)

    def styled(self, terminal: Terminal) -> str:
        return terminal.styled(self.text, "strong") + terminal.styled(self.remark, "label")


def _block(
    record: Mapping[str, object], name: _Name, beside: int, now: float, terminal: Terminal, found: Condition
) -> list[str]:
    mark = terminal.mark(found.kind)
    end = session_end(record, now)
    if name.columns <= beside:
        head = f"{mark} {name.styled(terminal)}{' ' * (beside - name.columns)}  "
        lines = terminal.wrap(head, _state(found))
    else:
        whole = [Piece(name.text, "strong"), *([Piece(name.remark.strip(), "label")] if name.remark else [])]
        lines = [*terminal.wrap(f"{mark} ", whole), *_field("state", _state(found), terminal)]
    return [
        *lines,
        *_field("login", _login(record), terminal),
        *_field("refresh", _refresh(record, now), terminal),
        *_field("session", "" if end == found.problem else end, terminal),
        *_field("problem", found.problem, terminal, found.kind),
        *_help(found.remedy, terminal),
    ]


def _state(found: Condition) -> list[Piece]:
    words = f"{found.words}," if found.more else found.words
    style = "" if found.kind == "off" else found.kind
    return [Piece(words, style), *([Piece(found.more)] if found.more else [])]


def _login(record: Mapping[str, object]) -> list[Piece]:
    """Who is logged in where; on two lines rather than with either of them broken."""
    name, subject = printable(record.get("name")), printable(record.get("subject"), _LONGEST)
    issuer = printable(record.get("issuer"), _LONGEST)
    who = f"{name} ({subject})" if name and subject and name != subject else name or subject
    if who and issuer:
        return [Piece(who, whole=True), Piece(f"at {issuer}", whole=True)]
    return [Piece(who or issuer)]


def _refresh(record: Mapping[str, object], now: float) -> str:
    """When the next refresh is, and which there were."""
    last, count = number(record.get("last_refresh_at")), number(record.get("refreshes"))
    if last is None:
        return _next(record, now, label="")
    if count:
        history = f"{count:.0f} so far, the last one {ago(now - last)}"
    else:
        history = f"none yet, logged in {ago(now - last)}"
    return "; ".join(filter(None, [_next(record, now, label=""), history]))


def _next(record: Mapping[str, object], now: float, label: str = "refresh ") -> str:
    renewal, due = record.get("renewal"), number(record.get("refresh_at"))
    if renewal == RUNNING:
        return f"{label}now"
    if due is None or renewal not in (IDLE, RETRYING):
        return ""
    when = f"in {duration(due - now)}" if due - now >= 1 else "now"
    return f"next attempt {when}" if renewal == RETRYING else f"{label}{when}"


# ---- the agent


def _agent_block(
    about: Mapping[str, object], records: Sequence[Mapping[str, object]], now: float, terminal: Terminal, home: str
) -> list[str]:
    version, pid, since = printable(about.get("version")), about.get("pid"), number(about.get("started_at"))
    said = [
        f"version {version}" if version else "",
        f"process {pid}" if isinstance(pid, int) else "",
        "" if since is None else f"running for {duration(now - since)}",
    ]
    refused = _map(about.get("restart_refused"))
    at = number(refused.get("at"))
    why = printable(refused.get("reason"), 2 * _LONGEST)
    helps = remedies_from_wire(refused.get("remedy"))
    return [
        *_field("agent", ", ".join(filter(None, said)), terminal),
        *_field("socket", _path(about.get("socket"), home), terminal),
        *_field("config", _path(about.get("config"), home), terminal),
        *_store_lines(_map(about.get("store")), records, terminal),
        *_field("restart", f"refused {ago(now - at)}: {why}" if at is not None and why else "", terminal, "warning"),
        *_help(helps if at is not None and why else (), terminal),
    ]


def _path(path: object, home: str) -> str:
    """A path as a person writes it."""
    shown, home = printable(path, _LONGEST_PATH), home.rstrip("/")
    return f"~{shown.removeprefix(home)}" if home and shown.startswith(f"{home}/") else shown


def _store_lines(store: Mapping[str, object], records: Sequence[Mapping[str, object]], terminal: Terminal) -> list[str]:
    """Where sessions are kept, what is wrong there and what helps, and what a reboot would lose."""
    problem, remedy = printable(store.get("problem"), _LONGEST), remedies_from_wire(store.get("remedy"))
    unread = number(store.get("unread")) or 0
    if not is_persistent(store):
        kept, problem, remedy = "sessions are kept in memory only", "", ()
    elif store.get("state") == "missing":
        kept, remedy = "sessions are kept in memory only, for now", remedy or (remedies.start_keyring(),)
    else:
        backend = printable(store.get("backend"))
        kept = f"sessions are kept in {_KEYRINGS.get(backend, f'the keyring {backend}'.strip())}"
    loss, style = _loss(store, records)
    return [
        *_field("store", kept, terminal),
        *_field("problem", problem, terminal, "bad"),
        *_help(remedy, terminal),
        *_field("unread", f"{_sessions(unread)} still to be read from there" if unread else "", terminal),
        *_field("reboot", [Piece(loss, style)], terminal),
    ]


def _loss(store: Mapping[str, object], records: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """What a reboot would lose, and in which style that is said."""
    if not is_persistent(store) or store.get("state") == "missing":
        return "would lose every session, as the agent's end does", "warning"
    at_stake = accounts_at_stake({"agent": {"store": store}, "accounts": list(records)})
    if at_stake:
        return f"would lose what is not saved yet: {printable(', '.join(at_stake), _LONGEST)}", "warning"
    unsaved = number(store.get("unsaved")) or 0
    if unsaved:
        return f"would lose what is not saved yet of {_sessions(unsaved)}", "warning"
    return "would lose nothing", ""


def _sessions(count: float) -> str:
    return f"{count:.0f} session" + ("" if count == 1 else "s")


def _how_to_begin(terminal: Terminal) -> list[str]:
    line = "auth-agent login NAME --issuer URL --client-id ID"
    return [
        *terminal.wrap("", [Piece("There are no accounts yet. To begin:")]),
        *terminal.wrap("  ", [Piece(line, "strong", whole=True)]),
    ]


def _upgrade(about: Mapping[str, object], version: str, terminal: Terminal) -> list[list[str]]:
    theirs = printable(about.get("version"))
    if not theirs or _numbers(theirs) >= _numbers(version):
        return []
    text = f"The agent is of version {theirs}, and {version} is installed;"
    return [terminal.wrap("", [Piece(text, "warning"), *_pieces(remedies.restart())])]


def _numbers(version: str) -> list[int]:
    """A version's numbers, which order it well enough."""
    return [int(digits[:9]) for digits in re.findall(r"[0-9]+", version)]


# ---- lines


def _field(label: str, content: str | Sequence[Piece], terminal: Terminal, style: str = "label") -> list[str]:
    """A label in that style, and what stands beside it; nothing where that is nothing."""
    pieces = [Piece(content)] if isinstance(content, str) else content
    if not any(piece.text for piece in pieces):
        return []
    return terminal.wrap(f"  {terminal.styled(label, style)}{' ' * (_LABEL - len(label))}  ", pieces)


def _help(remedy: Iterable[Remedy], terminal: Terminal) -> list[str]:
    """What helps, a line or more each, the first of them labelled.

    A command that there is no room for beside the label stands on a line of its own, to be copied whole.
    """
    lines: list[str] = []
    for one in remedy:
        pieces = _pieces(one)
        beside = len(pieces) == 1 or terminal.width is None or columns(pieces[1].text) <= terminal.width - _LABEL - 4
        lines += _field("" if lines else "help", pieces if beside else pieces[:1], terminal)
        if not beside:
            lines.append(f"    {terminal.styled(pieces[1].text, 'strong')}")
    return lines


def _pieces(remedy: Remedy) -> list[Piece]:
    """What helps in words and, in bold, the command: no other text is shown so."""
    text, line = printable(remedy.text, _LONGEST), printable(remedy.line, _LONGEST_PATH)
    return [Piece(f"{text}:"), Piece(line, "strong", whole=True)] if line else [Piece(text)]


def _separated(blocks: Iterable[list[str]]) -> list[str]:
    return [line for block in blocks if block for line in ("", *block)][1:]


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] -- any map from the agent
