"""How a person is shown what a provider tells of a user: `auth-agent profile` and `auth-agent user`."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from auth_agent.cli.condition import ago
from auth_agent.cli.json_text import json_text
from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns
from auth_agent.printable import printable
from auth_agent_client import Profile

_LONGEST: Final = 2000  # characters of a value; `--json` has all of it
_LONGEST_NAME: Final = 200
# A name that takes more columns, or more of a line, stands on a line of its own, above its value.
_WIDEST_NAME: Final = 32
_NAME_SHARE: Final = 0.4
_VERIFIED: Final = "✓"

_Row = tuple[str, Sequence[Piece]]


def profile_lines(profile: Profile, now: float, look: Terminal = PLAIN) -> list[str]:
    """The lines of `auth-agent profile`; `now` is Unix time in seconds."""
    known: dict[str, _Row] = {
        "email": ("email", _email(profile, look)),
        "given_name": ("given", _text(profile.given_name)),
        "family_name": ("family", _text(profile.family_name)),
        "nickname": ("nickname", _text(profile.nickname)),
        "picture": ("picture", _text(profile.picture, whole=True)),
        "sub": ("subject", _text(profile.sub, whole=True)),
        "updated_at": ("updated", _moment(profile.updated_at, now)),
    }
    rows = [row for row in known.values() if row[1]]
    said = {name for name, (_, pieces) in known.items() if pieces}
    said |= {"name"} if profile.name else set[str]()
    said |= {"email_verified"} if profile.email and profile.email_verified is not None else set[str]()
    others = [_row(name, value, look) for name, value in profile.claims.items() if name not in said]
    if profile.stale:
        when = " ".join(piece.text for piece in _moment(profile.fetched_at, now)) or "an unknown time"
        note = f"as of {when}; the provider could not be asked"
        rows.append(("stale", [Piece(note, "warning")]))
    width = max((columns(label) for label, _ in rows), default=0)
    return [
        *_head(profile, look),
        *_table(rows, look, width, "label"),
        *([""] if others else []),
        *_table(others, look, max(width, _beside(others, look))),
    ]


def user_lines(user: Mapping[str, object], look: Terminal = PLAIN) -> list[str]:
    """The lines of `auth-agent user`."""
    rows = [_row(name, value, look) for name, value in user.items()]
    return _table(rows, look, _beside(rows, look), indent="")


def _head(profile: Profile, look: Terminal) -> list[str]:
    mark = look.mark("warning" if profile.stale else "good")
    account = look.styled(printable(profile.account), "strong")
    return look.wrap(f"{mark} {account}  ", [Piece(printable(profile.name, _LONGEST_NAME))])


def _text(value: str | None, *, whole: bool = False) -> list[Piece]:
    return [Piece(printable(value, _LONGEST), whole=whole)] if value else []


def _email(profile: Profile, look: Terminal) -> list[Piece]:
    pieces = _text(profile.email, whole=True)
    if pieces and profile.email_verified is True:
        mark = f"{_VERIFIED} " if look.can_show(_VERIFIED) else ""
        pieces.append(Piece(f"{mark}verified", "good", whole=True))
    elif pieces and profile.email_verified is False:
        pieces.append(Piece("not verified", "warning", whole=True))
    return pieces


def _moment(at: float | None, now: float) -> list[Piece]:
    """A date and a time of day, here, and how long ago that was."""
    if at is None:
        return []
    try:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return []
    return [Piece(f"{date}, {ago(now - at)}" if at <= now else date)]


def _row(name: str, value: object, look: Terminal) -> _Row:
    text = value if isinstance(value, str) and value else json_text(value, look, indent=None)
    return printable(name, _LONGEST_NAME) or '""', [Piece(printable(text, _LONGEST))]


def _beside(rows: Sequence[_Row], look: Terminal) -> int:
    """How wide the column of names is, in which the widest have no place."""
    most = _WIDEST_NAME if look.width is None else min(_WIDEST_NAME, int(look.width * _NAME_SHARE))
    return max((width for name, _ in rows if (width := columns(name)) <= most), default=2)


def _table(rows: Sequence[_Row], look: Terminal, width: int, style: str = "", indent: str = "  ") -> list[str]:
    lines: list[str] = []
    for name, pieces in rows:
        pad = " " * (width - columns(name))
        if columns(name) <= width or look.width is None:
            lines += look.wrap(f"{indent}{look.styled(name, style)}{pad}  ", pieces)
        else:
            lines += look.wrap(indent, [Piece(name, style)])
            lines += look.wrap(f"{indent}{' ' * width}  ", pieces)
    return lines
