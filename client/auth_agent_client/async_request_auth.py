"""The tokens of a program's HTTP requests, from the asynchronous client."""

from .aio import AsyncAgent
from .errors import AgentError
from .request_auth import Answer, RequestAuth, RequestToken, must_be_raised
from .token import Token, token_from
from .waiting import finish
from .working_directory import working_directory


class AsyncTokens:
    """As `Tokens`, for tasks."""

    def __init__(self, rules: RequestAuth, path: str | None) -> None:
        self._rules = rules
        self._agent = AsyncAgent(path)

    def close(self) -> None:
        """Close the idle connections to the agent."""
        finish(self._agent.close())  # it closes sockets, and waits for nothing

    async def token(self, url: str) -> RequestToken:
        """Return the token for a request to that URL. Raises an `AgentError` if there is none."""
        params = self._rules.token_params(url, working_directory())
        return RequestToken(params, token_from(await self._agent.call("token", params)))

    async def replacement(self, given: RequestToken, answer: Answer) -> Token | None:
        """Report the token if it was rejected, and return the one to use instead, None if there is none.

        Raises:
            AgentError: there is none until a person does something.

        """
        params = given.rejected_params(answer)
        if params is None:
            return None
        try:
            return token_from(await self._agent.call("rejected", params))
        except AgentError as error:
            if must_be_raised(error):
                raise
            return None
