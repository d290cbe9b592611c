"""Standard output whose errors say that they are its own, as those of a file name the file; standard error without any.

What a command says to a person may be lost, as with other programs: its result and its exit code are not.
"""

import io
import sys

OUTPUT = "standard output"


def name_output() -> None:
    """Have each error in writing to standard output name it, as its `filename`.

    A character that the locale's encoding lacks is written as an escape, as on standard error.
    """
    stream = sys.stdout
    if type(stream) is io.TextIOWrapper:  # that of the interpreter, not one that captures the output of a test
        binary = io.BufferedWriter(io.FileIO(stream.fileno(), "wb", closefd=False))
        lacks_some = stream.errors == "strict" or stream.encoding.lower() not in {"utf-8", "utf8"}
        errors = "backslashreplace" if lacks_some else stream.errors
        sys.stdout = _Output(binary, stream.encoding, errors, line_buffering=stream.line_buffering)


def lose_messages() -> None:
    """Have what can't be written to standard error be lost."""
    stream = sys.stderr
    if type(stream) is io.TextIOWrapper:  # as above
        binary = io.BufferedWriter(io.FileIO(stream.fileno(), "wb", closefd=False))
        sys.stderr = _Messages(binary, stream.encoding, stream.errors, line_buffering=True)


class _Messages(io.TextIOWrapper):
    def write(self, string: str, /) -> int:
        try:
            return super().write(string)
        except OSError:
            return len(string)

    def flush(self) -> None:
        try:  # noqa: SIM105 -- a light command does not load contextlib
            super().flush()
        except OSError:
            pass


class _Output(io.TextIOWrapper):
    def write(self, string: str, /) -> int:
        try:
            return super().write(string)
        except OSError as error:
            error.filename = OUTPUT
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            error.filename = OUTPUT
            raise
