"""The protocol's framing without I/O: bytes in, messages out; messages in, bytes out.

The framing is MessagePack-RPC. A `Connection` is one side of one connection: the agent receives requests and sends
responses and notifications, a client does the opposite.
"""

from collections.abc import Collection, Iterable, Mapping

import msgpack

from .errors import AgentError, Internal, InvalidRequest, from_wire, to_wire

__all__ = ["Connection", "Message", "Notification", "Request", "Response", "WireError"]

# The largest legitimate message is an `update_user_metadata`, which is far smaller than a mebibyte.
MAX_MESSAGE = 1 << 20
# Deeper than any useful metadata; shallow enough for every recursive function.
MAX_DEPTH = 32
# A mebibyte of `[]` is a million lists and takes 0.2 s. A record has some 50 values, so that the records of as many
# accounts as fit into a message have fewer.
MAX_VALUES = 100_000
# Of a request, for the agent: the largest has `MAX_JSON_VALUES` with as many names, and takes 4 ms.
MAX_REQUEST_VALUES = 25_000
# The values in a message of fewer bytes are not counted: they are too few to matter.
_SMALL = 4096
_MAX_ID = 0xFFFF_FFFF
# The initial size of msgpack's buffers, which grow: its defaults are more than a mebibyte for each connection.
_BUFFER = 1024
_LARGE = 64 * 1024

_REQUEST, _RESPONSE, _NOTIFICATION = 0, 1, 2
# The first two bytes of a request and of a response: an array of four, and the type.
REQUEST = b"\x94\x00"
RESPONSE = b"\x94\x01"
# The most bytes before the method or error: those two, and an id.
_LONGEST_HEAD = len(REQUEST) + 5
# How long an encoded id is, by its first byte: a small one is just that byte. 0 if it is not an unsigned integer.
_ID_LENGTHS = bytes([1] * 0x80 + [{0xCC: 2, 0xCD: 3, 0xCE: 5}.get(first, 0) for first in range(0x80, 0x100)])
_REQUEST_LENGTH, _RESPONSE_LENGTH, _NOTIFICATION_LENGTH = 4, 4, 3


class WireError(Exception):
    """The peer broke the protocol: the connection can't be used any more."""


class Request:
    """A request: its id, method and named parameters, which are not checked here; and the bytes that it came in."""

    __slots__ = ("body", "id", "method", "parameters")

    def __init__(self, id: int, method: str, parameters: dict[str, object], body: bytes = b"") -> None:  # noqa: A002 -- its name in the specification
        self.id = id
        self.method = method
        self.parameters = parameters
        self.body = body


class Response:
    """The response to the request of that id: a result or an error; and the bytes that it came in."""

    __slots__ = ("body", "error", "id", "result")

    def __init__(self, id: int, error: AgentError | None, result: object, body: bytes) -> None:  # noqa: A002 -- its name in the specification
        self.id = id
        self.error = error
        self.result = result
        self.body = body


class Notification:
    """A notification: its method and values."""

    __slots__ = ("method", "values")

    def __init__(self, method: str, values: list[object]) -> None:
        self.method = method
        self.values = values


Message = Request | Response | Notification


def head_length(message: bytes, beginning: bytes) -> int:
    """Return how many bytes a message that begins so has before its method or error; 0 if it doesn't begin so.

    Args:
        message: its bytes, at least.
        beginning: `REQUEST` or `RESPONSE`; the id follows. An id that is not encoded as an unsigned integer of at most
            32 bits counts as none.

    """
    if message[:2] != beginning or len(message) == 2:  # noqa: PLR2004 -- the beginning's length
        return 0
    length = _ID_LENGTHS[message[2]]
    return length and 2 + length


