"""JSON as a person reads it and a program parses it."""

import json

from auth_agent.cli.terminal import PLAIN, Terminal


def json_text(value: object, look: Terminal = PLAIN, *, indent: int | None = 2) -> str:
    """The value as JSON, with an escape for each character that would steer a terminal, or that the encoding lacks."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(one if one == "\n" or (one.isprintable() and look.can_show(one)) else _escape(one) for one in text)


def _escape(character: str) -> str:
    # Outside of texts JSON has none that needs one.
    return "".join(f"\\u{unit:04x}" for unit in _units(ord(character)))


def _units(point: int) -> tuple[int, ...]:
    """A character's number in JSON's escapes, which are UTF-16's."""
    if point < 0x10000:  # noqa: PLR2004 -- as said
        return (point,)
    high, low = divmod(point - 0x10000, 0x400)
    return 0xD800 + high, 0xDC00 + low
