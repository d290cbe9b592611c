"""Format the agent and its sessions for a terminal: `auth-agent status`, and a line of `auth-agent watch`.

Pure: the functions take the result of `status`, the time and a `Terminal`, and return lines.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from auth_agent import remedies
from auth_agent.cli.condition import Condition, ago, condition_of, number, session_end
from auth_agent.cli.stake import accounts_at_stake, is_persistent
from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns, duration
from auth_agent.printable import printable
from auth_agent_client.messages import IDLE, READY, RETRYING, RUNNING
from auth_agent_client.remedy import Remedy, remedies_from_wire

# The names of the keyrings that people know.
_KEYRINGS: Final = {
    "keyring.backends.SecretService.Keyring": "the system keyring (Secret Service)",
    "keyring.backends.macOS.Keyring": "the login keychain",
}
# What people call the other stores.
_STORES: Final = {"file": "a sealed file"}
_LABEL: Final = 7  # columns, of the longest label
# A name that takes a larger share of the line leaves no room for the state beside it.
_NAME_SHARE: Final = 0.45
_MAX_LENGTH: Final = 300  # characters of a string from outside
_MAX_PATH: Final = 4096  # as on Linux


class Reboot(NamedTuple):
    """Whether something starts the agent after a reboot, and what helps if nothing does."""

    starts: bool
    remedy: tuple[Remedy, ...] = ()


def overview(
    status: Mapping[str, object],
    now: float,
    version: str,
    terminal: Terminal = PLAIN,
    home: str = "",
    reboot: Reboot | None = None,
) -> list[str]:
    """Return the lines of `auth-agent status`.

    Args:
        status: the result of `status`.
        now: Unix time in seconds.
        version: the version of this command; an older agent is pointed out.
        terminal: the terminal that shows the lines.
        home: the home directory, which is shown as `~`.
        reboot: what starts the agent after a reboot; None: it is not known.

    """
    agent, records = _map(status.get("agent")), status.get("accounts")
    listed = [_map(record) for record in records] if isinstance(records, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any list from the agent
    store = _map(agent.get("store"))
    fails, is_locked = store.get("state") not in (None, "ready"), agent.get("locked") is True
    blocks = [
        *_blocks(listed, now, terminal, default=agent.get("default"), store_fails=fails, agent_locked=is_locked),
        *([] if listed else [_how_to_begin(terminal)]),
        _file_lines(agent, listed, now, terminal, home),
        [*_agent_block(agent, now, terminal, home), *_reboot_lines(store, listed, terminal, reboot)],
        *_upgrade(agent, version, terminal),
    ]
    return _separated(blocks)


def status_lines(records: Iterable[Mapping[str, object]], now: float, terminal: Terminal = PLAIN) -> list[str]:
    """Return a block of lines for each account; `now` is Unix time in seconds."""
    return _separated(_blocks(list(records), now, terminal))


def change(record: Mapping[str, object], now: float, terminal: Terminal = PLAIN, head: str = "") -> list[str]:
    """Return the condition of a record in one wrapped line, after `head`; `now` is Unix time in seconds."""
    condition = condition_of(record, now)
    # Two spaces after the name: one belongs to the name.
    name = Piece(f"{printable(record.get('account')) or '-'} ", "strong", whole=True)
    further = [condition.problem, condition.more if record.get("state") == READY else "", _next(record, now)]
    details = ", ".join(filter(None, further))
    end = ":" if condition.problem else "," if details else ""
    pieces = [name, Piece(f"{condition.words}{end}", condition.kind if condition.kind != "off" else ""), Piece(details)]
    return terminal.wrap(f"{head}{terminal.mark(condition.kind)} ", pieces)


# ---- accounts


def _blocks(
    records: Sequence[Mapping[str, object]],
    now: float,
    terminal: Terminal,
    *,
    default: object = None,
    store_fails: bool = False,
    agent_locked: bool = False,
) -> list[list[str]]:
    names = [_Name(record, default) for record in records]
    max_columns = None if terminal.width is None else int(terminal.width * _NAME_SHARE)
    beside = max((name.columns for name in names if max_columns is None or name.columns <= max_columns), default=0)
    return [
        _block(record, name, beside, now, terminal, condition)
        for record, name in zip(records, names, strict=True)
        for condition in [condition_of(record, now, store_fails=store_fails, agent_locked=agent_locked)]
    ]


class _Name:
    """An account's name, at the head of a block."""

    def __init__(self, record: Mapping[str, object], default: object) -> None:
        self.text = printable(record.get("account")) or "-"
        self.remark = " (default)" if default is not None and record.get("account") == default else ""
        self.columns = columns(self.text + self.remark)

    def styled(self, terminal: Terminal) -> str:
        return terminal.styled(self.text, "strong") + terminal.styled(self.remark, "label")


