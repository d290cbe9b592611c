"""Locates a defect of the agent without revealing the data it occurred in."""

import traceback


def place(error: BaseException | None) -> str:
    """Return the exception's type, and the file and line that raised it.

    Its message and traceback are left out, since they could contain a token.
    """
    if error is None:
        return "?"
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__}@{where}"


def places(error: BaseException) -> str:
    """Return the place of the exception, or of each exception in the group."""
    if isinstance(error, BaseExceptionGroup):
        inner: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- of any kind
        return ",".join(map(places, inner))
    return place(error)
