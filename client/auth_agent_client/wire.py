"""The protocol's framing without I/O: bytes in, messages out; messages in, bytes out.

MessagePack-RPC as its specification has it. A `Connection` is one side of one connection, of either kind: an
agent takes requests and answers them, a client sends requests and takes answers and notifications.
"""

from collections.abc import Iterable, Mapping

import msgpack

from .errors import AgentError, Internal, InvalidRequest, from_wire, to_wire

__all__ = ["Connection", "Message", "Notification", "Request", "Response", "WireError"]

# The largest honest message is an `update_user_metadata`; a mebibyte leaves it room.
MAX_MESSAGE = 1 << 20
# Deeper than any metadata that a person could read; shallow enough for every recursive reader of it.
MAX_DEPTH = 32
# A mebibyte of `[]` is a million lists and a fifth of a second; honest metadata has thousands of values.
MAX_VALUES = 50_000
# Below this many bytes a message can't have enough values to matter, and isn't counted.
_SMALL = 4096
_MAX_ID = 0xFFFF_FFFF
# What msgpack allocates to begin with, and lets grow: its defaults are a mebibyte and more for each connection.
_BUFFER = 1024
_LARGE = 64 * 1024

_REQUEST, _RESPONSE, _NOTIFICATION = 0, 1, 2
_REQUEST_LENGTH, _RESPONSE_LENGTH, _NOTIFICATION_LENGTH = 4, 4, 3


class WireError(Exception):
    """The other side broke the protocol: the connection is of no further use."""


class Request:
    """A request: its id, method and named parameters (whose meaning isn't checked here)."""

    __slots__ = ("id", "method", "parameters")

    def __init__(self, id: int, method: str, parameters: dict[str, object]) -> None:  # noqa: A002 -- its name in the specification
        self.id = id
        self.method = method
        self.parameters = parameters


class Response:
    """The answer to the request of that id: a result, or an error."""

    __slots__ = ("error", "id", "result")

    def __init__(self, id: int, error: AgentError | None, result: object) -> None:  # noqa: A002 -- its name in the specification
        self.id = id
        self.error = error
        self.result = result


class Notification:
    """What is said without being asked."""

    __slots__ = ("method", "values")

    def __init__(self, method: str, values: list[object]) -> None:
        self.method = method
        self.values = values


Message = Request | Response | Notification


