"""What a program's signal handler raises in a call, at whatever line: it comes out, and no response is taken amiss."""

import contextlib
import gc
import itertools
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

import pytest

from auth_agent_client import Agent, link
from auth_agent_client.wire import Connection, Request
from tests.integration.agent_process import PATIENCE
from tests.integration.impostor import listening

PACKAGE = str(Path(link.__file__).parent)
ERRORS = [OSError, TimeoutError, KeyboardInterrupt]


class Tracer(Protocol):
    """As `sys.settrace` takes it."""

    def __call__(self, frame: FrameType, event: str, argument: object, /) -> "Tracer | None": ...


class Handler:
    """Raises an error once, before the line of the package that is `number` lines after the beginning."""

    def __init__(self, error: BaseException, number: int) -> None:
        self.has_run = False
        self._error = error
        self._left = number

    def enter(self, frame: FrameType, _event: str, _argument: object) -> Tracer | None:
        """Look at the lines of a function if it is the package's."""
        return self._look if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _look(self, _frame: FrameType, event: str, _argument: object) -> Tracer:
        if event == "line":
            self._left -= 1
            if self._left < 0 and not self.has_run:
                self.has_run = True
                raise self._error
        return self._look


def is_interrupted(call: Callable[[], object], error: BaseException, number: int) -> bool:
    """Return whether the handler ran in the call, which then raised its error."""
    handler, others = Handler(error, number), sys.gettrace()
    sys.settrace(handler.enter)
    try:
        call()
    except BaseException as raised:
        if raised is not error:
            raise
        error.__traceback__ = error.__context__ = None
        return True
    finally:
        sys.settrace(others)
    assert not handler.has_run, f"no error came out, {number} lines after the beginning"
    return False


def respond(connection: socket.socket) -> None:
    """Answer `token` with the account's name, a login not, and the rest with anything."""
    wire = Connection()
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(65536):
            wire.receive_data(data)
            while (request := wire.next_message()) is not None:
                assert isinstance(request, Request)
                name = request.parameters.get("account")
                more = {"account": name, "access_token": name, "token_type": "Bearer", "expires_at": 4e9}
                if request.method != "login_result":
                    connection.sendall(wire.respond(request, {"login_id": "x", "accounts": [], **more}))


@pytest.fixture
def path(tmp_path: Path) -> Generator[str, None, None]:
    """The socket of a server that says which account a token is for."""
    tmp_path.chmod(0o700)
    path = tmp_path / "agent.sock"

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=respond, args=(server.accept()[0],), daemon=True).start()

    with listening(path) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        yield str(path)
        server.shutdown(socket.SHUT_RDWR)
        serving.join()


# An error between two lines may leave a socket that nobody closes, and a coroutine that nobody awaits.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("watch", [False, True], ids=["asking", "watching"])
@pytest.mark.parametrize(
    ("before", "account"),
    [("aaa", "a"), ("aaa", "b"), ("", "a"), ("a", None)],
    ids=["again", "another account", "first", "another method"],
)
def test_an_error_of_a_signal_handler_comes_out_at_any_line(
    before: str, account: str | None, watch: bool, kind: type[BaseException], path: str
) -> None:
    number = 0
    for number in itertools.count():
        with Agent(path, watch=watch) as agent:
            for one in before:
                agent.token(one)
            call = agent.reload if account is None else partial(agent.token, account)
            if not is_interrupted(call, kind(), number):
                break
            assert [agent.token(one).access_token for one in "bac"] == ["b", "a", "c"]
    gc.collect()  # here, where sockets may be closed that way
    assert number > 10


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("method", ["watch", "wait_for_end", "login"])
def test_an_error_of_a_signal_handler_ends_a_wait(method: str, kind: type[BaseException], path: str) -> None:
    """A watch would reconnect, the agent would be thought gone, the login be thought over."""
    error = kind("from the handler")

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Agent(path) as agent, contextlib.closing(agent.watch()) as watch, agent.login("work") as login:
            waits: dict[str, Callable[[], object]] = {
                "watch": lambda: next(watch, None),
                "wait_for_end": partial(agent.wait_for_end, PATIENCE),
                "login": login.result,
            }
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(kind) as raised:
                waits[method]()
            assert raised.value is error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
