"""The framing: what comes in whatever the reads, what is refused, and what it costs."""

import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager, suppress

import msgpack
import pytest
from hypothesis import example, given, strategies as st

from auth_agent_client.errors import AgentError, Denied, Internal, Unavailable
from auth_agent_client.wire import MAX_VALUES, Connection, Message, Notification, Request, Response, WireError

MEBIBYTE = 1 << 20
# The message, its params and their map are three of the 32 levels that a message may have.
LEVELS_OF_A_VALUE = 29

HELLO = msgpack.packb([0, 1, "hello", []])

JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
PARAMETERS = st.dictionaries(st.text(max_size=5), JSON_LIKE, max_size=4)
NOTIFICATIONS = st.tuples(st.text(max_size=8), st.lists(JSON_LIKE, max_size=3))
# What MessagePack can say and the protocol doesn't: other keys, extension types.
ANYTHING = st.recursive(
    JSON_LIKE | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.integers(-5, 5) | st.binary(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def plain(message: Message) -> tuple[object, ...]:
    """A message as values, to compare and to show."""
    if isinstance(message, Request):
        return ("request", message.id, message.method, message.parameters)
    if isinstance(message, Notification):
        return ("notification", message.method, message.values)
    error = message.error
    return ("response", message.id, error and (error.code, error.message, error.details), message.result)


def read(connection: Connection, data: bytes = b"") -> list[tuple[object, ...]]:
    """All whole messages, once `data` has come too."""
    connection.receive_data(data)
    heard: list[tuple[object, ...]] = []
    while (message := connection.next_message()) is not None:
        heard.append(plain(message))
    return heard


def only_request(connection: Connection, data: bytes) -> Request:
    connection.receive_data(data)
    message = connection.next_message()
    assert isinstance(message, Request), message
    return message


def only_response(connection: Connection, data: bytes) -> Response:
    connection.receive_data(data)
    message = connection.next_message()
    assert isinstance(message, Response), message
    return message


def refusal(data: bytes, connection: Connection | None = None) -> str:
    """What a connection says of bytes that it must refuse."""
    with pytest.raises(WireError) as raised:
        read(connection or Connection(), data)
    return str(raised.value)


def request_with(value: object) -> bytes:
    return msgpack.packb([0, 1, "m", [{"value": value}]])


def request_of(size: int) -> bytes:
    """A whole request of so many bytes."""
    around = len(request_with(b"\0" * 70_000)) - 70_000
    data = request_with(b"\0" * (size - around))
    assert len(data) == size
    return data


class Memory:
    peak = left = 0


@contextmanager
def counted_memory() -> Generator[Memory]:
    """How many bytes were allocated at once, at most, known afterwards."""
    memory = Memory()
    tracemalloc.start()
    try:
        yield memory
        memory.left, memory.peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def nested(levels: int) -> object:
    value: object = "leaf"
    for level in range(levels):
        value = {"deeper": value} if level % 2 else [value]
    return value


# ---- messages, whatever the reads


def test_a_request_comes_as_its_id_method_and_parameters() -> None:
    data = msgpack.packb([0, 7, "token", [{"account": "work", "min_ttl": 60}]])
    assert read(Connection(), data) == [("request", 7, "token", {"account": "work", "min_ttl": 60})]


def test_a_request_without_params_has_no_parameters() -> None:
    assert read(Connection(), HELLO) == [("request", 1, "hello", {})]


def test_a_request_with_an_empty_map_has_no_parameters() -> None:
    assert read(Connection(), msgpack.packb([0, 1, "hello", [{}]])) == [("request", 1, "hello", {})]


def test_nothing_received_is_no_message() -> None:
    assert read(Connection()) == []


def test_one_byte_at_a_time_makes_the_message_with_the_last_byte() -> None:
    data = msgpack.packb([0, 7, "token", [{"account": "work"}]])
    connection = Connection()
    early = [read(connection, data[at : at + 1]) for at in range(len(data) - 1)]
    assert early == [[]] * (len(data) - 1)
    assert read(connection, data[-1:]) == [("request", 7, "token", {"account": "work"})]


def test_two_messages_in_one_read_are_two_messages() -> None:
    data = msgpack.packb([0, 1, "hello", []]) + msgpack.packb([2, "changed", [5]])
    assert read(Connection(), data) == [("request", 1, "hello", {}), ("notification", "changed", [5])]


def test_a_thousand_messages_in_one_read_are_a_thousand_messages_in_order() -> None:
    data = b"".join(msgpack.packb([0, number, "m", []]) for number in range(1000))
    assert read(Connection(), data) == [("request", number, "m", {}) for number in range(1000)]


def test_a_message_and_a_half_is_one_message_and_the_other_comes_later() -> None:
    second = msgpack.packb([2, "changed", ["a text of some length"]])
    connection = Connection()
    assert read(connection, HELLO + second[:9]) == [("request", 1, "hello", {})]
    assert connection.pending == 9
    assert read(connection, second[9:]) == [("notification", "changed", ["a text of some length"])]
    assert connection.pending == 0


@given(st.lists(NOTIFICATIONS, max_size=6), st.data())
def test_however_a_stream_is_cut_it_holds_the_same_messages(
    said: list[tuple[str, list[object]]], data: st.DataObject
) -> None:
    stream = b"".join(msgpack.packb([2, method, values]) for method, values in said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    connection = Connection()
    heard: list[tuple[object, ...]] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard += read(connection, stream[begin:end])
    assert heard == [("notification", method, values) for method, values in said]
    assert connection.pending == 0


# ---- what is no message


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b'{"jsonrpc": "2.0", "method": "token"}\n',
        b"\xc1",
        b"\x00",
        b"\xc0",
        b"\x90",
        b"\x80",
    ],
)
def test_what_is_no_messagepack_rpc_is_refused_at_once(data: bytes) -> None:
    assert refusal(data) in ("the data is not MessagePack", "the data is not a message of MessagePack-RPC")


def test_a_byte_that_messagepack_never_uses_is_refused_inside_a_message_too() -> None:
    assert refusal(b"\x94\x00\x01\xc1") == "the data is not MessagePack"


@pytest.mark.parametrize(
    "value",
    [
        [],
        [0],
        [3, 1, "m", []],
        [-1, 1, "m", []],
        [None, 1, "m", []],
        ["0", 1, "m", []],
        [[], 1, "m", []],
        [0, 1, "m"],
        [0, 1, "m", [], []],
        [1, 1, None],
        [2, "m"],
        [2, "m", [], []],
        {"0": 1},
        "request",
        7,
    ],
)
def test_an_array_of_another_kind_or_length_is_refused(value: object) -> None:
    assert refusal(msgpack.packb(value)) == "the data is not a message of MessagePack-RPC"


@pytest.mark.parametrize("kind", [False, 0.0])
def test_a_message_s_kind_is_a_whole_number_and_nothing_that_equals_one(kind: object) -> None:
    assert refusal(msgpack.packb([kind, 1, "m", []])) == "the data is not a message of MessagePack-RPC"


@pytest.mark.parametrize("method", [None, 7, b"m", ["m"], {"m": 1}, True])
def test_a_method_that_is_no_text_is_refused(method: object) -> None:
    assert refusal(msgpack.packb([0, 1, method, []])) == "a request's method must be a string"
    assert refusal(msgpack.packb([2, method, []])) == "a notification must have a method, a string, and an array"


@pytest.mark.parametrize("values", [None, 7, "text", {"a": 1}, b"", True])
def test_a_notification_whose_values_are_no_array_is_refused(values: object) -> None:
    assert refusal(msgpack.packb([2, "m", values])) == "a notification must have a method, a string, and an array"


WRONG_PARAMS: list[object] = [
    None,
    7,
    True,
    "text",
    b"",
    {},
    {"account": "work"},
    [None],
    [1],
    ["work"],
    [[]],
    [[{}]],
    [{}, {}],
    [{"account": "work"}, 1],
]


@pytest.mark.parametrize("params", WRONG_PARAMS)
def test_params_that_are_no_array_of_at_most_one_map_are_refused(params: object) -> None:
    assert refusal(msgpack.packb([0, 1, "m", params])) == (
        "a request's params must be an array with at most one element, a map"
    )


@pytest.mark.parametrize("key", [1, b"account", None, True, 1.5])
def test_a_map_key_that_is_no_text_is_refused(key: object) -> None:
    assert refusal(msgpack.packb([0, 1, "m", [{key: 1}]])) in KEY_REFUSALS


@pytest.mark.parametrize("key", [1, b"account", None, True, 1.5])
def test_a_map_key_that_is_no_text_is_refused_deep_inside_as_well(key: object) -> None:
    assert refusal(request_with([[{"fine": {key: "value"}}]])) in KEY_REFUSALS


# The decoder refuses some by itself.
KEY_REFUSALS = ("a map's key must be a string", "the message can't be decoded: ValueError")


@pytest.mark.parametrize(
    "value",
    [
        msgpack.ExtType(5, b"data"),
        msgpack.Timestamp(1_700_000_000, 0),
        msgpack.Timestamp(1_700_000_000, 999_999_999),
        [msgpack.ExtType(5, b"")],
        {"at": msgpack.Timestamp(0, 0)},
    ],
)
def test_extension_types_are_refused(value: object) -> None:
    assert refusal(request_with(value)) == "extension types are not supported"


def test_an_extension_type_in_the_place_of_a_message_is_refused() -> None:
    assert refusal(msgpack.packb(msgpack.ExtType(5, b"data"))) == "extension types are not supported"


def test_a_timestamp_that_means_no_time_is_refused() -> None:
    # 96 bits: nanoseconds above a second, then seconds
    assert refusal(b"\x94\x00\x01\xa1m\x91\x81\xa1t\xc7\x0c\xff" + b"\xff" * 12).startswith(
        "the message can't be decoded"
    )


def test_a_text_that_is_not_utf_8_is_refused_without_being_repeated() -> None:
    text = refusal(msgpack.packb([0, 1, "import", [{"refresh_token": "SECRET!"}]]).replace(b"!", b"\xff"))
    assert text == "the message can't be decoded: a string is not UTF-8"


# ---- ids


@pytest.mark.parametrize("id_", [0, 1, 2**31, 2**32 - 1])
def test_an_id_of_32_bits_is_taken(id_: int) -> None:
    assert read(Connection(), msgpack.packb([0, id_, "m", []])) == [("request", id_, "m", {})]


@pytest.mark.parametrize("id_", [-1, -(2**63), 2**32, 2**64 - 1, 1.0, True, False, "1", None, b"\x01", [1], {}])
def test_an_id_that_is_no_number_of_32_bits_is_refused(id_: object) -> None:
    assert refusal(msgpack.packb([0, id_, "m", []])) == "a request's id must be an unsigned 32-bit integer"


def test_an_id_that_is_open_can_not_be_used_again() -> None:
    assert refusal(HELLO + HELLO) == "the id 1 belongs to a request that is still open"


def test_an_id_can_be_used_again_once_it_is_answered() -> None:
    connection = Connection()
    connection.respond(only_request(connection, HELLO), None)
    assert read(connection, HELLO) == [("request", 1, "hello", {})]


def test_an_id_can_be_used_again_once_it_is_refused() -> None:
    connection = Connection()
    connection.respond_with_error(only_request(connection, HELLO), Denied("no"))
    assert read(connection, HELLO) == [("request", 1, "hello", {})]


def test_requests_are_open_from_their_arrival_to_their_answer() -> None:
    connection = Connection()
    first = only_request(connection, HELLO)
    second = only_request(connection, msgpack.packb([0, 2, "hello", []]))
    assert connection.open_requests == 2
    connection.respond(second, None)
    assert connection.open_requests == 1
    connection.respond_with_error(first, Denied("no"))
    assert connection.open_requests == 0


def test_requests_that_are_open_have_ids_of_their_own() -> None:
    client = Connection()
    ids = [client.request("token", {})[0] for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(0 <= id_ < 2**32 for id_ in ids), ids


def test_an_answer_to_what_was_never_asked_is_refused() -> None:
    assert refusal(msgpack.packb([1, 1, None, "result"])) == "a response has the id of no open request"


def test_a_second_answer_to_the_same_request_is_refused() -> None:
    client = Connection()
    id_, _ = client.request("hello", {})
    answer = msgpack.packb([1, id_, None, "result"])
    assert read(client, answer) == [("response", id_, None, "result")]
    assert refusal(answer, client) == "a response has the id of no open request"


@pytest.mark.parametrize("id_", [True, 1.0, "1", None, -1, 2**32, []])
def test_an_answer_to_an_id_that_only_resembles_one_asked_is_refused(id_: object) -> None:
    client = Connection()
    assert client.request("hello", {})[0] == 1
    assert refusal(msgpack.packb([1, id_, None, "result"]), client) == "a response has the id of no open request"


def test_the_same_id_may_be_open_in_both_directions() -> None:
    connection = Connection()
    id_, _ = connection.request("hello", {})
    assert read(connection, msgpack.packb([0, id_, "m", []]) + msgpack.packb([1, id_, None, "result"])) == [
        ("request", id_, "m", {}),
        ("response", id_, None, "result"),
    ]


def test_answers_may_come_in_any_order() -> None:
    client = Connection()
    first, second = client.request("a", {})[0], client.request("b", {})[0]
    assert read(client, msgpack.packb([1, second, None, "b"]) + msgpack.packb([1, first, None, "a"])) == [
        ("response", second, None, "b"),
        ("response", first, None, "a"),
    ]


# ---- bounds


def test_a_message_of_exactly_a_mebibyte_passes() -> None:
    connection = Connection()
    message = only_request(connection, request_of(MEBIBYTE))
    assert message.parameters == msgpack.unpackb(request_of(MEBIBYTE))[3][0]
    assert connection.pending == 0


def test_two_messages_of_exactly_a_mebibyte_in_one_read_pass() -> None:
    second = request_of(MEBIBYTE).replace(b"\x94\x00\x01", b"\x94\x00\x02", 1)
    heard = read(Connection(), request_of(MEBIBYTE) + second)
    assert [message[:3] for message in heard] == [("request", 1, "m"), ("request", 2, "m")]


def test_a_message_of_a_byte_more_is_refused() -> None:
    assert refusal(request_of(MEBIBYTE + 1)) == "a message is larger than 1048576 bytes"


def test_half_of_a_message_that_is_too_large_is_refused_as_soon_as_it_is() -> None:
    connection = Connection()
    data = request_of(4 * MEBIBYTE)
    assert read(connection, data[:MEBIBYTE]) == []
    assert refusal(data[MEBIBYTE : MEBIBYTE + 1], connection) == "a message is larger than 1048576 bytes"


@pytest.mark.parametrize(
    "announcement",
    [
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xdb\xff\xff\xff\xff",  # a text
        b"\xc9\xff\xff\xff\xf0\x05",  # an extension
        b"\xdd\xff\xff\xff\xff",  # an array
        b"\xdf\xff\xff\xff\xff",  # a map
    ],
)
def test_four_gibibytes_that_are_only_announced_cost_nothing_and_are_refused_at_a_mebibyte(announcement: bytes) -> None:
    begin = b"\x94\x00\x01\xa1m\x91\x81\xa1v" + announcement
    connection = Connection()
    with counted_memory() as memory:
        assert read(connection, begin) == []
    assert memory.peak < 100_000
    assert connection.pending == len(begin)
    assert read(connection, bytes(MEBIBYTE - len(begin))) == []
    assert refusal(b"\0", connection) == "a message is larger than 1048576 bytes"


def test_half_a_message_costs_its_bytes_and_not_its_values() -> None:
    half = b"\x94\x00\x01\xa1m\x91\x81\xa1v\xdd\x00\x0f\xff\xff" + b"\x90" * 500_000
    connection = Connection()
    with counted_memory() as memory:
        assert read(connection, half) == []
    assert connection.pending == len(half)
    assert memory.peak < 4 * len(half)  # as lists, 500,000 values are 28 MB


def test_an_extension_of_the_largest_size_there_is_can_be_announced_and_is_refused() -> None:
    # Its size and the byte for its type are more than 32 bits hold.
    assert refusal(b"\x94\x00\x01\xa1m\x91\x81\xa1v\xc9\xff\xff\xff\xff\x05") != ""


def test_a_connection_that_has_said_nothing_costs_a_few_kilobytes() -> None:
    # Of 1,200 silent connections the agent can't give each a buffer for the largest message.
    with counted_memory() as memory:
        connections = [Connection() for _ in range(10)]
    assert memory.peak / len(connections) < 65_536


def test_the_deepest_message_passes() -> None:
    value = nested(LEVELS_OF_A_VALUE)
    assert read(Connection(), request_with(value)) == [("request", 1, "m", {"value": value})]


@pytest.mark.parametrize("levels", [LEVELS_OF_A_VALUE + 1, 100, 200])
def test_a_message_nested_deeper_is_refused(levels: int) -> None:
    assert refusal(request_with(nested(levels))) == "a message has more than 32 levels"


def test_an_empty_array_at_the_level_below_the_deepest_is_refused() -> None:
    deepest: object = []
    for _ in range(LEVELS_OF_A_VALUE):
        deepest = [deepest]
    assert refusal(request_with(deepest)) == "a message has more than 32 levels"


@pytest.mark.parametrize("levels", [1000, 5000, 100_000])
def test_a_message_nested_deeper_than_any_stack_is_refused(levels: int) -> None:
    assert refusal(b"\x94\x00\x01\xa1m" + b"\x91" * levels + b"\xc0") in (
        "a message has more than 32 levels",
        "the data is not MessagePack",
        "the message can't be decoded: StackError",
    )


def test_a_message_of_many_values_passes() -> None:
    values = list(range(MAX_VALUES - 100))
    assert read(Connection(), request_with(values)) == [("request", 1, "m", {"value": values})]


TOO_MANY: list[object] = [
    [None] * (MAX_VALUES + 1),
    [[]] * (MAX_VALUES + 1),
    [[None] * 100] * (MAX_VALUES // 100),
    {str(number): None for number in range(MAX_VALUES + 1)},
    [{}] * MAX_VALUES,
]


@pytest.mark.parametrize(
    "value", TOO_MANY, ids=["one array", "empty arrays", "arrays in an array", "one map", "empty maps"]
)
def test_a_message_of_too_many_values_is_refused(value: object) -> None:
    assert refusal(request_with(value)) == "the message can't be decoded: ValueError"


# ---- after an error


@pytest.mark.parametrize("bad", [b"\xc1", b"GET /", HELLO + HELLO, msgpack.packb([1, 9, None, None])])
def test_after_an_error_every_later_call_raises_it_again(bad: bytes) -> None:
    connection = Connection()
    first = refusal(bad, connection)
    assert refusal(b"", connection) == first
    assert refusal(msgpack.packb([0, 55, "hello", []]), connection) == first


def test_messages_before_the_garbage_are_handed_out() -> None:
    connection = Connection()
    connection.receive_data(HELLO + b"\xc1")
    message = connection.next_message()
    assert message is not None
    assert plain(message) == ("request", 1, "hello", {})
    assert refusal(b"", connection) == "the data is not MessagePack"


def test_what_was_held_is_let_go_at_an_error() -> None:
    connection = Connection()
    refusal(HELLO[:-1] + b"\xc1" + bytes(1000), connection)
    assert connection.pending == 0


def test_nothing_of_a_large_message_is_kept_beyond_an_error() -> None:
    # Who is hung up on may take its time to go, and so may many more.
    connection = Connection()
    with counted_memory() as memory:
        read(connection, request_of(MEBIBYTE)[:-1])
        with suppress(WireError):  # and not `refusal`: an exception that is looked at later keeps what it was about
            read(connection, bytes(2) + b"\xc1")
    assert memory.peak > MEBIBYTE
    assert memory.left < 65_536


def test_one_can_still_say_why_after_an_error() -> None:
    agent, client = Connection(), Connection()
    reason = refusal(b"\xc1", agent)
    assert read(client, agent.closing(reason)) == [
        ("notification", "closing", [{"code": "invalid_request", "message": "the data is not MessagePack"}])
    ]


def packed(*parts: object) -> bytes:
    return msgpack.packb(parts)


BYTES = (
    st.binary(max_size=200)
    | st.lists(ANYTHING, max_size=5).map(msgpack.packb)
    | st.builds(packed, st.sampled_from([0, 1, 2]), ANYTHING, ANYTHING)
    | st.builds(packed, st.sampled_from([0, 1, 2]), ANYTHING, ANYTHING, ANYTHING)
    | st.builds(packed, st.just(0), st.integers(0, 9), st.text(max_size=5), st.lists(ANYTHING, max_size=2))
    | st.builds(packed, st.just(1), st.just(1), ANYTHING | PARAMETERS, ANYTHING)
)


@given(st.lists(BYTES, max_size=4))
@example([msgpack.packb([1, 1, {"code": "denied", "message": "no", "self": 1}, None])])
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(reads: list[bytes]) -> None:
    connection = Connection()
    assert connection.request("asked", {})[0] == 1  # so that an answer may come
    received = 0
    broken: str | None = None
    for data in reads:
        received += len(data)
        try:
            read(connection, data)
        except WireError as error:
            broken = str(error)
            break
        assert connection.pending <= received
    assert broken is None or refusal(b"", connection) == broken


# ---- there and back


@given(st.text(max_size=20), PARAMETERS)
def test_a_request_arrives_as_it_was_sent(method: str, parameters: dict[str, object]) -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request(method, parameters)
    assert read(agent, data) == [("request", id_, method, parameters)]


@given(JSON_LIKE)
def test_a_result_arrives_as_it_was_answered(result: object) -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request("m", {})
    answer = agent.respond(only_request(agent, data), result)
    assert read(client, answer) == [("response", id_, None, result)]


@given(NOTIFICATIONS)
def test_a_notification_arrives_as_it_was_said(said: tuple[str, list[object]]) -> None:
    method, values = said
    assert read(Connection(), Connection().notify(method, *values)) == [("notification", method, values)]


def test_an_error_arrives_with_its_type_and_details() -> None:
    client, agent = Connection(), Connection()
    _, data = client.request("token", {})
    refused = agent.respond_with_error(only_request(agent, data), Unavailable("later", retry_after=2.5))
    error = only_response(client, refused).error
    assert isinstance(error, Unavailable), error
    assert (error.message, error.retry_after, error.retryable) == ("later", 2.5, True)


def test_an_error_that_can_not_be_read_is_an_error_all_the_same() -> None:
    client = Connection()
    id_, _ = client.request("token", {})
    error = only_response(client, msgpack.packb([1, id_, "went wrong", None])).error
    assert isinstance(error, Internal), error


def test_a_request_without_parameters_has_empty_params() -> None:
    id_, data = Connection().request("hello", {})
    assert msgpack.unpackb(data) == [0, id_, "hello", []]


def test_a_request_is_what_the_specification_says() -> None:
    id_, data = Connection().request("token", {"account": "work"})
    assert msgpack.unpackb(data) == [0, id_, "token", [{"account": "work"}]]


def test_lone_surrogates_in_a_result_are_packed() -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request("profile", {})
    answer = agent.respond(only_request(agent, data), {"name": "half \ud83d of a pair", "\udc00": 1})
    assert read(client, answer) == [("response", id_, None, {"name": "half ? of a pair", "?": 1})]


@pytest.mark.parametrize("result", [2**64, object(), {"a": {1, 2}}])
def test_a_result_that_can_not_be_packed_can_be_refused_instead(result: object) -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request("m", {})
    request = only_request(agent, data)
    with pytest.raises((TypeError, OverflowError)):
        agent.respond(request, result)
    error = only_response(client, agent.respond_with_error(request, AgentError("a defect"))).error
    assert isinstance(error, AgentError), (id_, error)
    assert error.message == "a defect"
