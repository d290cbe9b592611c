"""The flow of httpx and of httpx2, whose classes are alike, but not the same: each accepts only its own `Auth`."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Iterable, MutableMapping
from typing import Generic, Protocol, TypeVar

from .async_request_auth import AsyncTokens
from .request_auth import Answer, RequestAuth, Tokens
from .token import Token


class Request(Protocol):
    """A request of either library."""

    @property
    def method(self) -> str: ...

    @property
    def url(self) -> object: ...

    @property
    def headers(self) -> MutableMapping[str, str]: ...


class Response(Protocol):
    """A response of either library."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> MutableMapping[str, str]: ...


RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT", bound=Response)


class HttpxFlow(ABC, Generic[RequestT, ResponseT]):
    """What `AgentAuth` is for either library; it may be shared by clients, threads and tasks.

    The library follows redirects within the flow. It takes the token away where one leads to another host, and gives
    the flow the last response.
    """

    def __init__(
        self,
        account: str | None = None,
        *,
        audience: str | None = None,
        scope: str | None = None,
        origins: Iterable[str] | None = None,
        path: str | None = None,
    ) -> None:
        rules = RequestAuth(account, audience, scope, origins)
        self._tokens = Tokens(rules, path)
        self._async_tokens = AsyncTokens(rules, path)

    def close(self) -> None:
        """Close the idle connections to the agent; a later request opens new ones."""
        self._tokens.close()
        self._async_tokens.close()

    def __del__(self) -> None:
        if hasattr(self, "_async_tokens"):  # not if `__init__` raised
            self.close()

    @staticmethod
    @abstractmethod
    def _request_of(response: ResponseT) -> RequestT:
        """Return the request that got the response."""

    @staticmethod
    @abstractmethod
    def _is_repeatable(request: RequestT) -> bool:
        """Return whether the request's body is in memory."""

    def sync_auth_flow(self, request: RequestT) -> Generator[RequestT, ResponseT, None]:
        """Send the request with a token, and again with another one if the API rejects the first."""
        given = self._tokens.token(str(request.url))
        response = yield _with_token(request, given.token)
        answered = self._request_of(response)
        other = self._tokens.replacement(given, _answer(answered, response))
        if other is not None and self._is_repeatable(answered):
            yield _with_token(answered, other)

    async def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, ResponseT]:
        """As `sync_auth_flow`, in an event loop."""
        given = await self._async_tokens.token(str(request.url))
        response = yield _with_token(request, given.token)
        answered = self._request_of(response)
        other = await self._async_tokens.replacement(given, _answer(answered, response))
        if other is not None and self._is_repeatable(answered):
            yield _with_token(answered, other)


def _with_token(request: RequestT, token: Token) -> RequestT:
    request.headers.update(token.headers(request.method, str(request.url)))
    return request


def _answer(request: Request, response: Response) -> Answer:
    challenge = response.headers.get("WWW-Authenticate")
    return Answer(request.headers.get("Authorization"), response.status_code, challenge)
