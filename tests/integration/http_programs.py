"""Programs that send requests with `AgentAuth`: the same requests, by each HTTP library that has one."""

import asyncio
import io
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import aiohttp
import anyio
import anyio.lowlevel
import httpx
import httpx2
import requests
import trio

import auth_agent_client.aiohttp
import auth_agent_client.httpx
import auth_agent_client.httpx2
import auth_agent_client.requests

BODY = b"12 potatoes"
_PAUSE = 0.1  # s


class Sent(NamedTuple):
    """The response to a request."""

    status: int
    text: str


class _Pipe(io.RawIOBase):
    """A file that can be read once."""

    def __init__(self) -> None:
        self._rest = BODY

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _rest_of_file() -> io.BytesIO:
    """Return a file whose beginning was read already."""
    file = io.BytesIO(b"before" + BODY)
    file.seek(6)
    return file


def _generator() -> Generator[bytes]:
    yield BODY[:4]
    yield BODY[4:]


async def _async_generator() -> AsyncGenerator[bytes]:
    yield BODY[:4]
    yield BODY[4:]


class Program(ABC):
    """A program whose one `AgentAuth` has these arguments; each of its methods uses a new client of the library."""

    auth_class: Any
    follows = True  # redirects

    # The kinds of bodies that can be sent again, and those that can't.
    repeatable: Sequence[str]
    unrepeatable: Sequence[str]

    def __init__(self, **auth: Any) -> None:
        self._auth = self.auth_class(**auth)

    def get(self, url: str) -> Sent:
        """Send one GET request, and follow redirects."""
        return self.send(("GET", url, None))[0]

    def post(self, url: str, body: str = "bytes") -> Sent:
        """Send one POST request with a body of that kind: "bytes", "file", "rest" (of a file), "generator", "pipe"."""
        return self.send(("POST", url, body))[0]

    @abstractmethod
    def send(self, *calls: tuple[str, str, str | None]) -> list[Sent]:
        """Send requests, one after the other, by one client: method, URL, and the kind of body."""

    @abstractmethod
    def send_at_once(self, count: int, url: str) -> list[Sent]:
        """Send so many GET requests at the same time, by one client."""

    @abstractmethod
    def send_until(self, is_over: Callable[[], bool], url: str) -> list[Sent]:
        """Send a POST request every tenth of a second, by one client, until that is true."""


class _Sync(Program):
    def send_at_once(self, count: int, url: str) -> list[Sent]:
        one, close = self._client()
        try:
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(one, ["GET"] * count, [url] * count, [None] * count))
        finally:
            close()

    def send_until(self, is_over: Callable[[], bool], url: str) -> list[Sent]:
        one, close = self._client()
        results: list[Sent] = []
        try:
            while not is_over():
                results.append(one("POST", url, "bytes"))
                time.sleep(_PAUSE)
        finally:
            close()
        return results

    def send(self, *calls: tuple[str, str, str | None]) -> list[Sent]:
        one, close = self._client()
        try:
            return [one(*call) for call in calls]
        finally:
            close()

    @abstractmethod
    def _client(self) -> tuple[Callable[[str, str, str | None], Sent], Callable[[], object]]: ...


def _body(kind: str | None) -> Any:
    return {
        "bytes": BODY,
        "file": io.BytesIO(BODY),
        "rest": _rest_of_file(),
        "generator": _generator(),
        "pipe": _Pipe(),
    }.get(kind or "")


def _async_body(kind: str | None) -> Any:
    return _async_generator() if kind == "generator" else _body(kind)


class Requests(_Sync):
    """By a session of requests."""

    auth_class = auth_agent_client.requests.AgentAuth
    repeatable = ("bytes", "file", "rest")
    unrepeatable = ("generator", "pipe")

    def _client(self) -> tuple[Callable[[str, str, str | None], Sent], Callable[[], object]]:
        session = requests.Session()
        session.trust_env = False
        session.auth = self._auth

        def one(method: str, url: str, body: str | None) -> Sent:
            response = session.request(method, url, data=_body(body), allow_redirects=self.follows)
            return Sent(response.status_code, response.text)

        return one, session.close


