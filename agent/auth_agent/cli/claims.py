"""Format the claims of a user for a terminal: `auth-agent profile` and `auth-agent user`."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from auth_agent.cli.condition import ago
from auth_agent.cli.json_text import json_text
from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns
from auth_agent.printable import printable
from auth_agent_client import Profile

_MAX_VALUE: Final = 2000  # characters of a value; `--json` has all of it
_MAX_NAME: Final = 200
# A name that needs more columns, or a larger share of the line, has its own line above its value.
_WIDEST_NAME: Final = 32
_NAME_SHARE: Final = 0.4
_VERIFIED: Final = "✓"

_Row = tuple[str, Sequence[Piece]]


def profile_lines(profile: Profile, now: float, terminal: Terminal = PLAIN) -> list[str]:
    """Return the lines of `auth-agent profile`; `now` is Unix time in seconds."""
    known: dict[str, _Row] = {
        "email": ("email", _email(profile, terminal)),
        "given_name": ("given", _string(profile.given_name)),
        "family_name": ("family", _string(profile.family_name)),
        "nickname": ("nickname", _string(profile.nickname)),
        "picture": ("picture", _string(profile.picture, whole=True)),
        "sub": ("subject", _string(profile.sub, whole=True)),
        "updated_at": ("updated", _moment(profile.updated_at, now)),
    }
    rows = [row for row in known.values() if row[1]]
    shown = {name for name, (_, pieces) in known.items() if pieces}
    shown |= {"name"} if profile.name else set[str]()
    shown |= {"email_verified"} if profile.email and profile.email_verified is not None else set[str]()
    others = [_row(name, value, terminal) for name, value in profile.claims.items() if name not in shown]
    if profile.stale:
        when = " ".join(piece.text for piece in _moment(profile.fetched_at, now)) or "an unknown time"
        note = f"as of {when}; the provider gave no newer ones"
        rows.append(("stale", [Piece(note, "warning")]))
    width = max((columns(label) for label, _ in rows), default=0)
    return [
        *_head(profile, terminal),
        *_table(rows, terminal, width, "label"),
        *([""] if others else []),
        *_table(others, terminal, max(width, _names_width(others, terminal))),
    ]


def user_lines(user: Mapping[str, object], terminal: Terminal = PLAIN) -> list[str]:
    """Return the lines of `auth-agent user`."""
    rows = [_row(name, value, terminal) for name, value in user.items()]
    return _table(rows, terminal, _names_width(rows, terminal), indent="")


def _head(profile: Profile, terminal: Terminal) -> list[str]:
    mark = terminal.mark("warning" if profile.stale else "good")
    account = terminal.styled(printable(profile.account), "strong")
    return terminal.wrap(f"{mark} {account}  ", [Piece(printable(profile.name, _MAX_NAME))])


def _string(value: str | None, *, whole: bool = False) -> list[Piece]:
    return [Piece(printable(value, _MAX_VALUE), whole=whole)] if value else []


def _email(profile: Profile, terminal: Terminal) -> list[Piece]:
    pieces = _string(profile.email, whole=True)
    if pieces and profile.email_verified is True:
        mark = f"{_VERIFIED} " if terminal.can_show(_VERIFIED) else ""
        pieces.append(Piece(f"{mark}verified", "good", whole=True))
    elif pieces and profile.email_verified is False:
        pieces.append(Piece("not verified", "warning", whole=True))
    return pieces


def _moment(at: float | None, now: float) -> list[Piece]:
    """Return the local date and time, and how long ago that was."""
    if at is None:
        return []
    try:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return []
    return [Piece(f"{date}, {ago(now - at)}" if at <= now else date)]


def _row(name: str, value: object, terminal: Terminal) -> _Row:
    string = value if isinstance(value, str) and value else json_text(value, terminal, indent=None)
    return printable(name, _MAX_NAME) or '""', [Piece(printable(string, _MAX_VALUE))]


def _names_width(rows: Sequence[_Row], terminal: Terminal) -> int:
    """Return the width of the column of names; names that are too wide for it are not counted."""
    max_width = _WIDEST_NAME if terminal.width is None else min(_WIDEST_NAME, int(terminal.width * _NAME_SHARE))
    return max((width for name, _ in rows if (width := columns(name)) <= max_width), default=2)


def _table(rows: Sequence[_Row], terminal: Terminal, width: int, style: str = "", indent: str = "  ") -> list[str]:
    lines: list[str] = []
    for name, pieces in rows:
        pad = " " * (width - columns(name))
        if columns(name) <= width or terminal.width is None:
            lines += terminal.wrap(f"{indent}{terminal.styled(name, style)}{pad}  ", pieces)
        else:
            lines += terminal.wrap(indent, [Piece(name, style)])
            lines += terminal.wrap(f"{indent}{' ' * width}  ", pieces)
    return lines
