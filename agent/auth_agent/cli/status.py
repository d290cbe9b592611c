"""How a person is shown sessions. Plain, for now."""

import math
import unicodedata
from collections.abc import Iterable, Mapping

from auth_agent.printable import printable

_HEAD = ("ACCOUNT", "USER", "STATE", "GOOD FOR", "NEXT REFRESH")


def status_lines(records: Iterable[Mapping[str, object]], now: float) -> list[str]:
    """A table of the records under a head, what is wrong with one below it; `now` is Unix time in seconds."""
    listed = list(records)
    rows = [_HEAD, *(_row(record, now) for record in listed)]
    reasons = ["", *(printable(record.get("reason")) for record in listed)]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines: list[str] = []
    for row, reason in zip(rows, reasons, strict=True):
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if reason:
            lines.append(f"{' ' * widths[0]}  {reason}")
    return lines


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
