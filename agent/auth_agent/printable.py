"""Texts from outside, made safe for a log line and a terminal."""

import unicodedata

# Long enough for what providers say of an error, short enough for a line.
MAX_LENGTH = 200


def printable(text: object, limit: int = MAX_LENGTH) -> str:
    """The text without control characters, terminal escapes and direction overrides, cut at `limit` characters.

    What is no text is shown as nothing: its repr could hold anything.
    """
    if not isinstance(text, str):
        return ""
    cut = text[: limit + 1]
    shown = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in cut)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
