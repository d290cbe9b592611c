"""Fetches and caches the users' profiles. If a provider can't be reached, the ID token's claims are the fallback.

Theory of operation. Auth0 limits UserInfo requests to a few per minute and user, so clients share one request and its
result, and a failure counts like a success: until `not_before` no other request is sent. A fetch belongs to the
session's epoch in which it began; its result is discarded once another user may have logged in. A client that gives up
doesn't cancel the request, since others may wait for it.
"""

import logging
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent import remedies
from auth_agent.defect import place
from auth_agent.oauth import id_token
from auth_agent.oauth.outcome import AnotherUser, Busy, Defect, Failure, PermanentFailure, Rejected
from auth_agent.promise import Promise
from auth_agent.sessions.access import Access
from auth_agent.sessions.advice import failure_word, no_user
from auth_agent.sessions.background import deadline, no_answer
from auth_agent.sessions.profile import INTERVAL, Profile, ProfileResult, result_from_id_token
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active
from auth_agent.sessions.table import Table
from auth_agent.sessions.userinfo_client import UserInfoClient
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

_log = logging.getLogger(__name__)

# Seconds that a request may take if there are earlier claims; then clients get those.
_PATIENCE: Final = 5.0


class _Fetch:
    """The last and the running UserInfo request of one session in one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        # When the last request was begun, and when the next one may be sent, in seconds since boot.
        self.begun_at = 0.0
        self.not_before = 0.0
        self.failure: Failure | errors.AgentError | None = None
        # Resolved when the request in flight has ended and set `failure` or the session's profile.
        self.request: Promise[None] | None = None


class Profiles:
    """The profiles of a table's sessions."""

    def __init__(
        self,
        table: Table,
        saver: Saver,
        access: Access,
        userinfo: UserInfoClient,
    ) -> None:
        self._table = table
        self._saver = saver
        self._access = access
        self._userinfo = userinfo
        self._fetches: dict[Session, _Fetch] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Run requests until cancelled: an agent that stops doesn't wait for them."""
        async with anyio.create_task_group() as self._tasks:
            await anyio.sleep_forever()

    def cached(self, session: Session, max_age: float) -> ProfileResult | None:
        """Return the cached profile if it is at most `max_age` seconds old, else None.

        Raises:
            LoginRequired: the session is not active.
            Unsupported: the account has no user.

        """
        if not session.account.grant_type.has_user:
            raise no_user(session.account.name)
        if not isinstance(session.state, Active) or session.blocked is not None:
            raise session.login_required()
        profile = session.profile
        if profile is None or not profile.is_fresh(session.user_digest, max_age, self._table.clock.now().wall):
            return None
        return ProfileResult(profile.claims, profile.fetched_at, stale=False)

    async def get(self, session: Session, max_age: float, timeout: float) -> ProfileResult:
        """Return the profile of a session's user.

        Args:
            session: the session.
            max_age: how old the profile may be, in seconds; at least 60. An older one, or the ID token's claims, is
                returned as stale if the provider can't be reached.
            timeout: how long to wait, in seconds; five seconds at most if there are earlier claims.

        Raises:
            AgentError: there is neither a profile nor an ID token; `Timeout` if it then takes longer than `timeout`.

        """
        waited = False
        try:
            with deadline(self._patience(session, timeout), no_answer(session.account)):
                while (result := self.cached(session, max_age)) is None:
                    fetch = self._fetch(session)
                    if fetch.request is None and (waited or not self._start(session, fetch)):
                        return self._fallback(session, fetch)
                    if fetch.request is not None:
                        await fetch.request.wait()
                    waited = True
        except errors.Timeout:  # a provider that hangs is one that can't be reached
            if _known(session) is None:
                raise
            return self._fallback(session, self._fetch(session))
        return result

    def _fetch(self, session: Session) -> _Fetch:
        """Return the session's fetch in its current epoch."""
        fetch = self._fetches.get(session)
        if fetch is None or fetch.epoch != session.epoch:
            fetch = self._fetches[session] = _Fetch(session.epoch)
        return fetch

    def _patience(self, session: Session, timeout: float) -> float:
        """Return how many seconds a client waits for the request in flight, or for one that begins now."""
        if _known(session) is None:
            return timeout
        fetch = self._fetch(session)
        waited = 0.0 if fetch.request is None else self._table.clock.now().boot - fetch.begun_at
        return min(timeout, max(0.0, _PATIENCE - waited))

    def _start(self, session: Session, fetch: _Fetch) -> bool:
        """Start a request unless it is too early for one; return whether it was started."""
        if self._tasks is None or self._table.clock.now().boot < fetch.not_before:
            return False
        fetch.request, fetch.begun_at = Promise[None](), self._table.clock.now().boot
        self._tasks.start_soon(self._run_fetch, session, fetch, name=f"profile {session.account.name}")
        return True

    async def _run_fetch(self, session: Session, fetch: _Fetch) -> None:
        try:
            claims = await self._request(session, fetch)
            if session.epoch == fetch.epoch:
                fetch.failure = self._store(session, claims)
        except errors.AgentError as error:
            fetch.failure = error
        except Exception as error:  # noqa: BLE001 -- a defect that one response reveals must not end the agent
            # Its type and place alone: an exception's message could contain what was being sent.
            _log.error("defect account=%s in=profile error=%s", session.account.name, place(error))
            fetch.failure = Defect("the agent has a defect; its log has details")
        finally:
            request, fetch.request = fetch.request, None
            if request is not None:
                request.resolve(None)

    async def _request(self, session: Session, fetch: _Fetch) -> dict[str, object] | Failure:
        account = session.account

        async def request(token: AccessToken) -> dict[str, object] | Failure:
            # Not earlier: if there is no access token, no UserInfo request is sent.
            fetch.not_before = self._table.clock.now().boot + INTERVAL
            secret = None if session.credentials is None else session.credentials.client_secret
            return await self._userinfo.claims(account, secret, token.value, token.token_type)

        return await self._access.ask(session, MAIN, request, Asker())

    def _store(self, session: Session, claims: dict[str, object] | Failure) -> Failure | None:
        """Store the claims as the session's profile and return None, or return why they can't be."""
        name, credentials, now = session.account.name, session.credentials, self._table.clock.now()
        if isinstance(claims, Busy) and claims.retry_after is not None:
            fetch = self._fetches[session]
            fetch.not_before = max(fetch.not_before, now.boot + claims.retry_after)
        subject = None if credentials is None else credentials.subject
        if not isinstance(claims, Failure) and subject not in (None, claims.get("sub")):
            # They must not be used: OpenID Connect Core 1.0, section 5.3.2.
            claims = AnotherUser("the provider's UserInfo endpoint responded with another user than the session's")
        if isinstance(claims, Failure):
            _log.warning("profile account=%s outcome=failed reason=%r", name, claims.reason)
            return claims
        _log.info("profile account=%s outcome=ok", name)
        session.profile = Profile(claims, now.wall, session.user_digest)
        user = id_token.subject(claims)
        if user is not None and session.identify(user, id_token.display_name(claims)):
            _log.info("profile account=%s subject=%r", name, user)
            self._table.publish(name)
        if not session.is_refreshing:  # otherwise the refresh saves the whole session
            self._saver.save_soon(session)
        return None

    def _fallback(self, session: Session, fetch: _Fetch) -> ProfileResult:
        """Return the old profile or the ID token's claims, as stale; raise if there is neither."""
        name, failure = session.account.name, fetch.failure
        result = _known(session)
        if isinstance(failure, AnotherUser) and result is None:
            raise errors.ProviderError(
                f"{name}: {failure.reason}",
                reason=failure.reason,
                failure="wrong_user",
                remedy=(remedies.log_in_again(name),),
            )
        if result is not None:
            return result
        if isinstance(failure, errors.AgentError):
            raise failure.with_traceback(None)
        wait = max(0.0, fetch.not_before - self._table.clock.now().boot)
        reason = "the last request to the provider was too recent" if failure is None else failure.reason
        word = "busy" if failure is None else failure_word(failure)
        if isinstance(failure, Rejected | PermanentFailure):
            reason = f"{reason}, and there is no ID token"
            raise errors.Denied(f"{name}: {reason}", reason=reason, failure=word, remedy=(_how_to_know(session),))
        message = f"{name}: {reason}; try again in {wait:.0f} s"
        raise errors.Unavailable(message, reason=reason, failure=word, retry_after=round(wait, 3))


def _how_to_know(session: Session) -> Remedy:
    """Return what may tell who is logged in, where neither an ID token nor UserInfo does."""
    account, credentials = session.account, session.credentials
    if not account.has_id_tokens:
        return remedies.correct_and_reload(("userinfo_endpoint",))
    if "openid" in account.scope.split():
        return remedies.log_in_again(account.name)
    nobody = credentials is not None and credentials.subject is None
    return remedies.log_in_for_id_tokens(account.name, account.scope, switch_user=nobody)


def _known(session: Session) -> ProfileResult | None:
    """Return the old profile or the ID token's claims, as stale; None if there is neither."""
    if session.profile is not None:
        return ProfileResult(session.profile.claims, session.profile.fetched_at, stale=True)
    return None if session.credentials is None else result_from_id_token(session.credentials)
