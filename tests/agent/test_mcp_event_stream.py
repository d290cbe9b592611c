from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from auth_agent.mcp.event_stream import Event, EventStream, EventTooLong

STREAM = (
    b"\xef\xbb\xbf: a comment\r\n\r\n"
    b"id: 1\r\nretry: 1500\r\ndata:\r\n\r\n"
    b'event: message\ndata: {"a":\ndata: 1}\n\n'
    b"data:x\rid:2\r\rid: bad\x00\ndata: y\n\n"
    b"retry: soon\nunknown: z\nid\ndata: last\n\nid: 3\ndata: incomplete"
)
EVENTS = [
    Event("message", b""),
    Event("message", b'{"a":\n1}'),
    Event("message", b"x"),
    Event("message", b"y"),
    Event("message", b"last"),
]


@given(cuts=st.lists(st.integers(0, len(STREAM))))
def test_a_stream_is_the_same_in_any_pieces(cuts: list[int]) -> None:
    stream, events = EventStream(1000), list[Event]()
    places = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(places):
        events += stream.feed(STREAM[start:end])
    assert events == EVENTS
    assert (stream.last_event_id, stream.retry) == (None, 1.5)


def test_the_id_is_that_of_the_last_complete_event() -> None:
    stream = EventStream(100, "before", 2.0)
    assert (stream.last_event_id, stream.retry) == ("before", 2.0)
    stream.feed(b"id: 1\ndata: x\n")
    assert stream.last_event_id == "before"
    stream.feed(b"\nid: 2\ndata: y")
    assert stream.last_event_id == "1"
    stream.feed(b"\n\ndata: z\n\n")
    assert stream.last_event_id == "2"


@pytest.mark.parametrize("event_id", ["x" * 4097, "a\x00b", "a\x1bb"])
def test_an_id_that_can_be_no_header_is_left_out(event_id: str) -> None:
    stream = EventStream(10_000)
    stream.feed(f"id: {event_id}\ndata: x\n\n".encode())
    assert stream.last_event_id is None


def test_the_size_of_an_event_is_limited_and_that_of_a_stream_is_not() -> None:
    stream = EventStream(100)
    for _ in range(100):
        assert stream.feed(b": still here\n") == []
        assert len(stream.feed(b"data: x\n\n")) == 1
    for _ in range(11):
        stream.feed(b"data: 123\n")
    with pytest.raises(EventTooLong):
        stream.feed(b"data: 123\n")
    with pytest.raises(EventTooLong):
        EventStream(100).feed(b"x" * 101)


@given(data=st.lists(st.binary()))
def test_anything_is_decoded(data: list[bytes]) -> None:
    stream = EventStream(1 << 20)
    for piece in data:
        stream.feed(piece)