def _block(
    record: Mapping[str, object], name: _Name, beside: int, now: float, terminal: Terminal, condition: Condition
) -> list[str]:
    mark = terminal.mark(condition.kind)
    end = session_end(record, now)
    if name.columns <= beside:
        head = f"{mark} {name.styled(terminal)}{' ' * (beside - name.columns)}  "
        lines = terminal.wrap(head, _state(condition))
    else:
        whole = [Piece(name.text, "strong"), *([Piece(name.remark.strip(), "label")] if name.remark else [])]
        lines = [*terminal.wrap(f"{mark} ", whole), *_field("state", _state(condition), terminal)]
    return [
        *lines,
        *_field("login", _login(record), terminal),
        *_field("refresh", _refresh(record, now), terminal),
        *_field("session", "" if end == condition.problem else end, terminal),
        *_field("problem", condition.problem, terminal, condition.kind),
        *_help(condition.remedy, terminal),
    ]


def _state(condition: Condition) -> list[Piece]:
    words = f"{condition.words}," if condition.more else condition.words
    style = "" if condition.kind == "off" else condition.kind
    return [Piece(words, style), *([Piece(condition.more)] if condition.more else [])]


def _login(record: Mapping[str, object]) -> list[Piece]:
    """Return who is logged in and where; neither is broken across lines."""
    name, subject = printable(record.get("name")), printable(record.get("subject"), _MAX_LENGTH)
    issuer = printable(record.get("issuer"), _MAX_LENGTH)
    user = f"{name} ({subject})" if name and subject and name != subject else name or subject
    if user and issuer:
        return [Piece(user, whole=True), Piece(f"at {issuer}", whole=True)]
    return [Piece(user or issuer)]


def _refresh(record: Mapping[str, object], now: float) -> str:
    """Return when the next refresh is, how many there were, and when the last one was."""
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


# ---- files


def _file_lines(
    agent: Mapping[str, object],
    records: Sequence[Mapping[str, object]],
    now: float,
    terminal: Terminal,
    home: str,
) -> list[str]:
    """Return what the files hold. Why an account has no token is said of the account."""
    files = agent.get("files")
    served = {printable(record.get("account")) for record in records if record.get("state") == READY}
    lines: list[str] = []
    for file in map(_map, files if isinstance(files, list) else []):  # pyright: ignore[reportUnknownArgumentType] -- any list from the agent
        account, kind = printable(file.get("account")), "ID token" if file.get("kind") == "id" else "access token"
        end, is_present = number(file.get("expires_at")), file.get("present") is True
        words = [f"{account}'s {kind}", f"valid for {duration(end - now)}" if end is not None else ""]
        held = ", ".join(filter(None, words)) if is_present else f"no {kind} of {account}"
        lines += _field("file", [Piece(_path(file.get("path"), home), whole=True), Piece(f"({held})")], terminal)
        reason = printable(file.get("reason"), _MAX_PATH) if account in served else ""
        lines += _field("problem", reason, terminal, "warning")
        lines += _help(remedies_from_wire(file.get("remedy")) if reason else (), terminal)
    return lines


