"""One connection to the agent, for one call at a time: opened safely, given up on in time."""

import os
import select
import socket
import time

from .errors import AgentError, AgentNotRunning, ConnectionLost, Internal, UntrustedAgent, from_wire
from .peer import peer_credentials
from .place import check_place
from .question import LONGEST, Question
from .remedy import start_agent
from .waiting import Waits
from .wire import Connection, Message, Notification, Response, WireError

_READ_SIZE = 65536
# Seconds for what an agent that hung up had said before.
_LAST_WORDS = 1.0


class Link:
    """One connection to the agent; one call at a time.

    `used` says whether a call was answered on it, `waiting` whether one was sent and not answered: then the
    connection is of no further use. `hung_up` says whether the agent ended it and said so.
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
        """Close it; in a forked child, only the child's descriptor of it."""
        self._socket.close()

    async def call(self, question: Question) -> dict[str, object]:
        """The result of a question.

        Raises:
            AgentError: what the agent refused; `Timeout` at the deadline; `ConnectionLost`, whose detail `sent` says
                whether the agent may have got the request.

        """
        await self.ask(question)
        try:
            return await self.answer(question, question.deadline)
        except TimeoutError as error:
            raise question.unanswered() from error

    async def ask(self, question: Question) -> None:
        """Send a question, whose answer is waited for by `answer`. Raises as `call` does."""
        if question.deadline < time.monotonic():  # it waited for this connection
            raise question.unanswered()
        _, request = self._wire.request(question.method, question.parameters)
        self.waiting = True
        try:
            rest = self._send(request)
            while rest:
                await self._waits.writable(self._socket, question.deadline)
                rest = self._send(rest)
        except TimeoutError as error:
            raise question.unanswered() from error
        except BrokenPipeError as error:
            raise await self._last_words() or ConnectionLost("the agent hung up", sent=False) from error
        except OSError as error:
            raise _lost(error) from error

    async def answer(self, question: Question, deadline: float) -> dict[str, object]:
        """The result of the question that was sent last; `deadline` is on the monotonic clock.

        Raises:
            TimeoutError: there is none yet; it may be waited for again.
            AgentError: what the agent refused, or `ConnectionLost`.

        """
        try:
            response = await self._answer(deadline)
        except TimeoutError:
            raise
        except (OSError, WireError) as error:
            raise _lost(error) from error
        self.waiting = False
        self.used = True
        if response.error is not None:
            raise response.error
        result = response.result
        if result is True:
            return {}  # the method has nothing to tell
        if not isinstance(result, dict):
            raise Internal(f"the agent answered {question.method} with no map")
        return result  # pyright: ignore[reportUnknownVariableType] -- its keys are texts: the wire saw to that

    def fileno(self) -> int:
        """What becomes readable when the agent says something, or hangs up."""
        return self._socket.fileno()

    async def notification(self) -> Notification:
        """What the agent says next without being asked, however long that takes.

        Raises:
            ConnectionLost: nothing more will come.

        """
        try:
            while True:
                message = await self._next(None)
                if isinstance(message, Notification):
                    return message
        except (OSError, WireError) as error:
            raise _lost(error) from error

    def is_over(self) -> bool:
        """Whether the agent has hung up since the last call: then there is something to read, or its end."""
        return bool(self._poll.poll(0))

    async def wait_for_end(self, timeout: float) -> bool:
        """Whether the agent ends the connection within so many seconds; whatever it says until then."""
        deadline = time.monotonic() + min(LONGEST, timeout)
        try:
            while True:
                await self._waits.readable(self._socket, deadline)
                self._receive()
        except TimeoutError:
            return False
        except (ConnectionLost, OSError):
            return True

    async def _answer(self, deadline: float) -> Response:
        while True:
            message = await self._next(deadline)
            if isinstance(message, Response):
                return message

    async def _next(self, deadline: float | None) -> Message:
        while (message := self._wire.next_message()) is None:
            # Waited for even where something is there: an agent that talks without pause must not be all that runs.
            await self._waits.readable(self._socket, deadline)
            self._wire.receive_data(self._receive())
        if isinstance(message, Notification) and message.method == "closing":
            self.hung_up = True
            said = from_wire(message.values[0] if message.values else None)
            # To a connection that was used before it may have been said before the request came: a new one tells.
            raise ConnectionLost(f"the agent hung up: {said.message}", sent=True) if self.used else said
        return message

    def _send(self, data: bytes) -> bytes:
        """Send what there is room for; the rest."""
        try:
            return data[self._socket.send(data) :]
        except BlockingIOError:
            return data

    def _receive(self) -> bytes:
        """What has come; nothing, where the kernel spoke too soon. Raises `ConnectionLost` at the end."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionLost("the agent hung up", sent=True)
        return data

    async def _last_words(self) -> AgentError | None:
        """Why the agent hung up before anything was asked of it, if it said so.

        What it said to a connection that had been used before is of no interest: a new one may do better.
        """
        if self.used:
            return None
        try:
            await self._answer(time.monotonic() + _LAST_WORDS)
        except AgentError as error:
            return None if isinstance(error, ConnectionLost) else error
        except (OSError, WireError):
            return None
        return None


async def connect(path: str, waits: Waits) -> Link:
    """A new connection to the agent at that path, after a look at who listens there.

    Raises:
        AgentNotRunning: nobody does, or is too busy.
        UntrustedAgent: another user does, or others may enter the directory: nothing was sent.

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
    except (TimeoutError, BlockingIOError) as error:
        raise AgentNotRunning(f"the agent at {path} is too busy to be reached") from error
    except OSError as error:
        raise AgentNotRunning(f"the agent at {path} can't be reached: {error.strerror or error}") from error
    return Link(connection, waits)


def _check_server(connection: socket.socket, path: str) -> None:
    _, uid = peer_credentials(connection)
    if uid != os.geteuid():
        raise UntrustedAgent(f"who listens at {path} is the user {uid}, not you: nothing was sent")


def _lost(error: OSError | WireError) -> ConnectionLost:
    if isinstance(error, WireError):
        return ConnectionLost(f"the agent speaks another protocol: {error}", sent=True)
    return ConnectionLost(f"the connection to the agent broke: {error.strerror}", sent=True)
