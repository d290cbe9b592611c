"""Proves that a provider ends older access tokens at a refresh: its UserInfo endpoint refuses one and takes the newer.

A program that says so proves nothing, but it is a reason to look: once a session. The older token is shown first, since
some providers end it when the newer one is first used, which must not be here. Anything else proves nothing. If an
outage came between, the agent looks again, a minute later at the earliest.
"""

import logging
import math
from collections.abc import Callable
from typing import Final

from auth_agent.config import Account
from auth_agent.oauth.outcome import Failure, Refusal, Rejected, Transient
from auth_agent.oauth.provider import Provider
from auth_agent.secret import Secret
from auth_agent.sessions.advice import rejected_otherwise, rejection_unconfirmed
from auth_agent.sessions.background import Background
from auth_agent.sessions.rate_limit import Asker, charge
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken
from auth_agent.sessions.table import Table
from auth_agent_client import errors

_log = logging.getLogger(__name__)

# Seconds between two looks, of which the first one could not tell.
_INTERVAL: Final = 60.0


class Prover:
    """Asks UserInfo what the report of a program alone does not prove about an access token.

    Once in each session, whether a refresh ended the one from before; and, where nothing renews it, whether it has
    ended, since it is all that the session has.
    """

    def __init__(
        self, table: Table, saver: Saver, background: Background, provider_for: Callable[[Account], Provider]
    ) -> None:
        self._table = table
        self._saver = saver
        self._background = background
        self._provider_for = provider_for
        # In which epoch it has looked, and when it may again, in seconds since boot.
        self._looked: dict[Session, tuple[int, float]] = {}

    def look(self, session: Session, rejected: Secret) -> None:
        """Begin to look, if an API rejected a token that was good by the clock after a newer one had come."""
        now = self._table.clock.now()
        newer = session.suspect(rejected, now)
        epoch, again_at = self._looked.get(session, (session.epoch, 0.0))
        if newer is None or (epoch == session.epoch and now.boot < again_at):
            return
        epoch = session.epoch
        self._looked[session] = epoch, now.boot + _INTERVAL

        async def work() -> None:
            if await self._look(session, epoch, rejected, newer) and self._looked[session][0] == epoch:
                self._looked[session] = epoch, math.inf

        self._background.begin_optional(work)

    async def end_if_refused(self, session: Session, rejected: Secret, asker: Asker) -> errors.AgentError | None:
        """End a session whose only token an API rejected, unless its provider takes it.

        Return why it goes on; None if it is over, or has another token now. If UserInfo can't tell at all, the API is
        believed.
        """
        token, epoch = session.current(), session.epoch
        if token is None or token.value != rejected:
            return None
        charge(self._table.clock.now().boot, session.rate_limit, asker)
        answer = await self._provider_for(session.account).userinfo(token.value, token.token_type)
        if session.epoch != epoch or session.current() is not token:
            return None
        if isinstance(answer, Transient):
            return rejection_unconfirmed(session.account, answer)
        if not isinstance(answer, Rejected | Refusal):
            return rejected_otherwise("the provider takes the token")
        if session.end_by_rejection():
            self._saver.save_soon(session)
            self._table.publish(session.account.name)
        return None

    async def _look(self, session: Session, epoch: int, old: Secret, newer: AccessToken) -> bool:
        """Look, and remember a proof; return whether that told whether a refresh ends tokens."""
        account = session.account
        provider = self._provider_for(account)
        metadata = await provider.discover()
        if isinstance(metadata, Failure) or metadata.manners.ends_access_token is not None:
            return not isinstance(metadata, Failure)
        answer = await provider.userinfo(old, newer.token_type)
        if not isinstance(answer, Rejected):
            return not isinstance(answer, Transient)
        if session.epoch != epoch or session.suspect(old, self._table.clock.now()) is None:
            return False  # it may have ended by the clock
        answer = await provider.userinfo(newer.value, newer.token_type)
        if isinstance(answer, Failure):
            return not isinstance(answer, Transient)
        if not session.prove_ending(epoch):
            return True
        _log.warning("refresh account=%s proved='a refresh ends the access token from before'", account.name)
        self._table.publish(account.name)
        if not session.is_refreshing:  # otherwise the refresh saves the whole session
            self._saver.save_soon(session)
        return True