class Httpx(_Sync):
    """By a client of httpx."""

    library: Any = httpx
    auth_class: Any = auth_agent_client.httpx.AgentAuth
    repeatable = ("bytes",)
    unrepeatable = ("file", "generator", "pipe")

    def _client(self) -> tuple[Callable[[str, str, str | None], Sent], Callable[[], object]]:
        client = self.library.Client(auth=self._auth, follow_redirects=self.follows, trust_env=False)

        def one(method: str, url: str, body: str | None) -> Sent:
            response = client.request(method, url, content=_body(body))
            return Sent(response.status_code, response.text)

        return one, client.close


class Httpx2(Httpx):
    """By a client of httpx2."""

    library = httpx2
    auth_class = auth_agent_client.httpx2.AgentAuth


Send = Callable[[str, str, str | None], Coroutine[Any, Any, Sent]]


class Async(Program):
    """By a client for tasks, in an event loop of its own."""

    def send(self, *calls: tuple[str, str, str | None]) -> list[Sent]:
        async def program(send: Send) -> list[Sent]:
            return [await send(*call) for call in calls]

        return self.run(program)

    def send_at_once(self, count: int, url: str) -> list[Sent]:
        async def program(send: Send) -> list[Sent]:
            results: list[Sent] = []

            async def one() -> None:
                results.append(await send("GET", url, None))

            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(one)
            return results

        return self.run(program)

    def send_until(self, is_over: Callable[[], bool], url: str) -> list[Sent]:
        async def program(send: Send) -> list[Sent]:
            results: list[Sent] = []
            while not is_over():
                results.append(await send("POST", url, "bytes"))
                await anyio.sleep(_PAUSE)
            return results

        return self.run(program)

    def send_beside(self, url: str, work: Callable[[], object]) -> list[Sent]:
        """Send a GET request, and do other work in the same event loop while it waits."""

        async def program(send: Send) -> list[Sent]:
            results: list[Sent] = []

            async def one() -> None:
                results.append(await send("GET", url, None))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one)
                for _ in range(100):
                    await anyio.lowlevel.checkpoint()
                assert not results
                work()
            return results

        return self.run(program)

    def run(self, program: Callable[[Send], Coroutine[Any, Any, list[Sent]]]) -> list[Sent]:
        """Run a program that sends requests by one client."""
        return asyncio.run(self._run(program))

    @abstractmethod
    async def _run(self, program: Callable[[Send], Coroutine[Any, Any, list[Sent]]]) -> list[Sent]: ...


class HttpxAsync(Async):
    """By an asynchronous client of httpx."""

    library: Any = httpx
    auth_class: Any = auth_agent_client.httpx.AgentAuth
    repeatable = ("bytes",)
    unrepeatable = ("generator",)

    async def _run(self, program: Callable[[Send], Coroutine[Any, Any, list[Sent]]]) -> list[Sent]:
        async with self.library.AsyncClient(auth=self._auth, follow_redirects=self.follows, trust_env=False) as client:

            async def send(method: str, url: str, body: str | None) -> Sent:
                response = await client.request(method, url, content=_async_body(body))
                return Sent(response.status_code, response.text)

            return await program(send)


class HttpxTrio(HttpxAsync):
    """By an asynchronous client of httpx, in trio."""

    def run(self, program: Callable[[Send], Coroutine[Any, Any, list[Sent]]]) -> list[Sent]:
        return trio.run(self._run, program)


class Httpx2Async(HttpxAsync):
    """By an asynchronous client of httpx2."""

    library = httpx2
    auth_class = auth_agent_client.httpx2.AgentAuth


class Aiohttp(Async):
    """By a session of aiohttp."""

    auth_class = auth_agent_client.aiohttp.AgentAuth
    repeatable = ("bytes", "file", "rest")
    unrepeatable = ("generator", "pipe")

    async def _run(self, program: Callable[[Send], Coroutine[Any, Any, list[Sent]]]) -> list[Sent]:
        async with aiohttp.ClientSession(middlewares=[self._auth]) as session:

            async def send(method: str, url: str, body: str | None) -> Sent:
                async with session.request(
                    method, url, data=_async_body(body), allow_redirects=self.follows
                ) as response:
                    return Sent(response.status, await response.text())

            return await program(send)


PROGRAMS: tuple[type[Program], ...] = (Requests, Httpx, HttpxAsync, HttpxTrio, Httpx2, Httpx2Async, Aiohttp)
ASYNC_PROGRAMS: tuple[type[Async], ...] = (HttpxAsync, HttpxTrio, Httpx2Async, Aiohttp)
