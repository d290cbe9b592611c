"""An API of the provider's, asked with a session's token; and with the next one, where it takes this one no longer."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from auth_agent.oauth.outcome import Failure, Rejected
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken, TokenKey
from auth_agent_client import errors

_Answer = TypeVar("_Answer")

# Seconds for a token, which is at hand but for an outage.
_TOKEN_PATIENCE: Final = 30.0


class Access:
    """Asks APIs with the tokens of sessions."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher
        # The login of which a token was rejected though it was new: another one would be too.
        self._rejected: dict[tuple[Session, TokenKey], int] = {}

    async def ask(
        self, session: Session, key: TokenKey, request: Callable[[AccessToken], Awaitable[_Answer | Failure]]
    ) -> _Answer | Failure:
        """What the request comes to with the token of that key, or with the one after it; once each.

        Raises:
            AgentError: there is no token.

        """
        token = await self._refresher.token(session, Demand(key), RateLimit(), _TOKEN_PATIENCE)
        answer = await request(token)
        if not isinstance(answer, Rejected):
            self._rejected.pop((session, key), None)
            return answer
        demand = session.reject(key, token.value.reveal(), self._refresher.now())
        if isinstance(demand, errors.AgentError) or self._rejected.get((session, key)) == session.epoch:
            return answer
        self._rejected[session, key] = session.epoch  # unless the next one is taken
        token = await self._refresher.token(session, demand, RateLimit(), _TOKEN_PATIENCE)
        answer = await request(token)
        if not isinstance(answer, Rejected):
            self._rejected.pop((session, key), None)
        return answer
