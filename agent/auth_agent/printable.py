"""Makes strings from outside safe for a log line and a terminal."""

# Characters: long enough for a provider's error message, short enough for a line.
MAX_LENGTH = 200


def printable(value: object, limit: int = MAX_LENGTH) -> str:
    """Return the string without control characters, line ends and direction overrides, cut at `limit` characters.

    Return "" if the value is not a string: its repr could contain anything.
    """
    if not isinstance(value, str):
        return ""
    cut = value[: limit + 1]
    shown = cut if cut.isprintable() else "".join(one if one.isprintable() else " " for one in cut)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
