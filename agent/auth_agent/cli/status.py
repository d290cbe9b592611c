"""How a person is shown sessions. Plain, for now."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from auth_agent.printable import printable

_HEAD: Final = ("ACCOUNT", "USER", "STATE", "GOOD FOR", "NEXT REFRESH")
# How people call the keyrings.
_KEYRINGS: Final = {
    "keyring.backends.SecretService.Keyring": "the system keyring (Secret Service)",
    "keyring.backends.macOS.Keyring": "the login keychain",
}
_UNSAVED: Final = "not saved yet: it would end with the agent"
_UNDELETED: Final = "not deleted from there yet"


def store_lines(store: Mapping[str, object], records: Iterable[Mapping[str, object]]) -> list[str]:
    """Where sessions are kept, what is wrong there and what helps, and what it lacks still."""
    if store.get("name") == "memory":
        return ["sessions are kept in memory: they end with the agent"]
    backend = str(store.get("backend"))
    keyring = _KEYRINGS.get(backend, f"the keyring {printable(backend)}")
    problem, remedy = printable(store.get("problem"), 300), printable(store.get("remedy"), 300)
    if store.get("state") == "missing":
        return [f"sessions are kept in memory only, and end with the agent: {problem}"]
    lines = [f"sessions are kept in {keyring}"]
    if problem:
        lines.append(f"  {problem}")
    if remedy:
        lines.append(f"  {remedy}")
    unread = store.get("unread")
    unsaved = [printable(one.get("account")) for one in records if one.get("saved") is False]
    if unread:
        lines.append(f"  still to be read: {unread}")
    if unsaved:
        lines.append(f"  still to be saved: {printable(', '.join(unsaved), 300)}")
    return lines


def status_lines(records: Iterable[Mapping[str, object]], now: float) -> list[str]:
    """A table of the records under a head, what is wrong with one below it; `now` is Unix time in seconds."""
    listed = list(records)
    rows = [_HEAD, *(_row(record, now) for record in listed)]
    remarks = [[], *(_remarks(record) for record in listed)]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines: list[str] = []
    for row, remark in zip(rows, remarks, strict=True):
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        lines.extend(f"{' ' * widths[0]}  {text}" for text in remark)
    return lines


def change(record: Mapping[str, object], now: float) -> str:
    """What a record says now, in one line: the account, its state, and what comes next; `now` is Unix time."""
    account, state = printable(record.get("account")), printable(record.get("state"))
    parts: list[str] = []
    if state == "ready":
        parts.append(f"good for {_span(record.get('expires_at'), now)}")
    renewal, reason = record.get("renewal"), printable(record.get("reason"), 300)
    if renewal == "running":
        parts.append("refreshing")
    elif renewal in ("idle", "retrying"):
        parts.append(f"{'next refresh' if renewal == 'idle' else 'retry'} in {_span(record.get('refresh_at'), now)}")
    parts += [reason] if reason else []
    parts += _unsaved(record)
    return f"{account}  {state}  {', '.join(parts)}".rstrip()


def _remarks(record: Mapping[str, object]) -> list[str]:
    # Why a session is locked is the store's trouble, which stands above the table.
    reason = "" if record.get("state") == "locked" else printable(record.get("reason"), 300)
    return [*([reason] if reason else []), *_unsaved(record)]


def _unsaved(record: Mapping[str, object]) -> list[str]:
    if record.get("saved") is not False:
        return []
    return [_UNDELETED if record.get("state") == "logged_out" else _UNSAVED]


def _width(text: str) -> int:
    """How many columns a terminal gives a text: two for a wide character, none for one that combines."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _row(record: Mapping[str, object], now: float) -> tuple[str, ...]:
    renewal, refresh_at = record.get("renewal"), record.get("refresh_at")
    following = "now" if renewal == "running" else _span(refresh_at, now)
    return (
        printable(record.get("account")),
        printable(record.get("name") or record.get("subject"), 40) or "-",
        printable(record.get("state")),
        _span(record.get("expires_at"), now),
        following,
    )


def _span(until: object, now: float) -> str:
    """How long it is until then, in the two largest units."""
    if not isinstance(until, (int, float)) or not math.isfinite(until):
        return "-"
    seconds = int(until - now)
    if seconds <= 0:
        return "0s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"