class Connection:
    """One side of a connection: which requests are open, and the bytes of a message that isn't whole yet."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        # Finds where a message ends without building it, so that half a message costs its bytes and no more.
        self._scanner = self._new_scanner()
        self._fed = 0  # bytes given to the scanner
        self._taken = 0  # bytes of messages that were handed out
        self._packer = self._new_packer()
        self._received: set[int] = set()
        self._sent: set[int] = set()
        self._last_id = 0
        self._broken: str | None = None

    @staticmethod
    def _new_packer() -> msgpack.Packer:
        # "replace": a provider's JSON may hold half of a surrogate pair, which UTF-8 can't.
        return msgpack.Packer(unicode_errors="replace", buf_size=_BUFFER)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] -- msgpack-types knows 1.0's

    @staticmethod
    def _new_scanner() -> msgpack.Unpacker:
        return msgpack.Unpacker(max_buffer_size=0, read_size=_BUFFER)  # 0: the limit is ours, on what is pending

    @property
    def pending(self) -> int:
        """How many bytes are held that no message was made of yet."""
        return len(self._buffer)

    @property
    def open_requests(self) -> int:
        """How many requests were received and not answered."""
        return len(self._received)

    # ---- what comes in

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they came; `next_message` then says what they hold."""
        self._buffer += data
        self._scanner.feed(data)
        self._fed += len(data)

    def next_message(self) -> Message | None:
        """The next whole message, or None when more bytes are needed.

        Raises:
            WireError: what came is no MessagePack-RPC, too large or too deep, or reuses an id that is open.
                Every later call raises it again.

        """
        if self._broken is not None:
            raise WireError(self._broken)
        try:
            body = self._next_body()
            return None if body is None else self._message(_decode(body))
        except WireError as error:
            self._broken = str(error)
            self._let_go()
            raise

    def _next_body(self) -> bytes | None:
        all_was_looked_at = self._fed == self._scanner.tell()
        end = None if all_was_looked_at else self._scan()
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
        if size > _LARGE and not self._buffer:  # what was allocated for one large message need not be kept
            self._let_go()
        return body

    def _let_go(self) -> None:
        """Hold nothing of what came, neither here nor in the scanner, which has a copy of its own."""
        self._buffer.clear()
        self._scanner, self._fed, self._taken = self._new_scanner(), 0, 0

    def _scan(self) -> int | None:
        """Where the next message ends, counted from the connection's first byte; None: not yet there."""
        try:
            self._scanner.skip()
        except msgpack.OutOfData:
            return None
        except (ValueError, msgpack.UnpackException) as error:
            raise WireError("this is no MessagePack") from error
        return self._scanner.tell()

    def _message(self, value: object) -> Message:
        # By hand, not by `match`: this is on the way of every token, and four times as fast.
        parts = _list(value)
        if parts:
            kind = parts[0] if type(parts[0]) is int else None
            if kind == _REQUEST and len(parts) == _REQUEST_LENGTH:
                return self._request(parts[1], parts[2], parts[3])
            if kind == _RESPONSE and len(parts) == _RESPONSE_LENGTH:
                return self._response(parts[1], parts[2], parts[3])
            if kind == _NOTIFICATION and len(parts) == _NOTIFICATION_LENGTH:
                return _notification(parts[1], parts[2])
        raise WireError("this is no message of MessagePack-RPC")

    def _request(self, id_: object, method: object, params: object) -> Request:
        if type(id_) is not int or not 0 <= id_ <= _MAX_ID:
            raise WireError("a request's id must be a whole number of 32 bits")
        if id_ in self._received:
            raise WireError(f"the id {id_} belongs to a request that is still open")
        if type(method) is not str:
            raise WireError("a request's method must be a text")
        self._received.add(id_)
        return Request(id_, method, _parameters(params))

    def _response(self, id_: object, error: object, result: object) -> Response:
        if type(id_) is not int or id_ not in self._sent:
            raise WireError("there is an answer to what wasn't asked")
        self._sent.discard(id_)
        return Response(id_, None if error is None else from_wire(error), result)

    # ---- what goes out

    def request(self, method: str, parameters: Mapping[str, object]) -> tuple[int, bytes]:
        """A new request's id, and the bytes to send.

        Raises:
            InvalidRequest: it is larger than a message may be, or holds what is no text.

        """
        id_ = self._last_id
        while id_ in self._sent or id_ == self._last_id:
            id_ = (id_ + 1) & _MAX_ID
        try:
            data: bytes = msgpack.packb([_REQUEST, id_, method, [parameters] if parameters else []])
        except UnicodeEncodeError:
            raise InvalidRequest(f"{method}: a parameter is no text that UTF-8 can hold") from None
        if len(data) > MAX_MESSAGE:
            raise InvalidRequest(f"{method}: the request is larger than {MAX_MESSAGE} bytes")
        self._last_id = id_
        self._sent.add(id_)
        return id_, data

    def answer(self, request: Request, result: object) -> bytes:
        """The bytes of a request's result."""
        data = self._pack([_RESPONSE, request.id, None, result])
        if len(data) > MAX_MESSAGE:
            self._packer = self._new_packer()
            return self.refuse(request, Internal(f"the answer is larger than the {MAX_MESSAGE} bytes of a message"))
        self._received.discard(request.id)
        return data

    def refuse(self, request: Request, error: AgentError) -> bytes:
        """The bytes of a request's error."""
        self._received.discard(request.id)
        return self._pack([_RESPONSE, request.id, to_wire(error), None])

    def notify(self, method: str, *values: object) -> bytes:
        """The bytes of a notification."""
        return self._pack([_NOTIFICATION, method, list(values)])

    def closing(self, reason: str, code: str = InvalidRequest.code) -> bytes:
        """The bytes that tell the other side why it is hung up on."""
        return self.notify("closing", {"code": code, "message": reason})

    def _pack(self, message: list[object]) -> bytes:
        return self._packer.pack(message)


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
        raise WireError("a notification needs a method, a text, and an array")
    return Notification(method, elements)


def _decode(body: bytes) -> object:
    try:
        if len(body) <= _SMALL:
            value: object = msgpack.unpackb(body)
        else:
            count = _Count()
            value = msgpack.unpackb(
                body,
                list_hook=count.array,
                object_pairs_hook=count.keyed,
                max_array_len=MAX_VALUES,
                max_map_len=MAX_VALUES,
            )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"this is no message that can be read: {_cause(error)}") from None
    _check_depth(value, MAX_DEPTH)
    return value


def _cause(error: Exception) -> str:
    # Not the library's text: a UnicodeDecodeError's repr holds the bytes, and those may be a secret.
    return "a text is not UTF-8" if isinstance(error, UnicodeDecodeError) else type(error).__name__


class _Count:
    """Stops the decoder, while it decodes, at a message of too many values."""

    def __init__(self) -> None:
        self.values = 0

    def array(self, items: list[object]) -> list[object]:
        self._add(len(items) + 1)
        return items

    def keyed(self, pairs: Iterable[tuple[object, object]]) -> dict[object, object]:
        listed = [*pairs]  # a key that comes again takes time again
        self._add(2 * len(listed) + 1)
        return dict(listed)

    def _add(self, values: int) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise ValueError("too many values")


def _check_depth(value: object, room: int) -> None:
    """Refuse what is nested too deep, a map's key that is no text, and MessagePack's extension types."""
    items = _list(value)
    if items is None:
        keyed = _map(value)
        if keyed is None:
            if type(value) in _PLAIN:
                return
            raise WireError("extension types have no meaning here")
        for key in keyed:
            if type(key) is not str:
                raise WireError("a map's key must be a text")
        items = list(keyed.values())
    if room == 0:
        raise WireError(f"a message is nested deeper than {MAX_DEPTH}")
    for item in items:
        if type(item) not in _PLAIN:
            _check_depth(item, room - 1)


_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))


# `type(…) is`, since the decoder makes no subclasses. No checker can know the elements: ignored here, once.


def _list(value: object) -> list[object] | None:
    return value if type(value) is list else None  # pyright: ignore[reportUnknownVariableType] -- see above


def _map(value: object) -> dict[str, object] | None:
    return value if type(value) is dict else None  # pyright: ignore[reportUnknownVariableType] -- see above
