"""The wire protocol: messages from any reads, refused data, and the memory that they cost."""

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

# Data that is refused, each for one reason: tests/test_wording.py has the sentences.
NOT_MESSAGEPACK = b"\xc1"
NOT_RPC = b"\x01"
WRONG_ID = b"\x94\x00\xff\xa1m\x90"
WRONG_METHOD = b"\x94\x00\x01\x07\x90"
WRONG_PARAMS = b"\x94\x00\x01\xa1m\x80"
WRONG_NOTIFICATION = b"\x93\x02\x07\x90"
NO_OPEN_REQUEST = b"\x94\x01\x01\xc0\xc0"
WRONG_KEY = b"\x94\x00\x01\xa1m\x91\x81\xa1v\x81\xc4\x01a\xc0"
EXTENSION = b"\xc7\x04\x05data"

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
# Values of MessagePack that the protocol doesn't allow, too: other keys, extension types.
ANYTHING = st.recursive(
    JSON_LIKE | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.integers(-5, 5) | st.binary(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def plain(message: Message) -> tuple[object, ...]:
    """Return a message as values, to compare and to print."""
    if isinstance(message, Request):
        return ("request", message.id, message.method, message.parameters)
    if isinstance(message, Notification):
        return ("notification", message.method, message.values)
    error = message.error
    return ("response", message.id, error and (error.code, error.message, error.details), message.result)


def read(connection: Connection, data: bytes = b"") -> list[tuple[object, ...]]:
    """Receive `data`, and return all complete messages."""
    connection.receive_data(data)
    messages: list[tuple[object, ...]] = []
    while (message := connection.next_message()) is not None:
        messages.append(plain(message))
    return messages


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


def refusal_of(data: bytes, connection: Connection | None = None) -> str:
    """Return why a connection refuses the data."""
    with pytest.raises(WireError) as raised:
        read(connection or Connection(), data)
    return str(raised.value)


def request_with(value: object) -> bytes:
    return msgpack.packb([0, 1, "m", [{"value": value}]])


# How the refusal of a message begins that the decoder refused, before the name of its error.
UNDECODABLE = refusal_of(request_with([None] * (MAX_VALUES + 1))).removesuffix("ValueError")


def request_of(size: int) -> bytes:
    """Return a complete request of that size in bytes."""
    around = len(request_with(b"\0" * 70_000)) - 70_000
    data = request_with(b"\0" * (size - around))
    assert len(data) == size
    return data


class Memory:
    peak = left = 0


@contextmanager
def measure_memory() -> Generator[Memory]:
    """Measure the bytes allocated at most and at the end; known afterwards."""
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


# ---- messages from any reads


def test_a_request_has_an_id_a_method_and_parameters() -> None:
    data = msgpack.packb([0, 7, "token", [{"account": "work", "min_ttl": 60}]])
    assert read(Connection(), data) == [("request", 7, "token", {"account": "work", "min_ttl": 60})]


def test_a_request_without_params_has_no_parameters() -> None:
    assert read(Connection(), HELLO) == [("request", 1, "hello", {})]


def test_a_request_with_an_empty_map_has_no_parameters() -> None:
    assert read(Connection(), msgpack.packb([0, 1, "hello", [{}]])) == [("request", 1, "hello", {})]


def test_without_data_there_is_no_message() -> None:
    assert read(Connection()) == []


def test_a_message_read_byte_by_byte_is_complete_with_the_last_byte() -> None:
    data = msgpack.packb([0, 7, "token", [{"account": "work"}]])
    connection = Connection()
    early = [read(connection, data[at : at + 1]) for at in range(len(data) - 1)]
    assert early == [[]] * (len(data) - 1)
    assert read(connection, data[-1:]) == [("request", 7, "token", {"account": "work"})]


def test_two_messages_in_one_read_are_two_messages() -> None:
    data = msgpack.packb([0, 1, "hello", []]) + msgpack.packb([2, "changed", [5]])
    assert read(Connection(), data) == [("request", 1, "hello", {}), ("notification", "changed", [5])]


def test_a_thousand_messages_in_one_read_are_returned_in_order() -> None:
    data = b"".join(msgpack.packb([0, number, "m", []]) for number in range(1000))
    assert read(Connection(), data) == [("request", number, "m", {}) for number in range(1000)]


def test_an_incomplete_message_is_returned_when_its_rest_arrives() -> None:
    second = msgpack.packb([2, "changed", ["a text of some length"]])
    connection = Connection()
    assert read(connection, HELLO + second[:9]) == [("request", 1, "hello", {})]
    assert connection.pending == 9
    assert read(connection, second[9:]) == [("notification", "changed", ["a text of some length"])]
    assert connection.pending == 0


@given(st.lists(NOTIFICATIONS, max_size=6), st.data())
def test_any_split_of_a_stream_has_the_same_messages(
    notifications: list[tuple[str, list[object]]], data: st.DataObject
) -> None:
    stream = b"".join(msgpack.packb([2, method, values]) for method, values in notifications)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    connection = Connection()
    messages: list[tuple[object, ...]] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        messages += read(connection, stream[begin:end])
    assert messages == [("notification", method, values) for method, values in notifications]
    assert connection.pending == 0


# ---- invalid messages


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
def test_data_that_is_not_messagepack_rpc_is_refused_at_once(data: bytes) -> None:
    assert refusal_of(data) in (refusal_of(NOT_MESSAGEPACK), refusal_of(NOT_RPC))


def test_a_byte_that_messagepack_never_uses_is_refused_within_a_message() -> None:
    assert refusal_of(b"\x94\x00\x01\xc1") == refusal_of(NOT_MESSAGEPACK)


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
def test_a_message_of_another_type_or_length_is_refused(value: object) -> None:
    assert refusal_of(msgpack.packb(value)) == refusal_of(NOT_RPC)


@pytest.mark.parametrize("kind", [False, 0.0])
def test_a_message_type_must_be_an_integer_not_an_equal_value(kind: object) -> None:
    assert refusal_of(msgpack.packb([kind, 1, "m", []])) == refusal_of(NOT_RPC)


@pytest.mark.parametrize("method", [None, 7, b"m", ["m"], {"m": 1}, True])
def test_a_method_that_is_not_a_string_is_refused(method: object) -> None:
    assert refusal_of(msgpack.packb([0, 1, method, []])) == refusal_of(WRONG_METHOD)
    assert refusal_of(msgpack.packb([2, method, []])) == refusal_of(WRONG_NOTIFICATION)


@pytest.mark.parametrize("values", [None, 7, "text", {"a": 1}, b"", True])
def test_a_notification_whose_values_are_not_an_array_is_refused(values: object) -> None:
    assert refusal_of(msgpack.packb([2, "m", values])) == refusal_of(WRONG_NOTIFICATION)


INVALID_PARAMS: list[object] = [
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


@pytest.mark.parametrize("params", INVALID_PARAMS)
def test_params_that_are_not_an_array_of_at_most_one_map_are_refused(params: object) -> None:
    assert refusal_of(msgpack.packb([0, 1, "m", params])) == refusal_of(WRONG_PARAMS)


@pytest.mark.parametrize("key", [1, b"account", None, True, 1.5])
def test_a_map_key_that_is_not_a_string_is_refused(key: object) -> None:
    assert refusal_of(msgpack.packb([0, 1, "m", [{key: 1}]])) in KEY_REFUSALS


@pytest.mark.parametrize("key", [1, b"account", None, True, 1.5])
def test_a_nested_map_key_that_is_not_a_string_is_refused(key: object) -> None:
    assert refusal_of(request_with([[{"fine": {key: "value"}}]])) in KEY_REFUSALS


# The decoder itself refuses some of them.
KEY_REFUSALS = (refusal_of(WRONG_KEY), f"{UNDECODABLE}ValueError")


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
    assert refusal_of(request_with(value)) == refusal_of(EXTENSION)


def test_an_extension_type_in_place_of_a_message_is_refused() -> None:
    assert refusal_of(msgpack.packb(msgpack.ExtType(5, b"data"))) == refusal_of(EXTENSION)


def test_an_invalid_timestamp_is_refused() -> None:
    # 96 bits: nanoseconds above a second, then seconds
    assert refusal_of(b"\x94\x00\x01\xa1m\x91\x81\xa1t\xc7\x0c\xff" + b"\xff" * 12).startswith(UNDECODABLE)


def test_a_string_that_is_not_utf_8_is_refused_and_not_quoted() -> None:
    reason = refusal_of(msgpack.packb([0, 1, "import", [{"refresh_token": "SECRET!"}]]).replace(b"!", b"\xff"))
    assert reason.startswith(UNDECODABLE)
    assert reason.endswith("UTF-8")
    assert "SECRET" not in reason


# ---- ids


@pytest.mark.parametrize("id_", [0, 1, 2**31, 2**32 - 1])
def test_an_id_of_32_bits_is_accepted(id_: int) -> None:
    assert read(Connection(), msgpack.packb([0, id_, "m", []])) == [("request", id_, "m", {})]


@pytest.mark.parametrize("id_", [-1, -(2**63), 2**32, 2**64 - 1, 1.0, True, False, "1", None, b"\x01", [1], {}])
def test_an_id_that_is_not_an_integer_of_32_bits_is_refused(id_: object) -> None:
    assert refusal_of(msgpack.packb([0, id_, "m", []])) == refusal_of(WRONG_ID)


def test_an_open_id_cannot_be_reused() -> None:
    open_again = refusal_of(HELLO + HELLO)
    assert "id 1 " in open_again
    assert open_again not in (refusal_of(WRONG_ID), refusal_of(NO_OPEN_REQUEST))


def test_an_id_can_be_reused_after_the_response() -> None:
    connection = Connection()
    connection.respond(only_request(connection, HELLO), None)
    assert read(connection, HELLO) == [("request", 1, "hello", {})]


def test_an_id_can_be_reused_after_an_error_response() -> None:
    connection = Connection()
    connection.respond_with_error(only_request(connection, HELLO), Denied("no"))
    assert read(connection, HELLO) == [("request", 1, "hello", {})]


def test_requests_are_open_until_their_response() -> None:
    connection = Connection()
    first = only_request(connection, HELLO)
    second = only_request(connection, msgpack.packb([0, 2, "hello", []]))
    assert connection.open_requests == 2
    connection.respond(second, None)
    assert connection.open_requests == 1
    connection.respond_with_error(first, Denied("no"))
    assert connection.open_requests == 0


def test_open_requests_have_unique_ids() -> None:
    client = Connection()
    ids = [client.request("token", {})[0] for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(0 <= id_ < 2**32 for id_ in ids), ids


def test_a_response_without_a_request_is_refused() -> None:
    assert refusal_of(msgpack.packb([1, 2, None, "result"])) == refusal_of(NO_OPEN_REQUEST)


def test_a_second_response_to_the_same_request_is_refused() -> None:
    client = Connection()
    id_, _ = client.request("hello", {})
    response = msgpack.packb([1, id_, None, "result"])
    assert read(client, response) == [("response", id_, None, "result")]
    assert refusal_of(response, client) == refusal_of(NO_OPEN_REQUEST)


@pytest.mark.parametrize("id_", [True, 1.0, "1", None, -1, 2**32, []])
def test_a_response_whose_id_only_equals_the_requests_is_refused(id_: object) -> None:
    client = Connection()
    assert client.request("hello", {})[0] == 1
    assert refusal_of(msgpack.packb([1, id_, None, "result"]), client) == refusal_of(NO_OPEN_REQUEST)


def test_the_same_id_may_be_open_in_both_directions() -> None:
    connection = Connection()
    id_, _ = connection.request("hello", {})
    assert read(connection, msgpack.packb([0, id_, "m", []]) + msgpack.packb([1, id_, None, "result"])) == [
        ("request", id_, "m", {}),
        ("response", id_, None, "result"),
    ]


def test_responses_may_arrive_in_any_order() -> None:
    client = Connection()
    first, second = client.request("a", {})[0], client.request("b", {})[0]
    assert read(client, msgpack.packb([1, second, None, "b"]) + msgpack.packb([1, first, None, "a"])) == [
        ("response", second, None, "b"),
        ("response", first, None, "a"),
    ]


# ---- bounds


def test_a_message_of_a_mebibyte_is_accepted() -> None:
    connection = Connection()
    message = only_request(connection, request_of(MEBIBYTE))
    assert message.parameters == msgpack.unpackb(request_of(MEBIBYTE))[3][0]
    assert connection.pending == 0


def test_two_messages_of_a_mebibyte_in_one_read_are_accepted() -> None:
    second = request_of(MEBIBYTE).replace(b"\x94\x00\x01", b"\x94\x00\x02", 1)
    messages = read(Connection(), request_of(MEBIBYTE) + second)
    assert [message[:3] for message in messages] == [("request", 1, "m"), ("request", 2, "m")]


def test_a_message_of_a_mebibyte_and_a_byte_is_refused() -> None:
    assert str(MEBIBYTE) in refusal_of(request_of(MEBIBYTE + 1))


def test_an_incomplete_message_is_refused_once_it_is_too_large() -> None:
    connection = Connection()
    data = request_of(4 * MEBIBYTE)
    assert read(connection, data[:MEBIBYTE]) == []
    assert str(MEBIBYTE) in refusal_of(data[MEBIBYTE : MEBIBYTE + 1], connection)


@pytest.mark.parametrize(
    "announcement",
    [
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xdb\xff\xff\xff\xff",  # a string
        b"\xc9\xff\xff\xff\xf0\x05",  # an extension
        b"\xdd\xff\xff\xff\xff",  # an array
        b"\xdf\xff\xff\xff\xff",  # a map
    ],
)
def test_an_announced_size_of_4_gib_allocates_nothing_and_is_refused_at_a_mebibyte(announcement: bytes) -> None:
    begin = b"\x94\x00\x01\xa1m\x91\x81\xa1v" + announcement
    connection = Connection()
    with measure_memory() as memory:
        assert read(connection, begin) == []
    assert memory.peak < 100_000
    assert connection.pending == len(begin)
    assert read(connection, bytes(MEBIBYTE - len(begin))) == []
    assert str(MEBIBYTE) in refusal_of(b"\0", connection)


def test_an_incomplete_message_costs_its_bytes_not_its_values() -> None:
    half = b"\x94\x00\x01\xa1m\x91\x81\xa1v\xdd\x00\x0f\xff\xff" + b"\x90" * 500_000
    connection = Connection()
    with measure_memory() as memory:
        assert read(connection, half) == []
    assert connection.pending == len(half)
    assert memory.peak < 4 * len(half)  # as lists, 500,000 values are 28 MB


def test_an_extension_of_the_largest_size_is_refused() -> None:
    # Its size and the byte for its type are more than 32 bits hold.
    assert refusal_of(b"\x94\x00\x01\xa1m\x91\x81\xa1v\xc9\xff\xff\xff\xff\x05") != ""


def test_a_silent_connection_costs_a_few_kilobytes() -> None:
    # Of 1,200 silent connections the agent can't give each a buffer for the largest message.
    with measure_memory() as memory:
        connections = [Connection() for _ in range(10)]
    assert memory.peak / len(connections) < 65_536


def test_the_deepest_message_is_accepted() -> None:
    value = nested(LEVELS_OF_A_VALUE)
    assert read(Connection(), request_with(value)) == [("request", 1, "m", {"value": value})]


@pytest.mark.parametrize("levels", [LEVELS_OF_A_VALUE + 1, 100, 200])
def test_a_message_nested_deeper_is_refused(levels: int) -> None:
    assert "32" in refusal_of(request_with(nested(levels)))


def test_an_empty_array_below_the_deepest_level_is_refused() -> None:
    deepest: object = []
    for _ in range(LEVELS_OF_A_VALUE):
        deepest = [deepest]
    assert "32" in refusal_of(request_with(deepest))


@pytest.mark.parametrize("levels", [1000, 5000, 100_000])
def test_a_message_nested_deeper_than_any_stack_is_refused(levels: int) -> None:
    assert refusal_of(b"\x94\x00\x01\xa1m" + b"\x91" * levels + b"\xc0") in (
        refusal_of(request_with(nested(LEVELS_OF_A_VALUE + 1))),
        refusal_of(NOT_MESSAGEPACK),
        f"{UNDECODABLE}StackError",
    )


def test_a_message_of_many_values_is_accepted() -> None:
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
    assert refusal_of(request_with(value)) == f"{UNDECODABLE}ValueError"


def test_a_side_may_accept_fewer_values() -> None:
    agent, client = Connection(1000), Connection()
    data = request_with([[None] * 100] * 60)
    agent.receive_data(data)
    client.receive_data(data)
    with pytest.raises(WireError):
        agent.next_message()
    assert client.next_message() is not None


# ---- after an error


@pytest.mark.parametrize("bad", [b"\xc1", b"GET /", HELLO + HELLO, msgpack.packb([1, 9, None, None])])
def test_after_an_error_each_call_raises_it_again(bad: bytes) -> None:
    connection = Connection()
    reason = refusal_of(bad, connection)
    assert refusal_of(b"", connection) == reason
    assert refusal_of(msgpack.packb([0, 55, "hello", []]), connection) == reason


def test_messages_before_invalid_data_are_returned() -> None:
    connection = Connection()
    connection.receive_data(HELLO + b"\xc1")
    message = connection.next_message()
    assert message is not None
    assert plain(message) == ("request", 1, "hello", {})
    assert refusal_of(b"", connection) == refusal_of(NOT_MESSAGEPACK)


def test_an_error_releases_the_buffered_data() -> None:
    connection = Connection()
    refusal_of(HELLO[:-1] + b"\xc1" + bytes(1000), connection)
    assert connection.pending == 0


def test_an_error_releases_a_large_message() -> None:
    # A client may be slow to disconnect, and so may many others.
    connection = Connection()
    with measure_memory() as memory:
        read(connection, request_of(MEBIBYTE)[:-1])
        with suppress(WireError):  # not `refusal_of`: a kept exception keeps its frames' variables
            read(connection, bytes(2) + b"\xc1")
    assert memory.peak > MEBIBYTE
    assert memory.left < 65_536


def test_after_an_error_the_connection_can_still_send_closing() -> None:
    agent, client = Connection(), Connection()
    reason = refusal_of(b"\xc1", agent)
    assert read(client, agent.closing(reason)) == [
        ("notification", "closing", [{"code": "invalid_request", "message": reason}])
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
def test_any_bytes_raise_only_wire_errors(reads: list[bytes]) -> None:
    connection = Connection()
    assert connection.request("method", {})[0] == 1  # so that a response may come
    received = 0
    reason: str | None = None
    for data in reads:
        received += len(data)
        try:
            read(connection, data)
        except WireError as error:
            reason = str(error)
            break
        assert connection.pending <= received
    assert reason is None or refusal_of(b"", connection) == reason


# ---- messages from one connection to another


@given(st.text(max_size=20), PARAMETERS)
def test_a_request_arrives_unchanged(method: str, parameters: dict[str, object]) -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request(method, parameters)
    assert read(agent, data) == [("request", id_, method, parameters)]


@given(JSON_LIKE)
def test_a_result_arrives_unchanged(result: object) -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request("m", {})
    response = agent.respond(only_request(agent, data), result)
    assert read(client, response) == [("response", id_, None, result)]


@given(NOTIFICATIONS)
def test_a_notification_arrives_unchanged(notification: tuple[str, list[object]]) -> None:
    method, values = notification
    assert read(Connection(), Connection().notify(method, *values)) == [("notification", method, values)]


def test_an_error_arrives_with_its_class_and_details() -> None:
    client, agent = Connection(), Connection()
    _, data = client.request("token", {})
    response = agent.respond_with_error(only_request(agent, data), Unavailable("later", retry_after=2.5))
    error = only_response(client, response).error
    assert isinstance(error, Unavailable), error
    assert (error.message, error.retry_after, error.retryable) == ("later", 2.5, True)


def test_an_unreadable_error_is_an_internal_error() -> None:
    client = Connection()
    id_, _ = client.request("token", {})
    error = only_response(client, msgpack.packb([1, id_, "went wrong", None])).error
    assert isinstance(error, Internal), error


def test_a_request_without_parameters_has_empty_params() -> None:
    id_, data = Connection().request("hello", {})
    assert msgpack.unpackb(data) == [0, id_, "hello", []]


def test_a_request_has_the_form_of_the_specification() -> None:
    id_, data = Connection().request("token", {"account": "work"})
    assert msgpack.unpackb(data) == [0, id_, "token", [{"account": "work"}]]


def test_lone_surrogates_in_a_result_are_replaced() -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request("profile", {})
    response = agent.respond(only_request(agent, data), {"name": "half \ud83d of a pair", "\udc00": 1})
    assert read(client, response) == [("response", id_, None, {"name": "half ? of a pair", "?": 1})]


@pytest.mark.parametrize("result", [2**64, object(), {"a": {1, 2}}])
def test_a_result_that_cannot_be_packed_can_be_answered_with_an_error(result: object) -> None:
    client, agent = Connection(), Connection()
    id_, data = client.request("m", {})
    request = only_request(agent, data)
    with pytest.raises((TypeError, OverflowError)):
        agent.respond(request, result)
    error = only_response(client, agent.respond_with_error(request, AgentError("a defect"))).error
    assert isinstance(error, AgentError), (id_, error)
    assert error.message == "a defect"


# ---- a response that comes again


MESSAGES = st.lists(
    st.tuples(st.just("result"), st.dictionaries(st.text(max_size=3), JSON_LIKE, max_size=3))
    | st.tuples(st.just("result"), st.sampled_from([{"token": "a"}, {"token": "b"}, {"token": "a", "end": None}, True]))
    | st.tuples(st.just("error"), st.sampled_from([Denied("no"), Unavailable("later")]))
    | st.tuples(st.just("notification"), JSON_LIKE),
    max_size=8,
)


@given(MESSAGES, st.integers(1, 40), st.booleans())
def test_a_remembered_result_is_what_decoding_gives(
    messages: list[tuple[str, object]], size: int, in_pieces: bool
) -> None:
    agent, remembering, decoding = Connection(), Connection(), Connection()
    newest = 0
    for kind, value in messages:
        if kind == "notification":
            data = agent.notify("changed", value)
        else:
            newest, request = remembering.request("token", {})
            assert decoding.request("token", {}) == (newest, request)
            agent.receive_data(request)
            message = agent.next_message()
            assert isinstance(message, Request)
            data = (
                agent.respond_with_error(message, value)
                if isinstance(value, AgentError)
                else agent.respond(message, value)
            )
        reads = [data[at : at + size] for at in range(0, len(data), size)] if in_pieces else [data]
        got = [message for piece in reads for message in read_remembering(remembering, newest, piece)]
        assert got == [message for piece in reads for message in read(decoding, piece)]


def read_remembering(connection: Connection, newest: int, data: bytes) -> list[tuple[object, ...]]:
    repeated = connection.repeated_result(data)
    if repeated is not None:
        return [("response", newest, None, repeated)]
    connection.receive_data(data)
    messages: list[tuple[object, ...]] = []
    while (message := connection.next_message()) is not None:
        messages.append(plain(message))
        if isinstance(message, Response):
            connection.remember(message)
    return messages


def remembering(result: dict[str, object]) -> tuple[Connection, Connection]:
    """Return the two sides of a connection, of which one remembers a response with that result."""
    client, agent = Connection(), Connection()
    client.receive_data(response_to(client, agent, result))
    response = client.next_message()
    assert isinstance(response, Response)
    client.remember(response)
    return client, agent


def response_to(client: Connection, agent: Connection, result: dict[str, object]) -> bytes:
    _, request = client.request("token", {})
    return agent.respond(only_request(agent, request), result)


def test_the_same_response_is_recognized_with_another_id() -> None:
    client, agent = remembering({"token": "a"})
    for _ in range(300):  # ids of one, two and three bytes
        assert client.repeated_result(response_to(client, agent, {"token": "a"})) == {"token": "a"}


def test_a_caller_cannot_change_the_remembered_result() -> None:
    client, agent = remembering({"token": "a"})
    for _ in range(2):
        result = client.repeated_result(response_to(client, agent, {"token": "a"}))
        assert result is not None
        assert result == {"token": "a"}
        result["token"] = "b"


@pytest.mark.parametrize("result", [{"claims": {}}, {"scopes": []}])
def test_a_result_with_parts_is_not_remembered(result: dict[str, object]) -> None:
    client, agent = remembering(result)
    assert client.repeated_result(response_to(client, agent, result)) is None


def test_the_late_response_to_an_older_request_is_not_taken_for_the_newest() -> None:
    client, agent = remembering({"token": "a"})
    late = response_to(client, agent, {"token": "a"})
    response_to(client, agent, {"token": "a"})
    assert client.repeated_result(late) is None


def test_a_response_without_a_request_is_not_recognized() -> None:
    client, agent = remembering({"token": "a"})
    data = response_to(client, agent, {"token": "a"})
    assert client.repeated_result(data) is not None
    assert client.repeated_result(data) is None


def test_what_is_forgotten_is_not_recognized() -> None:
    client, agent = remembering({"token": "a"})
    client.remember(None)
    assert client.repeated_result(response_to(client, agent, {"token": "a"})) is None


def test_the_rest_of_another_message_is_not_taken_for_the_response() -> None:
    client, agent = remembering({"token": "a"})
    data = response_to(client, agent, {"token": "a"})
    notification = agent.notify("changed", data)
    client.receive_data(notification.removesuffix(data))
    assert client.repeated_result(data) is None
    client.receive_data(data)
    message = client.next_message()
    assert isinstance(message, Notification)
    assert message.values == [data]
