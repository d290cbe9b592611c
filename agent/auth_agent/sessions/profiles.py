"""The users' profiles: asked for once, whoever wants them, and kept; from the ID token where nobody can be asked."""

import logging
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.oauth.outcome import AnotherUser, Busy, Defect, Failure, PermanentFailure, Rejected
from auth_agent.oauth.provider import Provider
from auth_agent.promise import Promise
from auth_agent.sessions.access import Access
from auth_agent.sessions.advice import failure_word, nobody
from auth_agent.sessions.background import deadline
from auth_agent.sessions.profile import INTERVAL, Profile, ProfileResult, by_id_token
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active
from auth_agent.sessions.table import Table
from auth_agent_client import errors

_log = logging.getLogger(__name__)


class _Inquiry:
    """What was asked of a provider about one login's user; `since` the boot, in seconds."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.not_before = 0.0
        self.failure: Failure | errors.AgentError | None = None
        # The request in flight; its end is the failure above, or a newer profile. None: there is none.
        self.request: Promise[None] | None = None


class Profiles:
    """The profiles of a table's sessions."""

    def __init__(
        self,
        table: Table,
        saver: Saver,
        access: Access,
        provider_for: Callable[[Account], Provider],
    ) -> None:
        self._table = table
        self._saver = saver
        self._access = access
        self._provider_for = provider_for
        self._inquiries: dict[Session, _Inquiry] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Ask providers, until cancelled: an ending agent waits for no profile."""
        async with anyio.create_task_group() as self._tasks:
            await anyio.sleep_forever()

    def at_hand(self, session: Session, max_age: float) -> ProfileResult | None:
        """The profile as it is kept, where it is no older than that; None: the provider has to be asked.

        Raises:
            AgentError: there is nobody to speak of.

        """
        if not session.account.grant_type.has_user:
            raise nobody(session.account.name)
        if not isinstance(session.state, Active) or session.blocked_by_config is not None:
            raise session.login_required()
        kept = session.profile
        if kept is None or not kept.is_fresh(session.said, max_age, self._table.clock.now().wall):
            return None
        return ProfileResult(kept.claims, kept.fetched_at, stale=False)

    async def get(self, session: Session, max_age: float, timeout: float) -> ProfileResult:
        """The profile, no older than `max_age` seconds (60 at the least) where the provider can be asked.

        Args:
            session: whose user's.
            max_age: in seconds.
            timeout: how long to wait for it, in seconds.

        Raises:
            AgentError: it can't be had, nor told from an ID token; `Timeout` when it takes longer than that.

        """
        waited = False
        with deadline(timeout):
            while (told := self.at_hand(session, max_age)) is None:
                inquiry = self._inquiry(session)
                if inquiry.request is None and (waited or not self._begin(session, inquiry)):
                    return self._second_best(session, inquiry)
                if inquiry.request is not None:
                    await inquiry.request.wait()
                waited = True
        return told

    def _inquiry(self, session: Session) -> _Inquiry:
        """That of the session's login; what was asked about another one is of no use."""
        inquiry = self._inquiries.get(session)
        if inquiry is None or inquiry.epoch != session.epoch:
            inquiry = self._inquiries[session] = _Inquiry(session.epoch)
        return inquiry

    def _begin(self, session: Session, inquiry: _Inquiry) -> bool:
        """Ask the provider, unless it was asked a minute ago, or wants to be left alone; whether it is being asked."""
        if self._tasks is None or self._table.clock.now().boot < inquiry.not_before:
            return False
        inquiry.request = Promise[None]()
        self._tasks.start_soon(self._fly, session, inquiry, name=f"profile {session.account.name}")
        return True

    async def _fly(self, session: Session, inquiry: _Inquiry) -> None:
        try:
            found = await self._ask(session, inquiry)
            if session.epoch == inquiry.epoch:
                inquiry.failure = self._take(session, found)
        except errors.AgentError as error:
            inquiry.failure = error
        except Exception as error:  # noqa: BLE001 -- one provider's odd answer must not end the agent
            # Its type and place alone: an exception's text could hold what was being sent.
            _log.error("defect account=%s in=profile error=%s", session.account.name, place(error))
            inquiry.failure = Defect("a defect of the agent; its log says more")
        finally:
            request, inquiry.request = inquiry.request, None
            if request is not None:
                request.keep(None)

    async def _ask(self, session: Session, inquiry: _Inquiry) -> dict[str, object] | Failure:
        account = session.account

        async def request(token: AccessToken) -> dict[str, object] | Failure:
            # From here on: a token that couldn't be had was no request for a profile.
            inquiry.not_before = self._table.clock.now().boot + INTERVAL
            return await self._provider_for(account).userinfo(token.value, token.token_type)

        return await self._access.ask(session, MAIN, request)

    def _take(self, session: Session, found: dict[str, object] | Failure) -> Failure | None:
        """Keep what the provider said, if it is about the session's user; why not, otherwise."""
        name, login, now = session.account.name, session.credentials, self._table.clock.now()
        if isinstance(found, Busy) and found.retry_after is not None:
            inquiry = self._inquiries[session]
            inquiry.not_before = max(inquiry.not_before, now.boot + found.retry_after)
        if not isinstance(found, Failure) and login is not None and login.subject not in (None, found.get("sub")):
            # Nothing of it may be used: OpenID Connect Core 1.0, section 5.3.2.
            found = AnotherUser("the provider's UserInfo endpoint answered with another user than the session's")
        if isinstance(found, Failure):
            _log.warning("profile account=%s outcome=failed reason=%r", name, found.reason)
            return found
        _log.info("profile account=%s outcome=ok", name)
        session.profile = Profile(found, now.wall, session.said)
        if not session.is_refreshing:  # otherwise that saves all at its end
            self._saver.save_soon(session)
        return None

    def _second_best(self, session: Session, inquiry: _Inquiry) -> ProfileResult:
        """What is known, though there may be something newer."""
        name, failure, kept, login = session.account.name, inquiry.failure, session.profile, session.credentials
        if isinstance(failure, AnotherUser):
            raise errors.ProviderError(
                f"{name}: {failure.reason}",
                reason=failure.reason,
                failure="wrong_user",
                remedy=(remedies.log_in_again(name),),
            )
        told = None if login is None else by_id_token(login)
        if kept is not None:
            told = ProfileResult(kept.claims, kept.fetched_at, stale=True)
        if told is not None:
            return told
        if isinstance(failure, errors.AgentError):
            raise failure.with_traceback(None)
        wait = max(0.0, inquiry.not_before - self._table.clock.now().boot)
        reason = "the provider was not asked" if failure is None else failure.reason
        word = "busy" if failure is None else failure_word(failure)
        if isinstance(failure, Rejected | PermanentFailure):
            reason, scope = f"{reason}, and there is no ID token", session.account.scope
            is_asked_for = "openid" in scope.split()
            again = remedies.log_in_again(name) if is_asked_for else remedies.log_in_for_id_tokens(name, scope)
            raise errors.Denied(f"{name}: {reason}", reason=reason, failure=word, remedy=(again,))
        text = f"{name}: {reason}; try again in {wait:.0f} s"
        raise errors.Unavailable(text, reason=reason, failure=word, retry_after=round(wait, 3))
