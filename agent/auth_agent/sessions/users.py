"""The users as their provider keeps them, and the metadata that is theirs to change: Auth0's, by its Management API."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.oauth.auth0 import READ, UPDATE, management_audience, user_url
from auth_agent.oauth.outcome import Busy, Failure, Lost
from auth_agent.oauth.provider import Provider
from auth_agent.sessions.access import Access
from auth_agent.sessions.advice import locked, no_user, user_failed
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken, Active, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.sessions.user_metadata import holds, replacement
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

_log = logging.getLogger(__name__)

METADATA: Final = "user_metadata"
_SCOPE: Final = f"openid offline_access {READ} {UPDATE}"


@dataclass(frozen=True, slots=True)
class _Way:
    """How a session's user is got at: by whose tokens."""

    session: Session
    manager: Session
    key: TokenKey
    subject: str


class Users:
    """The users of a table's sessions."""

    def __init__(self, table: Table, saver: Saver, access: Access, provider_for: Callable[[Account], Provider]) -> None:
        self._table = table
        self._saver = saver
        self._access = access
        self._provider_for = provider_for
        # Until when a provider wants to be left alone, in seconds since boot.
        self._quiet: dict[Session, float] = {}
        # Two changes at a time would each be judged by what the other one did.
        self._turns: dict[Session, anyio.Lock] = {}

    async def user(self, session: Session, fields: Sequence[str] = ()) -> dict[str, object]:
        """The user, as much of it as those fields, or all of it.

        Raises:
            AgentError: it can't be had; the text says why, and what to do.

        """
        way = await self._way(session)
        found = await self._ask(way, fields)
        if isinstance(found, Failure):
            raise _error(way, found, READ)
        return found

    async def metadata(self, session: Session) -> dict[str, object]:
        """The user's metadata.

        Raises:
            AgentError: it can't be had; the text says why, and what to do.

        """
        return _metadata(await self.user(session, [METADATA]))

    async def update_metadata(
        self, session: Session, changes: Mapping[str, object], *, clear: bool
    ) -> dict[str, object]:
        """The user's metadata as it is after that change.

        Args:
            session: whose user's.
            changes: merged at the first level; None takes a key away.
            clear: whether nothing but these remains.

        Raises:
            AgentError: it is not known to be so; the text says what holds, and what to do.

        """
        way = await self._way(session)
        async with self._turns.setdefault(session, anyio.Lock()):
            update = dict(changes)
            if clear and changes:
                before = await self._ask(way, [METADATA])
                if isinstance(before, Failure):
                    raise _error(way, before, READ)
                update = replacement(_metadata(before), changes)
            found = await self._ask(way, update={METADATA: update})
            if isinstance(found, Lost) or (isinstance(found, Busy) and found.retry_after is None):
                return await self._read_back(way, changes, found, clear=clear)
            if isinstance(found, Failure):
                raise _error(way, found, UPDATE)
            _log.info("metadata account=%s outcome=ok", session.account.name)
            return _metadata(found)

    async def _read_back(
        self, way: _Way, changes: Mapping[str, object], lost: Failure, *, clear: bool
    ) -> dict[str, object]:
        """What holds, where the answer to a change was lost: it may have been made, and is not asked for again."""
        name = way.session.account.name
        _log.warning("metadata account=%s outcome=lost reason=%r", name, lost.reason)
        found = await self._ask(way, [METADATA])
        if isinstance(found, Failure):
            raise errors.Unavailable(
                f"{name}: the answer to the change was lost ({lost.reason}), and whether it was made can't be told "
                f"({found.reason})",
                failure="unreachable",
                retry_after=2.0,
                remedy=(remedies.show_metadata(name),),
            )
        after = _metadata(found)
        if not holds(after, changes, clear=clear):
            reason = f"the change was not made ({lost.reason})"
            raise errors.Unavailable(f"{name}: {reason}", reason=reason, failure="unreachable", retry_after=2.0)
        return after

    # ---- the way there

    async def _way(self, session: Session) -> _Way:
        account, name = session.account, session.account.name
        if not account.grant_type.has_user:
            raise no_user(name)
        subject = _subject(session)
        metadata = await self._provider_for(account).discover()
        if isinstance(metadata, Failure):
            raise user_failed(name, account, metadata, READ, _SCOPE)
        if not metadata.is_auth0:
            raise errors.Unsupported(
                f"{name}: users and their metadata are read and changed at Auth0 only, and {account.issuer} is another "
                "provider",
                failure="unsupported",
            )
        audience = account.management_audience or management_audience(account.issuer)
        manager = await self._manager(session, audience, subject)
        return _Way(session, manager, manager.token_key(audience, None), subject)

    async def _manager(self, session: Session, audience: str, subject: str) -> Session:
        """The session whose own tokens are for the Management API."""
        account, name = session.account, session.account.name
        manager = session
        if account.management_account is not None:
            found = self._table.sessions.get(account.management_account)
            if found is None:
                raise errors.Misconfigured(
                    f"{name}: its management_account {account.management_account} is not in the configuration",
                    failure="misconfigured",
                    remedy=(_how_to_log_in(account, audience),),
                )
            manager = found
            await self._saver.wait_until_loaded(manager)
            if manager.is_locked:
                raise locked(manager.account.name, manager.reason or "", manager.remedy)
        if manager.account.audience != audience:
            raise errors.Misconfigured(
                f"{manager.account.name}'s tokens are not for Auth0's Management API, {audience}",
                failure="misconfigured",
                remedy=(_how_to_log_in(account, audience),),
            )
        if _subject(manager) != subject or manager.account.issuer != account.issuer:
            raise errors.Denied(
                f"{manager.account.name} is logged in as another user than {name}",
                failure="wrong_user",
                remedy=(remedies.log_in_as_the_same(manager.account.name),),
            )
        return manager

    async def _ask(
        self, way: _Way, fields: Sequence[str] = (), update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """One call of the API; never while it wants to be left alone."""
        now = self._table.clock.now().boot
        quiet = self._quiet.get(way.manager, 0.0) - now
        if quiet > 0:
            return Busy("the Management API was asked too often", quiet)
        provider = self._provider_for(way.manager.account)
        address = user_url(way.session.account.issuer, way.subject, fields)

        def request(token: AccessToken) -> Awaitable[dict[str, object] | Failure]:
            return provider.user(token.value, token.token_type, address, update)

        found = await self._access.ask(way.manager, way.key, request)
        if isinstance(found, Busy) and found.retry_after is not None:
            self._quiet[way.manager] = self._table.clock.now().boot + found.retry_after
        if isinstance(found, Failure):
            _log.warning("user account=%s outcome=failed reason=%r", way.session.account.name, found.reason)
        return found


def _error(way: _Way, failure: Failure, scope: str) -> errors.AgentError:
    return user_failed(way.session.account.name, way.manager.account, failure, scope, _SCOPE)


def _subject(session: Session) -> str:
    """Whose session it is. Raises an `AgentError` where it is nobody's."""
    name, login = session.account.name, session.credentials
    if not isinstance(session.state, Active) or session.blocked_by_config is not None or login is None:
        raise session.login_required()
    if login.subject is None:
        reason = "it is not known whose session this is"
        again = (remedies.log_in_again(name),)
        raise errors.Denied(f"{name}: {reason}", reason=reason, failure="reauthentication_required", remedy=again)
    return login.subject


def _how_to_log_in(account: Account, audience: str) -> Remedy:
    """What makes an account whose tokens are for the Management API."""
    return remedies.management_account(
        account.name, account.management_account, account.issuer, account.client_id, audience, _SCOPE
    )


def _metadata(user: Mapping[str, object]) -> dict[str, object]:
    """The metadata of a user; one who has none has no such member."""
    found = user.get(METADATA)
    return dict(found) if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownArgumentType] -- JSON's names are texts
