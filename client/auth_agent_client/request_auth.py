"""Decides which HTTP request gets a token, and whether a response rejects it: the same for every HTTP library.

A library's own module only says where the URL, the headers and the body of its requests are.
"""

from collections.abc import Iterable, Mapping

from .client import Agent
from .errors import AgentError, Denied
from .messages import challenge_of
from .origins import Origins
from .token import Token, token_from
from .working_directory import working_directory

_UNAUTHORIZED, _FORBIDDEN = 401, 403
# With status 403, only these say that another token would do (RFC 6750, 3.1; RFC 9470, 3; Entra's claims challenge).
# The agent parses the challenge; a word in a wrong place costs at most one refresh.
_WANTED = ("insufficient_scope", "insufficient_user_authentication", "insufficient_claims", "claims=")


class Answer:
    """What of a response says whether it rejects a token.

    Args:
        authorization: the `Authorization` of the request that got it, which a redirect to another host takes away.
        status: its status.
        challenge: its `WWW-Authenticate`, several joined by commas; None or "" if it has none.

    """

    __slots__ = ("authorization", "challenge", "status")

    def __init__(self, authorization: str | bytes | None, status: int, challenge: str | None) -> None:
        self.authorization = authorization
        self.status = status
        self.challenge = challenge


class RequestAuth:
    """Which token requests get, and what the agent is asked about it. Pure.

    Args:
        account: the account's name; by default the one that the configuration's `[hosts]` name for the URL, or with
            `origins` the default account.
        audience: the API that the token is for, if not the account's own.
        scope: the scopes that the token must at least have, separated by spaces, if not the account's own.
        origins: the only origins that get tokens; by default those of `[hosts]`.

    Raises:
        ValueError: `origins` has something else than origins, or plain HTTP to another machine.

    """

    def __init__(
        self, account: str | None, audience: str | None, scope: str | None, origins: Iterable[str] | None
    ) -> None:
        self._params = {"account": account, "audience": audience, "scope": scope}
        self._origins = None if origins is None else Origins(origins)

    def token_params(self, url: str, directory: str | None) -> dict[str, object]:
        """Return the parameters of `token` for a request to that URL, of a program that runs in that directory.

        Raises:
            Denied, InvalidRequest: the URL gets no token by `origins`.

        """
        if self._origins is not None:
            self._origins.check(url)
            return {**self._params}
        # The agent compares no more than this, and the rest may hold a secret.
        return {**self._params, "url": url.partition("#")[0].partition("?")[0], "directory": directory}


class RequestToken:
    """The token of an HTTP request, and the parameters for which the agent gave it."""

    __slots__ = ("params", "token")

    def __init__(self, params: Mapping[str, object], token: Token) -> None:
        self.params = params
        self.token = token

    def rejected_params(self, answer: Answer) -> dict[str, object] | None:
        """Return the parameters of `rejected`; None if the response doesn't reject the token."""
        if answer.authorization != self.token.authorization or answer.status not in (_UNAUTHORIZED, _FORBIDDEN):
            return None
        challenge = challenge_of(answer.challenge or "")
        if answer.status == _FORBIDDEN and not (challenge and any(word in challenge for word in _WANTED)):
            return None
        return {**self.params, "access_token": self.token.access_token, "challenge": challenge}


def must_be_raised(error: AgentError) -> bool:
    """Return whether a person has to do something, such as to log in; if not, the API's own response says more."""
    return not (error.retryable or isinstance(error, Denied))


class Tokens:
    """The tokens of a program's requests, from the blocking client."""

    def __init__(self, rules: RequestAuth, path: str | None) -> None:
        self._rules = rules
        self._agent = Agent(path)

    def close(self) -> None:
        """Close the idle connections to the agent."""
        self._agent.close()

    def token(self, url: str) -> RequestToken:
        """Return the token for a request to that URL. Raises an `AgentError` if there is none."""
        params = self._rules.token_params(url, working_directory())
        return RequestToken(params, token_from(self._agent.call("token", params)))

    def replacement(self, given: RequestToken, answer: Answer) -> Token | None:
        """Report the token if it was rejected, and return the one to use instead, None if there is none.

        Raises:
            AgentError: there is none until a person does something.

        """
        params = given.rejected_params(answer)
        if params is None:
            return None
        try:
            return token_from(self._agent.call("rejected", params))
        except AgentError as error:
            if must_be_raised(error):
                raise
            return None