class Connection:
    """One side of a connection: its open requests, and the bytes of an incomplete message.

    `max_values`: how many values a received message may have.
    """

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self._max_values = max_values
        self._buffer = bytearray()
        # A whole message, decoded, and its bytes: so most arrive. It is before what is in the buffer.
        self._whole: tuple[object, bytes] | None = None
        # Finds the end of a message without decoding it, so that an incomplete message costs only its bytes.
        self._scanner = self._new_scanner()
        self._fed = 0  # bytes given to the scanner
        self._taken = 0  # bytes of messages that were returned
        self._packer = self._new_packer()
        self._received: set[int] = set()
        self._sent: set[int] = set()
        self._last_id = 0
        # A result, and the bytes of its response after the id.
        self._remembered: tuple[dict[str, object], bytes] | None = None
        self._broken: str | None = None

    @staticmethod
    def _new_packer() -> msgpack.Packer:
        # "replace": a provider's JSON may contain half of a surrogate pair, which UTF-8 can't encode.
        return msgpack.Packer(unicode_errors="replace", buf_size=_BUFFER)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] -- msgpack-types knows 1.0's

    @staticmethod
    def _new_scanner() -> msgpack.Unpacker:
        return msgpack.Unpacker(
            max_buffer_size=0, read_size=_BUFFER
        )  # 0: no limit, since `_next_body` limits the pending bytes

    @property
    def pending(self) -> int:
        """The number of bytes that `next_message` has not returned yet."""
        return len(self._buffer) if self._whole is None else len(self._whole[1])

    @property
    def is_settled(self) -> bool:
        """Whether it has neither an open request that was received, nor bytes of a message."""
        return not self._received and not self._buffer and self._whole is None

    @property
    def open_requests(self) -> int:
        """The number of requests that were received and not answered."""
        return len(self._received)

    # ---- receiving

    def receive_data(self, data: bytes) -> None:
        """Add received bytes, for `next_message`."""
        whole = self._whole
        if whole is not None:
            self._whole = None
            data = whole[1] + data
        elif not self._buffer and len(data) <= _SMALL:
            try:
                self._whole = msgpack.unpackb(data), data
            except (ValueError, TypeError, msgpack.UnpackException):
                pass  # the scanner finds what there is
            else:
                return
        self._buffer += data
        self._scanner.feed(data)
        self._fed += len(data)

    def next_message(self) -> Message | None:
        """Return the next complete message; None if more bytes are needed.

        Raises:
            WireError: the data is not MessagePack-RPC, is too large or too deep, or reuses the id of an open request.
                Every later call raises it again.

        """
        if self._broken is not None:
            raise WireError(self._broken)
        try:
            if self._whole is not None:
                value, whole = self._whole
                self._whole = None
                _check_depth(value, MAX_DEPTH)
                return self._message(value, whole)
            body = self._next_body()
            return None if body is None else self._message(_decode(body, self._max_values), body)
        except WireError as error:
            self._broken = str(error)
            self._release()
            raise

    def _next_body(self) -> bytes | None:
        is_scanned = self._fed == self._scanner.tell()
        end = None if is_scanned else self._scan()
        if end is None:
            if self.pending > MAX_MESSAGE:
                raise WireError(f"a message is larger than {MAX_MESSAGE} bytes")
            return None
        size = end - self._taken
        if size > MAX_MESSAGE:
            raise WireError(f"a message is larger than {MAX_MESSAGE} bytes")
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._taken = end
        if size > _LARGE and not self._buffer:  # free the memory of a large message
            self._release()
        return body

    def _release(self) -> None:
        """Free the received bytes, also the scanner's copy of them."""
        self._whole = None
        self._buffer.clear()
        self._scanner, self._fed, self._taken = self._new_scanner(), 0, 0

    def _scan(self) -> int | None:
        """Return the end of the next message, counted from the connection's first byte; None if it is incomplete."""
        try:
            self._scanner.skip()
        except msgpack.OutOfData:
            return None
        except (ValueError, msgpack.UnpackException) as error:
            raise WireError("the data is not MessagePack") from error
        return self._scanner.tell()

    def _message(self, value: object, body: bytes) -> Message:
        # Four times as fast as `match`; every token passes here.
        parts = _list(value)
        if parts:
            kind = parts[0] if type(parts[0]) is int else None
            if kind == _REQUEST and len(parts) == _REQUEST_LENGTH:
                return self._request(parts[1], parts[2], parts[3], body)
            if kind == _RESPONSE and len(parts) == _RESPONSE_LENGTH:
                return self._response(parts[1], parts[2], parts[3], body)
            if kind == _NOTIFICATION and len(parts) == _NOTIFICATION_LENGTH:
                return _notification(parts[1], parts[2])
        raise WireError("the data is not a message of MessagePack-RPC")

    def _request(self, id_: object, method: object, params: object, body: bytes) -> Request:
        if type(id_) is not int or not 0 <= id_ <= _MAX_ID:
            raise WireError("a request's id must be an unsigned 32-bit integer")
        if id_ in self._received:
            raise WireError(f"the id {id_} belongs to a request that is still open")
        if type(method) is not str:
            raise WireError("a request's method must be a string")
        self._received.add(id_)
        return Request(id_, method, _parameters(params), body)

    def _response(self, id_: object, error: object, result: object, body: bytes) -> Response:
        if type(id_) is not int or id_ not in self._sent:
            raise WireError("a response has the id of no open request")
        self._sent.discard(id_)
        return Response(id_, None if error is None else from_wire(error), result, body)

    def remember(self, response: Response | None) -> None:
        """Remember that response for `repeated_result`, in place of the one before, or none.

        Only a map of plain values is remembered: a copy of it shares nothing with it.
        """
        self._remembered = None
        if response is not None and response.error is None:
            result, length = _map(response.result), head_length(response.body, RESPONSE)
            if result is not None and length and _PLAIN.issuperset(map(type, result.values())):
                self._remembered = result, response.body[length:]

    def repeated_result(self, data: bytes) -> dict[str, object] | None:
        """Return the result of the newest request if `data` is its response, with the bytes of the remembered one.

        It needs no decoding. If it is None, `receive_data` takes the data.
        """
        id_, remembered = self._last_id, self._remembered
        if remembered is None or self.pending or id_ not in self._sent:
            return None
        result, rest = remembered
        if data != RESPONSE + self._packer.pack(id_) + rest:
            return None
        self._sent.discard(id_)
        return {**result}

    # ---- sending

    def request(self, method: str, parameters: Mapping[str, object]) -> tuple[int, bytes]:
        """Return the id and the bytes of a new request.

        Raises:
            InvalidRequest: it is too large for a message, or a string can't be encoded as UTF-8.

        """
        return self.ask(question_of(method, parameters))

    def ask(self, question: bytes) -> tuple[int, bytes]:
        """Return the id and the bytes of a new request that has those bytes after its id."""
        id_ = self._last_id
        while id_ in self._sent or id_ == self._last_id:
            id_ = (id_ + 1) & _MAX_ID
        self._last_id = id_
        self._sent.add(id_)
        return id_, b"".join((REQUEST, self._packer.pack(id_), question))

    def respond(self, request: Request, result: object) -> bytes:
        """Return the bytes of a response with a result."""
        data = self._pack([_RESPONSE, request.id, None, result])
        if len(data) > MAX_MESSAGE:
            self._packer = self._new_packer()
            return self.respond_with_error(request, Internal(f"the result is larger than {MAX_MESSAGE} bytes"))
        self._received.discard(request.id)
        return data

    def respond_with_error(self, request: Request, error: AgentError) -> bytes:
        """Return the bytes of a response with an error."""
        self._received.discard(request.id)
        return self._pack([_RESPONSE, request.id, to_wire(error), None])

    def notify(self, method: str, *values: object) -> bytes:
        """Return the bytes of a notification."""
        return self._pack([_NOTIFICATION, method, list(values)])

    def closing(self, reason: str, code: str = InvalidRequest.code) -> bytes:
        """Return the bytes of a notification that says why the connection is closed."""
        return self.notify("closing", {"code": code, "message": reason})

    def _pack(self, message: list[object]) -> bytes:
        return self._packer.pack(message)


