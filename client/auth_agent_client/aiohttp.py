"""`AgentAuth` for aiohttp: `aiohttp.ClientSession(middlewares=[AgentAuth("work")])`."""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import NamedTuple

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from yarl import URL

from .async_request_auth import AsyncTokens
from .request_auth import Answer, RequestAuth
from .token import Token

__all__ = ["AgentAuth"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _Redirect(NamedTuple):
    """The redirect that a task's last response was: its targets, as aiohttp may read them, and where it came from.

    `origin` is None if a redirect before it has led to another origin already.
    """

    targets: frozenset[URL]
    origin: URL | None


# aiohttp calls a middleware for each redirect that it follows, in the same task, and doesn't say that it is one.
_last_redirect: ContextVar[_Redirect | None] = ContextVar("auth_agent_client.aiohttp", default=None)


class AgentAuth:
    """Gives each request a token of the agent; a middleware of aiohttp, for a session or for one request.

    An API's 401 is reported to the agent (and a 403 that asks for another login), and the request is sent once more
    with another token, if there is one and its body can be sent again: not if that is a generator or a pipe.

    Args:
        account: the account's name; by default the account that the configuration's `[hosts]` name for the URL, or
            with `origins` the default account.
        audience: the API that the token is for, if not the account's own.
        scope: the scopes that the token must at least have, separated by spaces, if not the account's own.
        origins: the only origins that get tokens, such as `["https://api.acme.example"]`; by default those that
            `[hosts]` have for the account.
        path: the agent's socket; by default that of `socket_path`.

    Raises:
        ValueError: one of `origins` is not an origin, or is plain HTTP to another machine.

    A request raises an `AgentError` if there is no token for it: `Denied` for another origin, `LoginRequired` also
    after a response that asks for another login.

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
        self._tokens = AsyncTokens(RequestAuth(account, audience, scope, origins), path)

    def close(self) -> None:
        """Close the idle connections to the agent; a later request opens new ones."""
        self._tokens.close()

    def __del__(self) -> None:
        if hasattr(self, "_tokens"):  # not if `__init__` raised
            self.close()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request with a token, and again with another one if the API rejects the first; for aiohttp."""
        origin = _origin(request)
        response = await (handler(request) if origin is None else self._send(request, handler))
        _last_redirect.set(_redirect_of(response, origin))
        return response

    async def _send(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        given = await self._tokens.token(str(request.url))
        _set_token(request, given.token)
        response = await handler(request)
        try:
            challenge = ", ".join(response.headers.getall(hdrs.WWW_AUTHENTICATE, ()))
            answer = Answer(given.token.authorization, response.status, challenge)
            other = await self._tokens.replacement(given, answer)
        except BaseException:
            response.close()
            raise
        if other is None or (request.body and request.body.consumed):
            return response
        response.release()
        _set_token(request, other)
        return await handler(request)


def _origin(request: ClientRequest) -> URL | None:
    """Return the request's origin; None if a redirect from another origin led there, so that it gets no token."""
    redirect, origin = _last_redirect.get(), request.url.origin()
    if redirect is None or request.url not in redirect.targets or redirect.origin == origin:
        return origin
    return None


def _set_token(request: ClientRequest, token: Token) -> None:
    request.headers.update(token.headers(request.method, str(request.url)))


def _redirect_of(response: ClientResponse, origin: URL | None) -> _Redirect | None:
    location = response.headers.get(hdrs.LOCATION) or response.headers.get(hdrs.URI)
    if response.status not in _REDIRECTS or location is None:
        return None
    try:
        targets = [response.url.join(URL(location, encoded=encoded)) for encoded in (False, True)]
        # As in the URL of the request that follows.
        return _Redirect(frozenset(target.with_user(None).with_fragment(None) for target in targets), origin)
    except ValueError:  # not a URL; aiohttp raises an error of its own
        return None
