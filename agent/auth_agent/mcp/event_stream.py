"""Decodes Server-Sent Events (WHATWG HTML, section 9.2). Pure."""

import re
from typing import Final, NamedTuple

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"
_MAX_ID: Final = 4096  # characters; it becomes a header
_MAX_RETRY: Final = 3_600_000  # ms


class EventTooLong(ValueError):
    """An event is longer than allowed."""


class Event(NamedTuple):
    """A complete event; `data` is empty if there was none."""

    type: str
    data: bytes


class EventStream:
    """Decodes the pieces of one response body into events.

    `last_event_id` is that of the last complete event, also of an earlier connection of the same stream. `retry` is how
    many seconds to wait before another connection, None if the server did not say. What an incomplete event at the end
    has is lost, by the standard: a server sends it again.
    """

    def __init__(self, max_event: int, last_event_id: str | None = None, retry: float | None = None) -> None:
        self.last_event_id = last_event_id
        self.retry = retry
        self._max_event = max_event
        self._is_new = True
        self._after_cr = False
        self._pieces: list[bytes] = []  # of a line that is not complete
        self._size = 0  # of them, and of the event's complete lines
        self._type = ""
        self._data: list[bytes] = []
        self._id = last_event_id

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that this piece completes.

        Raises:
            EventTooLong: an event exceeds the limit.

        """
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        events: list[Event] = []
        first, *others = _LINE_END.split(piece)
        self._add(first)
        for other in others:
            line = b"".join(self._pieces)
            self._pieces = []
            self._read(line, events)
            self._add(other)
        return events

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._max_event:
            raise EventTooLong

    def _read(self, line: bytes, events: list[Event]) -> None:
        if self._is_new:
            line, self._is_new = line.removeprefix(_BOM), False
        if not line:
            self._complete(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        text = value[:_MAX_ID].decode(errors="replace")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = text
        elif name == b"id" and text.isprintable() and len(value) <= _MAX_ID:
            self._id = text
        elif name == b"retry" and text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_RETRY)):
            self.retry = min(int(text), _MAX_RETRY) / 1000
        elif not name:
            self._size -= len(line)  # a comment, which may come for hours

    def _complete(self, events: list[Event]) -> None:
        self.last_event_id = self._id or None
        if self._data or self._type:
            events.append(Event(self._type or "message", b"\n".join(self._data)))
        self._type, self._data, self._size = "", [], 0