def question_of(method: str, parameters: Mapping[str, object]) -> bytes:
    """Return the bytes of a request after its id.

    Raises:
        InvalidRequest: it is too large for a message, or a string can't be encoded as UTF-8.

    """
    try:
        data: bytes = msgpack.packb(method) + msgpack.packb([parameters] if parameters else [])
    except UnicodeEncodeError:
        raise InvalidRequest(f"{method}: a parameter can't be encoded as UTF-8") from None
    if len(data) > MAX_MESSAGE - _LONGEST_HEAD:
        raise InvalidRequest(f"{method}: the request is larger than {MAX_MESSAGE} bytes")
    return data


def _parameters(params: object) -> dict[str, object]:
    elements = _list(params)
    if elements == []:
        return {}
    if elements is not None and len(elements) == 1:
        named = _map(elements[0])
        if named is not None:
            return named
    raise WireError("a request's params must be an array with at most one element, a map")


def _notification(method: object, values: object) -> Notification:
    elements = _list(values)
    if type(method) is not str or elements is None:
        raise WireError("a notification must have a method, a string, and an array")
    return Notification(method, elements)


def _decode(body: bytes, max_values: int) -> object:
    try:
        if len(body) <= _SMALL:
            value: object = msgpack.unpackb(body)
        else:
            count = _Count(max_values)
            value = msgpack.unpackb(
                body,
                list_hook=count.array,
                object_pairs_hook=count.keyed,
                max_array_len=max_values,
                max_map_len=max_values,
            )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"the message can't be decoded: {_cause(error)}") from None
    _check_depth(value, MAX_DEPTH)
    return value


