"""Users and their metadata, read and changed by Auth0's Management API."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
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
from auth_agent.sessions.rate_limit import Asker, charge
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken, Active, Locked, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.sessions.user_metadata import is_applied, replacement
from auth_agent.urls import is_same_issuer
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

_log = logging.getLogger(__name__)

METADATA: Final = "user_metadata"
_SCOPE: Final = f"openid offline_access {READ} {UPDATE}"


@dataclass(frozen=True, slots=True)
class _Route:
    """A session's user, the session and key whose token reads it (`manager`), and the program that asks."""

    session: Session
    manager: Session
    key: TokenKey
    subject: str
    asker: Asker


class Users:
    """The users of a table's sessions."""

    def __init__(self, table: Table, saver: Saver, access: Access, provider_for: Callable[[Account], Provider]) -> None:
        self._table = table
        self._saver = saver
        self._access = access
        self._provider_for = provider_for
        # When requests may be sent again after a Retry-After, in seconds since boot.
        self._paused_until: dict[Session, float] = {}
        # What is done by one after the other, with those that wait for it.
        self._turns: dict[Hashable, anyio.Lock] = {}

    async def user(self, session: Session, fields: Sequence[str], asker: Asker) -> dict[str, object]:
        """Return those fields of the user, or all; `asker` is the program that asks.

        Raises:
            AgentError: the user can't be read.

        """
        route = await self._route(session, asker)
        # One at a time for each program: a provider that is slow, or a program with many, delays no other program.
        async with self._turn((session.account.issuer, asker.program)):
            result = await self._call(route, fields)
        if isinstance(result, Failure):
            raise _error(route, result, READ)
        return result

    async def metadata(self, session: Session, asker: Asker) -> dict[str, object]:
        """Return the user's metadata.

        Raises:
            AgentError: it can't be read.

        """
        return _metadata(await self.user(session, [METADATA], asker))

    async def update_metadata(
        self, session: Session, changes: Mapping[str, object], asker: Asker, *, clear: bool
    ) -> dict[str, object]:
        """Change the user's metadata; return the metadata after that.

        Args:
            session: the user's session.
            changes: merged at the first level; None removes a key.
            asker: the program that asks.
            clear: whether to remove all other keys.

        Raises:
            AgentError: the change was not made, or it is unknown whether it was.

        """
        route = await self._route(session, asker)
        async with self._turn(session):  # `_read_back` would mistake the effect of another change
            update = dict(changes)
            if clear and changes:
                before = await self._call(route, [METADATA])
                if isinstance(before, Failure):
                    raise _error(route, before, READ)
                update = replacement(_metadata(before), changes)
            result = await self._call(route, update={METADATA: update})
            if isinstance(result, Lost) or (isinstance(result, Busy) and result.retry_after is None):
                return await self._read_back(route, changes, result, clear=clear)
            if isinstance(result, Failure):
                raise _error(route, result, UPDATE)
            _log.info("metadata account=%s outcome=ok", session.account.name)
            return _metadata(result)

    async def _read_back(
        self, route: _Route, changes: Mapping[str, object], lost: Failure, *, clear: bool
    ) -> dict[str, object]:
        """Return the metadata after a lost response; the change may have been made, so it is not sent again."""
        name = route.session.account.name
        _log.warning("metadata account=%s outcome=lost reason=%r", name, lost.reason)
        result = await self._call(route, [METADATA])
        if isinstance(result, Failure):
            raise errors.Unavailable(
                f"{name}: the answer to the change was lost ({lost.reason}), and whether it was made can't be told "
                f"({result.reason})",
                failure="unreachable",
                retry_after=2.0,
                remedy=(remedies.show_metadata(name),),
            )
        after = _metadata(result)
        if not is_applied(after, changes, clear=clear):
            reason = f"the change was not made ({lost.reason})"
            raise errors.Unavailable(f"{name}: {reason}", reason=reason, failure="unreachable", retry_after=2.0)
        return after

    # ---- the token

    @asynccontextmanager
    async def _turn(self, key: Hashable) -> AsyncGenerator[None]:
        """Wait until those before have done what that key stands for."""
        lock = self._turns.setdefault(key, anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._turns.pop(key, None)

    async def _route(self, session: Session, asker: Asker) -> _Route:
        """Return how to call the Management API; count the call. Raises an `AgentError` if it can't be called."""
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
        charge(self._table.clock.now().boot, session.call_limit, asker)
        audience = account.management_audience or management_audience(account.issuer)
        manager = await self._manager(session, audience, subject)
        return _Route(session, manager, manager.token_key(audience, None), subject, asker)

    async def _manager(self, session: Session, audience: str, subject: str) -> Session:
        """Return the session whose tokens are for the Management API."""
        account, name = session.account, session.account.name
        manager = session
        if account.management_account is not None:
            configured = self._table.sessions.get(account.management_account)
            if configured is None:
                raise errors.Misconfigured(
                    f"{name}: its management_account {account.management_account} is not in the configuration",
                    failure="misconfigured",
                    remedy=(_how_to_log_in(account, audience),),
                )
            manager = configured
            await self._saver.wait_until_loaded(manager)
            if isinstance(manager.state, Locked):
                raise locked(manager.account.name, manager.state)
        if manager.account.audience != audience:
            raise errors.Misconfigured(
                f"{manager.account.name}'s tokens are not for Auth0's Management API, {audience}",
                failure="misconfigured",
                remedy=(_how_to_log_in(account, audience),),
            )
        if _subject(manager) != subject or not is_same_issuer(manager.account.issuer, account.issuer):
            raise errors.Denied(
                f"{manager.account.name} is logged in as another user than {name}",
                failure="wrong_user",
                remedy=(remedies.log_in_as_the_same(manager.account.name),),
            )
        return manager

    async def _call(
        self, route: _Route, fields: Sequence[str] = (), update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """Send one request, unless a Retry-After has not passed yet."""
        now = self._table.clock.now().boot
        pause = self._paused_until.get(route.manager, 0.0) - now
        if pause > 0:
            return Busy("the Management API was asked too often", pause)
        provider = self._provider_for(route.manager.account)
        url = user_url(route.session.account.issuer, route.subject, fields)

        def request(token: AccessToken) -> Awaitable[dict[str, object] | Failure]:
            return provider.user(token.value, token.token_type, url, update)

        result = await self._access.ask(route.manager, route.key, request, route.asker)
        if isinstance(result, Busy) and result.retry_after is not None:
            self._paused_until[route.manager] = self._table.clock.now().boot + result.retry_after
        if isinstance(result, Failure):
            _log.warning("user account=%s outcome=failed reason=%r", route.session.account.name, result.reason)
        return result


def _error(route: _Route, failure: Failure, scope: str) -> errors.AgentError:
    return user_failed(route.session.account.name, route.manager.account, failure, scope, _SCOPE)


def _subject(session: Session) -> str:
    """Return the session's subject. Raises an `AgentError` if it has none."""
    name, credentials = session.account.name, session.credentials
    if not isinstance(session.state, Active) or session.blocked is not None or credentials is None:
        raise session.login_required()
    if credentials.subject is None:
        reason = "it is not known whose session this is"
        remedy = (remedies.log_in_again(name),)
        raise errors.Denied(f"{name}: {reason}", reason=reason, failure="reauthentication_required", remedy=remedy)
    return credentials.subject


def _how_to_log_in(account: Account, audience: str) -> Remedy:
    """Return the command that adds an account whose tokens are for the Management API."""
    return remedies.management_account(
        account.name, account.management_account, account.issuer, account.client_id, audience, _SCOPE
    )


def _metadata(user: Mapping[str, object]) -> dict[str, object]:
    """Return the user's metadata; the member is missing if there is none."""
    result = user.get(METADATA)
    return dict(result) if isinstance(result, dict) else {}  # pyright: ignore[reportUnknownArgumentType] -- the names of a JSON object are strings