# ---- the agent


def _agent_block(agent: Mapping[str, object], now: float, terminal: Terminal, home: str) -> list[str]:
    version, pid, since = printable(agent.get("version")), agent.get("pid"), number(agent.get("started_at"))
    parts = [
        f"version {version}" if version else "",
        f"process {pid}" if isinstance(pid, int) else "",
        "" if since is None else f"running for {duration(now - since)}",
    ]
    refused = _map(agent.get("restart_refused"))
    at = number(refused.get("at"))
    reason = printable(refused.get("reason"), 2 * _MAX_LENGTH)
    remedy = remedies_from_wire(refused.get("remedy"))
    return [
        *_field("agent", ", ".join(filter(None, parts)), terminal),
        *_lock_lines(agent, terminal),
        *_field("socket", _path(agent.get("socket"), home), terminal),
        *_socket_lines(agent, terminal),
        *_field("config", _path(agent.get("config"), home), terminal),
        *_store_lines(_map(agent.get("store")), terminal),
        *_field(
            "restart", f"refused {ago(now - at)}: {reason}" if at is not None and reason else "", terminal, "warning"
        ),
        *_help(remedy if at is not None and reason else (), terminal),
    ]


def _socket_lines(agent: Mapping[str, object], terminal: Terminal) -> list[str]:
    """Return what is wrong with the socket, and what helps."""
    problem = _map(agent.get("socket_problem"))
    reason = printable(problem.get("reason"), 2 * _MAX_LENGTH)
    return [
        *_field("", reason, terminal, "warning"),
        *_help(remedies_from_wire(problem.get("remedy")) if reason else (), terminal),
    ]


