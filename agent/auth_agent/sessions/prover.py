"""Proves that a provider ends older access tokens at a refresh: its UserInfo endpoint refuses one and takes the newer.

A program that says so proves nothing, but it is a reason to look: once a session. The older token is shown first, since
some providers end it when the newer one is first used, which must not be here. An outage, or anything else, proves
nothing.
"""

import logging
from collections.abc import Callable

from auth_agent.config import Account
from auth_agent.oauth.outcome import Failure, Rejected
from auth_agent.oauth.provider import Provider
from auth_agent.secret import Secret
from auth_agent.sessions.background import Background
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken
from auth_agent.sessions.table import Table

_log = logging.getLogger(__name__)


class Prover:
    """Looks once in each session whether a refresh ended the access token from before."""

    def __init__(
        self, table: Table, saver: Saver, background: Background, provider_for: Callable[[Account], Provider]
    ) -> None:
        self._table = table
        self._saver = saver
        self._background = background
        self._provider_for = provider_for
        # The epochs in which it has looked.
        self._looked: dict[Session, int] = {}

    def look(self, session: Session, rejected: Secret) -> None:
        """Begin to look, if an API rejected a token that was good by the clock after a newer one had come."""
        newer = session.suspect(rejected, self._table.clock.now())
        if newer is None or self._looked.get(session) == session.epoch:
            return
        self._looked[session] = epoch = session.epoch

        async def work() -> None:
            await self._look(session, epoch, rejected, newer)

        self._background.begin_optional(work)

    async def _look(self, session: Session, epoch: int, old: Secret, newer: AccessToken) -> None:
        account = session.account
        provider = self._provider_for(account)
        metadata = await provider.discover()
        if isinstance(metadata, Failure) or metadata.manners.ends_access_token is not None:
            return
        is_refused = isinstance(await provider.userinfo(old, newer.token_type), Rejected)
        if not is_refused or session.epoch != epoch or session.suspect(old, self._table.clock.now()) is None:
            return
        if isinstance(await provider.userinfo(newer.value, newer.token_type), Failure):
            return
        if not session.prove_ending(epoch):
            return
        _log.warning("refresh account=%s proved='a refresh ends the access token from before'", account.name)
        self._table.publish(account.name)
        if not session.is_refreshing:  # otherwise the refresh saves the whole session
            self._saver.save_soon(session)
