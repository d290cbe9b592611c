"""One connection to the agent, for one call at a time."""

import os
import select
import socket
import struct
import time

from .call import LONGEST, Call
from .errors import AgentError, AgentNotRunning, ConnectionLost, Internal, UntrustedAgent, from_wire
from .peer import peer_credentials, peer_pidfd
from .place import check_place
from .remedy import another_socket, start_agent
from .waiting import Late, Waits, check_origin
from .wire import Connection, Message, Notification, Response, WireError

_READ_SIZE = 65536
# Seconds to read the reason that an agent sent before it closed the connection.
_CLOSING_TIMEOUT = 1.0
# The method that programs call again and again, mostly with the same response.
_REPEATED = "token"
# Seconds, microseconds: in this time a response comes at once. Every deadline is later. The system counts it, since
# poll(2) would take a third of the time of a call; but it counts anew after each signal, which may come all the time,
# as a profiler's do. So it is the shortest: some milliseconds, as the system rounds it up.
_AT_ONCE = struct.pack("ll", 0, 1_000)


class Link:
    """One connection to the agent; one call at a time.

    `used`: whether a call was answered on it. `waiting`: whether a call was sent and not answered; the connection then
    can't be used again. `hung_up`: whether the agent closed it and said why.
    """

    def __init__(self, connection: socket.socket, waits: Waits) -> None:
        self.pid = os.getpid()
        self.used = False
        self.waiting = False
        self.hung_up = False
        self._wire = Connection()
        self._socket = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._waits = waits

    def close(self) -> None:
        """Close the connection; in a forked child, only the child's descriptor."""
        self._socket.close()

    async def call(self, call: Call) -> dict[str, object]:
        """Send a call, and return its result.

        Raises:
            AgentError: the agent's error; `Timeout` at the deadline; `ConnectionLost`, whose detail `sent` says
                whether the agent may have received the request.

        """
        if not self.waiting:  # otherwise `call_at_once` has sent it
            await self.send(call)
        try:
            return await self.result(call, call.deadline)
        except Late as error:
            raise call.timeout_error() from error

    def call_at_once(self, call: Call) -> dict[str, object] | None:
        """Send a call, and return its result if the response comes at once and whole; block meanwhile.

        This takes a third of the time of `call`, which does the rest if the result is None. A response with a token is
        remembered until the next response, so that it is not decoded again if it comes again.

        Raises:
            AgentError: the agent's error.
            ConnectionLost, WireError, OSError: the connection has ended, or something else is wrong with it.

        """
        if not self._socket.getblocking():
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _AT_ONCE)
            self._socket.setblocking(True)  # the last, so that nothing interrupts it and then waits without end
        _, request = self._wire.ask(call.question)
        self.waiting = True
        if self._send(request):
            raise ConnectionLost("the agent does not read", sent=True)  # one that reads takes it whole
        data = self._receive(0)
        if not data:  # it takes longer
            return None
        result = self._wire.repeated_result(data)
        if result is not None:
            self.waiting = False
            return result
        self._wire.receive_data(data)
        message = self._wire.next_message()
        if isinstance(message, Response):
            result = self._result(call, message)
            if call.method == _REPEATED:
                self._wire.remember(message)
            return result
        if message is not None:
            self._check(message)
        return None

    def forget(self) -> None:
        """Forget the remembered response."""
        self._wire.remember(None)

    async def send(self, call: Call) -> None:
        """Send a call without waiting for its `result`. Raises as `call` does."""
        if call.deadline < time.monotonic():  # it expired while waiting for a connection
            raise call.timeout_error()
        _, rest = self._wire.ask(call.question)
        self.waiting = True
        try:
            while rest := self._send(rest):
                await self._waits.writable(self._socket, call.deadline)
        except Late as error:
            raise call.timeout_error() from error
        except BrokenPipeError as error:
            raise await self._closing_error() or ConnectionLost("the agent hung up", sent=False) from error
        except OSError as error:
            raise _lost(error) from error

    async def result(self, call: Call, deadline: float) -> dict[str, object]:
        """Return the result of the call that was sent last; `deadline` is on the monotonic clock.

        Raises:
            Late: there is none yet; the caller may wait again.
            AgentError: the agent's error, or `ConnectionLost`.

        """
        try:
            response = await self._response(deadline)
        except (OSError, WireError) as error:
            raise _lost(error) from error
        return self._result(call, response)

    def _result(self, call: Call, response: Response) -> dict[str, object]:
        self.waiting = False
        self.used = True
        self._wire.remember(None)
        if response.error is not None:
            raise response.error
        result = response.result
        if result is True:
            return {}  # the method has no result
        if not isinstance(result, dict):
            raise Internal(f"the result of {call.method} is not a map")
        return result  # pyright: ignore[reportUnknownVariableType] -- the wire accepts only strings as keys

    def fileno(self) -> int:
        """Return the descriptor, which becomes readable when the agent sends something or closes the connection."""
        return self._socket.fileno()

    async def notification(self) -> Notification:
        """Wait for the next notification, without a deadline.

        Raises:
            ConnectionLost: the connection has ended.

        """
        try:
            while True:
                message = self._wire.next_message()
                if message is None:
                    await self._read(None)
                    continue
                self._check(message)
                if isinstance(message, Notification):
                    return message
        except (OSError, WireError) as error:
            raise _lost(error) from error

    def discard(self) -> None:
        """Read what has arrived, and forget it.

        Raises:
            ConnectionLost: the connection has ended.

        """
        try:
            self._receive()
        except OSError as error:
            raise _lost(error) from error

    def peer_process(self) -> tuple[int, int | None]:
        """Return the pid of the process that listens, 0 if it is out of sight, and a pidfd of it, if there is one.

        Raises:
            OSError: the process has ended.

        """
        pid, _ = peer_credentials(self._socket)
        return pid, peer_pidfd(self._socket) if pid else None

    def is_over(self) -> bool:
        """Return whether the agent closed the connection since the last call: then there is something to read."""
        return bool(self._poll.poll(0))

    async def wait_for_end(self, timeout: float) -> bool:
        """Return whether the agent closes the connection within that many seconds; other messages are ignored."""
        deadline = time.monotonic() + min(LONGEST, timeout)
        try:
            while True:
                await self._waits.readable(self._socket, deadline)
                self.discard()
        except Late:
            return False
        except ConnectionLost:
            return True

    async def _response(self, deadline: float) -> Response:
        while not isinstance(message := self._wire.next_message(), Response):
            if message is None:
                await self._read(deadline)
            else:
                self._check(message)
        return message

    async def _read(self, deadline: float | None) -> None:
        # Wait even if data is there: an agent that sends without pause must not keep other tasks from running.
        await self._waits.readable(self._socket, deadline)
        self._wire.receive_data(self._receive())

    def _check(self, message: Message) -> None:
        """Raise the agent's reason if it is closing the connection."""
        if isinstance(message, Notification) and message.method == "closing":
            self.hung_up = True
            error = from_wire(message.values[0] if message.values else None)
            # On a used connection the agent may have sent this before the request arrived: a new connection will tell.
            raise ConnectionLost(f"the agent hung up: {error.message}", sent=True) if self.used else error

    def _send(self, data: bytes) -> bytes:
        """Send as much as the kernel takes, and return the rest."""
        try:
            return data[self._socket.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return data

    def _receive(self, flags: int = socket.MSG_DONTWAIT) -> bytes:
        """Return what has arrived, or arrives at once if `flags` let it wait; nothing if there is nothing.

        Raises `ConnectionLost` at the end.
        """
        try:
            data = self._socket.recv(_READ_SIZE, flags)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionLost("the agent hung up", sent=True)
        return data

    async def _closing_error(self) -> AgentError | None:
        """Return the agent's reason for closing the connection before a request, if it sent one.

        On a used connection the reason doesn't matter: a new connection may succeed.
        """
        if self.used:
            return None
        try:
            await self._response(time.monotonic() + _CLOSING_TIMEOUT)
        except AgentError as error:
            return None if isinstance(error, ConnectionLost) else error
        except OSError as error:
            check_origin(error)
        except (Late, WireError):
            pass
        return None


async def connect(path: str, waits: Waits) -> Link:
    """Connect to the agent at the path, and check that this user listens there.

    Raises:
        AgentNotRunning: no agent listens, or it is too busy.
        UntrustedAgent: another user listens, or may enter the directory: nothing was sent.

    """
    try:
        check_place(path)
        connection = await waits.connect(path)
        try:
            connection.setblocking(False)
            _check_server(connection, path)
        except BaseException:
            connection.close()
            raise
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise AgentNotRunning(f"no agent listens at {path}", remedy=(start_agent(),)) from error
    except (Late, BlockingIOError) as error:
        raise AgentNotRunning(f"the agent at {path} is too busy to be reached") from error
    except OSError as error:
        check_origin(error)
        message = f"the agent at {path} can't be reached: {error.strerror or error}"
        raise AgentNotRunning(message, remedy=(another_socket(),)) from error
    return Link(connection, waits)


def _check_server(connection: socket.socket, path: str) -> None:
    _, uid = peer_credentials(connection)
    if uid != os.geteuid():
        raise UntrustedAgent(f"the user {uid}, not you, listens at {path}: nothing was sent")


def _lost(error: OSError | WireError) -> ConnectionLost:
    if isinstance(error, WireError):
        return ConnectionLost(f"the agent speaks another protocol: {error}", sent=True)
    check_origin(error)
    return ConnectionLost(f"the connection to the agent broke: {error.strerror}", sent=True)
