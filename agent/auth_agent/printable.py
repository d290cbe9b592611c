"""Texts from outside, made safe for a log line and a terminal."""

# Long enough for what providers say of an error, short enough for a line.
MAX_LENGTH = 200


def printable(text: object, limit: int = MAX_LENGTH) -> str:
    """The text without control characters, line ends and direction overrides, cut at `limit` characters.

    What is no text is shown as nothing: its repr could hold anything.
    """
    if not isinstance(text, str):
        return ""
    cut = text[: limit + 1]
    shown = "".join(character if character.isprintable() else " " for character in cut)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
