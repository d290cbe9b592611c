"""One connection to the agent, for one call at a time: opened safely, given up on in time."""

import os
import socket
import struct
import time

from .errors import AgentError, AgentNotRunning, ConnectionLost, Internal, Timeout, UntrustedAgent, from_wire
from .messages import check
from .peer import peer_credentials
from .wire import Connection, Notification, Response, WireError

# The agent answers by the request's `timeout`; this much later it is taken to hang.
_GRACE = 5.0
# Eleven days: more milliseconds than that, and the kernel's poll takes no more.
_LONGEST = 1_000_000.0
_CONNECT_TIMEOUT = 10.0
_READ_SIZE = 65536


class Link:
    """One connection to the agent; one call at a time."""

    def __init__(self, path: str) -> None:
        self.pid = os.getpid()
        self.used = False
        self.waiting = False
        self._wire = Connection()
        self._socket = _connect(path)

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, parameters: dict[str, object]) -> dict[str, object]:
        spec = check(method, parameters)
        longest = spec.longest
        if spec.timeout is not None:
            asked = parameters.get("timeout", spec.timeout)
            longest = min(_LONGEST, _GRACE + (float(asked) if isinstance(asked, (int, float)) else spec.timeout))
        _, request = self._wire.request(method, parameters)
        self.waiting = True
        try:
            self._socket.settimeout(longest)
            self._socket.sendall(request)
            response = self._answer(time.monotonic() + longest)
        except TimeoutError as error:
            raise Timeout(f"the agent has not answered {method} for {longest:g} s") from error
        except BrokenPipeError as error:
            raise self._last_words() or ConnectionLost("the agent hung up", sent=False) from error
        except OSError as error:
            raise ConnectionLost(f"the connection to the agent broke: {error.strerror}", sent=True) from error
        except WireError as error:
            raise ConnectionLost(f"the agent speaks another protocol: {error}", sent=True) from error
        self.waiting = False
        self.used = True
        if response.error is not None:
            raise response.error
        result = response.result
        if not isinstance(result, dict):
            raise Internal(f"the agent answered {method} with no map")
        return result  # pyright: ignore[reportUnknownVariableType] -- its keys are texts: the wire saw to that

    def is_over(self) -> bool:
        """Whether the agent has hung up since the last call: then there is something to read, or its end."""
        try:
            self._socket.setblocking(False)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def wait_for_end(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        try:
            while True:
                self._read(deadline)
        except TimeoutError:
            return False
        except (ConnectionLost, OSError):
            return True

    def _answer(self, deadline: float) -> Response:
        while True:
            message = self._wire.next_message()
            if isinstance(message, Response):
                return message
            if isinstance(message, Notification) and message.method == "closing":
                said = from_wire(message.values[0] if message.values else None)
                # To a connection that was used before it may have been said before the request came: a new one tells.
                raise ConnectionLost(f"the agent hung up: {said.message}", sent=True) if self.used else said
            if message is None:
                self._wire.receive_data(self._read(deadline))

    def _read(self, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:  # it talks without pause, and never answers
            raise TimeoutError
        self._socket.settimeout(left)
        data = self._socket.recv(_READ_SIZE)
        if not data:
            raise ConnectionLost("the agent hung up", sent=True)
        return data

    def _last_words(self) -> AgentError | None:
        """Why the agent hung up before anything was asked of it, if it said so.

        What it said to a connection that had been used before is of no interest: a new one may do better.
        """
        if self.used:
            return None
        try:
            self._answer(time.monotonic() + 1)
        except AgentError as error:
            return None if isinstance(error, ConnectionLost) else error
        except (OSError, WireError):
            return None
        return None


def _connect(path: str) -> socket.socket:
    deadline = time.monotonic() + _CONNECT_TIMEOUT
    while True:
        connection = _try_to_connect(path)
        try:
            connection.getpeername()
        except OSError as error:
            # A signal came while the backlog was full, and Python takes the interrupted connect for a finished one.
            connection.close()
            if time.monotonic() > deadline:
                raise AgentNotRunning(f"the agent at {path} is too busy to be reached") from error
            continue
        try:
            _check_server(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _try_to_connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        # A blocking connect with a limit of the kernel's: one without blocking fails at once on Linux when the
        # backlog is full, instead of waiting for its turn.
        limit = struct.pack("ll", int(_CONNECT_TIMEOUT), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        connection.close()
        raise AgentNotRunning(f"no agent listens at {path}; start one with: auth-agent run") from error
    except OSError as error:
        connection.close()
        raise AgentNotRunning(f"the agent at {path} can't be reached: {error.strerror}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check_server(connection: socket.socket, path: str) -> None:
    _, uid = peer_credentials(connection)
    if uid != os.geteuid():
        raise UntrustedAgent(f"who listens at {path} is the user {uid}, not you: nothing was sent")
