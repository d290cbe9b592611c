"""The authentication plugin of HTTPie: `https --auth-type=auth-agent api.acme.example/`."""

from importlib import import_module
from typing import Any

import requests

from .errors import AgentError
from .requests import AgentAuth

__all__ = ["AgentAuthPlugin"]

_plugins: Any = import_module("httpie.plugins")  # it has no types


class AgentAuthPlugin(_plugins.AuthPlugin):  # type: ignore[misc]  # as above
    """Gives each request a token of the agent, by the URL's rule; `--auth NAME` takes no other account's."""

    name = "auth-agent"
    description = "Take the token from auth-agent; --auth may name the account"
    auth_type = "auth-agent"
    auth_require = False
    auth_parse = False
    prompt_password = False
    raw_auth: str | None

    def get_auth(self, username: str | None = None, password: str | None = None) -> "HTTPieAuth":  # noqa: ARG002 -- HTTPie's signature
        """Return what HTTPie gives to requests."""
        return HTTPieAuth(self.raw_auth)


class NoToken(Exception):
    """Why there is no token, and below it what helps: HTTPie prints the message of any exception."""


class HTTPieAuth(AgentAuth):
    """`AgentAuth` whose errors say what helps."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give the request a token, and look at its response."""
        try:
            request = super().__call__(request)
        except AgentError as error:
            raise _no_token(error) from None
        request.hooks["response"] = [_told(hook) for hook in request.hooks["response"]]
        return request


def _told(hook: Any) -> Any:
    def look(response: requests.Response, **options: Any) -> requests.Response:
        try:
            result: requests.Response = hook(response, **options)
        except AgentError as error:
            raise _no_token(error) from None
        return result

    return look


def _no_token(error: AgentError) -> NoToken:
    return NoToken("\n  ".join([error.message, *map(str, error.remedy)]))
