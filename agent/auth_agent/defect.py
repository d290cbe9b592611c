"""Where a defect of the agent is, told without what it was holding."""

import traceback


def place(error: BaseException | None) -> str:
    """The exception's type, and the file and line it came from.

    Neither its text nor its traceback: those of a defect could hold a token that was being worked on.
    """
    if error is None:
        return "?"
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__}@{where}"


def places(error: BaseException) -> str:
    """The place of each exception that a group of them holds, or of the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        inner: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- of any kind
        return ",".join(map(places, inner))
    return place(error)
