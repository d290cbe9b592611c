"""`AgentAuth` for httpx2: `httpx2.Client(auth=AgentAuth("work"))`, or `httpx2.AsyncClient`."""

import httpx2

from .httpx_flow import HttpxFlow

__all__ = ["AgentAuth"]


class AgentAuth(HttpxFlow[httpx2.Request, httpx2.Response], httpx2.Auth):
    """Gives each request a token of the agent; for a client of httpx2, or for one request.

    An API's 401 is reported to the agent (and a 403 that asks for another login), and the request is sent once more
    with another token, if there is one and its body is in memory: not if that is a stream, a file or a multipart form.

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

    @staticmethod
    def _request_of(response: httpx2.Response) -> httpx2.Request:
        return response.request

    @staticmethod
    def _is_repeatable(request: httpx2.Request) -> bool:
        return isinstance(request.stream, httpx2.ByteStream)
