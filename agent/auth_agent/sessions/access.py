"""Sends requests to an API of the provider with a session's token; after a 401, once more with a new token."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from auth_agent.oauth.outcome import Failure, Rejected
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken, TokenKey
from auth_agent_client import errors

_Result = TypeVar("_Result")

# Seconds to wait for a token.
_TOKEN_PATIENCE: Final = 30.0


class Access:
    """Sends API requests with the tokens of sessions."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher
        # The epoch in which a new token was rejected, too: a further refresh would not help.
        self._rejected: dict[tuple[Session, TokenKey], int] = {}

    async def ask(
        self,
        session: Session,
        key: TokenKey,
        request: Callable[[AccessToken], Awaitable[_Result | Failure]],
        asker: Asker,
    ) -> _Result | Failure:
        """Send a request with the token of that key, and at most once more with the next one; return the result.

        `asker` is the program that needs it.

        Raises:
            AgentError: there is no token.

        """
        token = await self._refresher.token(session, Demand(key), asker, _TOKEN_PATIENCE)
        result = await request(token)
        if not isinstance(result, Rejected):
            self._rejected.pop((session, key), None)
            return result
        demand = session.reject(key, token.value, self._refresher.now())
        if isinstance(demand, errors.AgentError) or self._rejected.get((session, key)) == session.epoch:
            return result
        self._rejected[session, key] = session.epoch  # removed below if the API accepts the next one
        token = await self._refresher.token(session, demand, asker, _TOKEN_PATIENCE)
        result = await request(token)
        if not isinstance(result, Rejected):
            self._rejected.pop((session, key), None)
        return result