def _cause(error: Exception) -> str:
    # Without the library's message: a UnicodeDecodeError contains the bytes, which may be a secret.
    return "a string is not UTF-8" if isinstance(error, UnicodeDecodeError) else type(error).__name__


class _Count:
    """Counts the values while a message is decoded, and stops the decoder if there are too many."""

    def __init__(self, most: int) -> None:
        self.values = 0
        self._most = most

    def array(self, items: list[object]) -> list[object]:
        self._add(len(items) + 1)
        return items

    def keyed(self, pairs: Iterable[tuple[object, object]]) -> dict[object, object]:
        listed = [*pairs]  # duplicate keys count too
        self._add(2 * len(listed) + 1)
        return dict(listed)

    def _add(self, values: int) -> None:
        self.values += values
        if self.values > self._most:
            raise ValueError("too many values")


def _check_depth(value: object, room: int) -> None:
    """Raise a `WireError` for too many levels, a map's key that is not a string, or an extension type."""
    items: Collection[object] | None = _list(value)
    if items is None:
        keyed = _map(value)
        if keyed is None:
            if type(value) in _PLAIN:
                return
            raise WireError("extension types are not supported")
        if not _STRING.issuperset(map(type, keyed)):
            raise WireError("a map's key must be a string")
        items = keyed.values()
    if room == 0:
        raise WireError(f"a message has more than {MAX_DEPTH} levels")
    if _PLAIN.issuperset(map(type, items)):
        return
    for item in items:
        if type(item) not in _PLAIN:
            _check_depth(item, room - 1)


_STRING = frozenset((str,))
_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))


# `type(…) is` suffices, since the decoder creates no subclasses. The elements' types are unknown to a type checker.


def _list(value: object) -> list[object] | None:
    return value if type(value) is list else None  # pyright: ignore[reportUnknownVariableType] -- see above


def _map(value: object) -> dict[str, object] | None:
    return value if type(value) is dict else None  # pyright: ignore[reportUnknownVariableType] -- see above
