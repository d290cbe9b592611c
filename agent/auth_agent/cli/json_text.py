"""Format JSON for a terminal that a program can still parse."""

import json

from auth_agent.cli.terminal import PLAIN, Terminal


def json_text(value: object, terminal: Terminal = PLAIN, *, indent: int | None = 2) -> str:
    """Return the value as JSON; characters that control a terminal or that its encoding lacks are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(
        character
        if character == "\n" or (character.isprintable() and terminal.can_show(character))
        else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    # Outside of strings, JSON has no character that needs an escape.
    return "".join(f"\\u{unit:04x}" for unit in _units(ord(character)))


def _units(point: int) -> tuple[int, ...]:
    """Return the UTF-16 code units of a character, as JSON's escapes have them (RFC 8259, section 7)."""
    if point < 0x10000:  # noqa: PLR2004 -- the first code point beyond one unit
        return (point,)
    high, low = divmod(point - 0x10000, 0x400)
    return 0xD800 + high, 0xDC00 + low