def _lock_lines(agent: Mapping[str, object], terminal: Terminal) -> list[str]:
    """Return that the agent is locked, and what is still in its memory."""
    lock = _map(agent.get("lock"))
    if not lock:
        return []
    pending = lock.get("pending")
    names = [str(name) for name in pending] if isinstance(pending, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any list from the agent
    if lock.get("keep_alive") is True:
        text = "serves nobody; sessions are refreshed"
    elif names:
        text = f"serves nobody; not in the store yet, and so in memory: {printable(', '.join(names), _MAX_LENGTH)}"
    else:
        text = "serves nobody, and has no secret in memory"
    return [*_field("locked", text, terminal, "warning"), *_help((remedies.unlock(),), terminal)]


def _path(path: object, home: str) -> str:
    """Return the path with `~` for the home directory."""
    shown, home = printable(path, _MAX_PATH), home.rstrip("/")
    return f"~{shown.removeprefix(home)}" if home and shown.startswith(f"{home}/") else shown


def _store_lines(store: Mapping[str, object], terminal: Terminal) -> list[str]:
    """Return where sessions are kept, what is wrong there, and what helps."""
    problem, remedy = printable(store.get("problem"), _MAX_LENGTH), remedies_from_wire(store.get("remedy"))
    unread = number(store.get("unread")) or 0
    if not is_persistent(store):
        location, problem, remedy = "sessions are kept in memory only", "", ()
    elif store.get("state") == "missing":
        location, remedy = (
            "sessions are kept in memory only, for now",
            remedy or (remedies.start_keyring(), remedies.move_to_file()),
        )
    else:
        location = f"sessions are kept in {store_name(store)}"
    return [
        *_field("store", location, terminal),
        *_field("problem", problem, terminal, "bad"),
        *_help(remedy, terminal),
        *_field("unread", f"{_sessions(unread)} still to be read from the store" if unread else "", terminal),
    ]


def _reboot_lines(
    store: Mapping[str, object], records: Sequence[Mapping[str, object]], terminal: Terminal, reboot: Reboot | None
) -> list[str]:
    """Return what a reboot would lose, and whether the agent comes back."""
    loss, style = _loss(store, records)
    if reboot is None:
        return _field("reboot", [Piece(loss, style)], terminal)
    if reboot.starts:
        return _field("reboot", [Piece(f"{loss};", style), Piece("the service starts the agent again")], terminal)
    pieces = [Piece(f"{loss}, but", style), Piece("nothing starts the agent again", "warning")]
    return [*_field("reboot", pieces, terminal), *_help(reboot.remedy, terminal)]


def store_name(store: Mapping[str, object]) -> str:
    """Return what people call a persistent store; a keyring by its backend's class."""
    backend = printable(store.get("backend"))
    return _STORES.get(printable(store.get("name"))) or _KEYRINGS.get(backend, f"the keyring {backend}".strip())


def _loss(store: Mapping[str, object], records: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Return what a reboot would lose, and the style to show that in."""
    if not is_persistent(store) or store.get("state") == "missing":
        return "would lose every session, and so would the end of the agent", "warning"
    at_stake = accounts_at_stake({"agent": {"store": store}, "accounts": list(records)})
    if at_stake:
        return f"would lose what is not saved yet: {printable(', '.join(at_stake), _MAX_LENGTH)}", "warning"
    unsaved = number(store.get("unsaved")) or 0
    if unsaved:
        return f"would lose the unsaved changes of {_sessions(unsaved)}", "warning"
    return "would lose nothing", ""


def _sessions(count: float) -> str:
    return f"{count:.0f} session" + ("" if count == 1 else "s")


def _how_to_begin(terminal: Terminal) -> list[str]:
    line = "auth-agent login NAME --issuer URL --client-id ID"
    return [
        *terminal.wrap("", [Piece("There are no accounts yet. To begin:")]),
        *terminal.wrap("  ", [Piece(line, "strong", whole=True)]),
    ]


def _upgrade(agent: Mapping[str, object], version: str, terminal: Terminal) -> list[list[str]]:
    running = printable(agent.get("version"))
    if not running or _numbers(running) >= _numbers(version):
        return []
    text = f"The agent runs version {running}, but {version} is installed;"
    return [terminal.wrap("", [Piece(text, "warning"), *_pieces(remedies.restart())])]


def _numbers(version: str) -> list[int]:
    """Return the numbers in a version, which order versions well enough."""
    return [int(digits[:9]) for digits in re.findall(r"[0-9]+", version)]


# ---- lines


def _field(label: str, content: str | Sequence[Piece], terminal: Terminal, style: str = "label") -> list[str]:
    """Return a label and the content beside it; no lines if the content is empty."""
    pieces = [Piece(content)] if isinstance(content, str) else content
    if not any(piece.text for piece in pieces):
        return []
    return terminal.wrap(f"  {terminal.styled(label, style)}{' ' * (_LABEL - len(label))}  ", pieces)


def _help(remedy: Iterable[Remedy], terminal: Terminal) -> list[str]:
    """Return a line for each remedy, the first one with a label.

    A command that doesn't fit beside the label has its own line, to be copied whole.
    """
    lines: list[str] = []
    for item in remedy:
        pieces = _pieces(item)
        beside = len(pieces) == 1 or terminal.width is None or columns(pieces[1].text) <= terminal.width - _LABEL - 4
        lines += _field("" if lines else "help", pieces if beside else pieces[:1], terminal)
        if not beside:
            lines.append(f"    {terminal.styled(pieces[1].text, 'strong')}")
    return lines


def _pieces(remedy: Remedy) -> list[Piece]:
    """Return a remedy's text and, in bold, its command; nothing else is shown in bold after a label."""
    text, line = printable(remedy.text, _MAX_LENGTH), printable(remedy.line, _MAX_PATH)
    return [Piece(f"{text}:"), Piece(line, "strong", whole=True)] if line else [Piece(text)]


def _separated(blocks: Iterable[list[str]]) -> list[str]:
    return [line for block in blocks if block for line in ("", *block)][1:]


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] -- any map from the agent
