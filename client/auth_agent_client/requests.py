"""`AgentAuth` for requests: `session.auth = AgentAuth("work")`, or `requests.get(url, auth=AgentAuth("work"))`."""

from collections.abc import Callable, Iterable
from typing import Any

import requests
from requests.auth import AuthBase

from .request_auth import Answer, RequestAuth, Tokens
from .token import Token

__all__ = ["AgentAuth"]


class AgentAuth(AuthBase):
    """Gives each request a token of the agent; for a session of requests, or for one request. Threads may share it.

    An API's 401 is reported to the agent (and a 403 that asks for another login), and the request is sent once more
    with another token, if there is one and its body is in memory, or a file that can be rewound.

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
        self._tokens = Tokens(RequestAuth(account, audience, scope, origins), path)

    def close(self) -> None:
        """Close the idle connections to the agent; a later request opens new ones."""
        self._tokens.close()

    def __del__(self) -> None:
        if hasattr(self, "_tokens"):  # not if `__init__` raised
            self.close()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give the request a token, and look at its response; requests calls this before it sends it."""
        authorized = _Authorized(self._tokens, request)
        request.register_hook("response", authorized.look)
        return request


class _Authorized:
    """A request with a token. Redirects copy its hook, and its token unless they lead to another host."""

    def __init__(self, tokens: Tokens, request: requests.PreparedRequest) -> None:
        self._tokens = tokens
        self._given = tokens.token(request.url or "")
        self._start = _position(request.body)
        _set_token(request, self._given.token)

    def look(self, response: requests.Response, **options: Any) -> requests.Response:
        """Return the response, or that of the request with another token, if it rejects this one."""
        request = response.request
        authorization, challenge = request.headers.get("Authorization"), response.headers.get("WWW-Authenticate")
        try:
            other = self._tokens.replacement(self._given, Answer(authorization, response.status_code, challenge))
            if other is None or not _rewind(request.body, self._start):
                return response
            response.content  # noqa: B018 -- reads it, so that the connection can be used again
        except BaseException:
            response.close()
            raise
        self._given.token = other
        _set_token(request, other)  # and so for redirects, which begin with this request
        again = response.connection.send(request, **options)
        again.history.append(response)
        return again


def _set_token(request: requests.PreparedRequest, token: Token) -> None:
    request.headers.update(token.headers(request.method or "", request.url or ""))


def _position(body: object) -> int | None:
    """Return where a file is read from, None if the body is not a file, or a file that can't say it, such as a pipe."""
    tell: Callable[[], int] | None = getattr(body, "tell", None)
    try:
        return None if tell is None else tell()
    except OSError:
        return None


def _rewind(body: object, position: int | None) -> bool:
    """Return whether the body can be sent again, after moving a file back to that position."""
    if body is None or isinstance(body, (bytes, str)):
        return True
    seek: Callable[[int], object] | None = getattr(body, "seek", None)
    if position is None or seek is None:
        return False
    try:
        seek(position)
    except (OSError, ValueError):  # a pipe; or a file that the program has closed
        return False
    return True
