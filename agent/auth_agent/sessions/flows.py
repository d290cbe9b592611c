"""How a login comes to its tokens: in a browser, on another device, or by the client's own credentials.

Each shows what a person needs, waits for the person, and asks the provider. What is granted is judged elsewhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import anyio

from auth_agent.config import Account
from auth_agent.host.clock import Clock, Moment
from auth_agent.loopback.listener import RedirectListener
from auth_agent.loopback.page import Page, failed, logged_in, not_awaited
from auth_agent.oauth.authorization import AuthorizationRequest, authorization_url, read_redirect
from auth_agent.oauth.device import CodeExpired, DeviceAuthorization, device_request, next_interval
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Busy, Failure, TokenResponse, Transient
from auth_agent.oauth.token_request import code_request
from auth_agent.remedies import LOGIN
from auth_agent.secret import Secret
from auth_agent.sessions.admission import PendingSession
from auth_agent.sessions.advice import login_failed
from auth_agent.sessions.state import Credentials
from auth_agent.sessions.token_client import TokenClient
from auth_agent_client import errors
from auth_agent_client.messages import LOGIN_TIMEOUT

# Two questions of the provider, and what a gateway adds.
_CLIENT_LIFETIME: Final = 120.0


class Wait:
    """A wait for a person, which may be called off."""

    def __init__(self) -> None:
        self.called_off: errors.AgentError | None = None
        self.answer: Secret | Failure | None = None
        # Whether a person is waited for, and the provider is not being asked.
        self.is_paused = False
        self._stirred = anyio.Event()

    def call_off(self, reason: errors.AgentError) -> None:
        """Nobody wants the login any more."""
        if self.called_off is None:
            self.called_off = reason
            self._stirred.set()

    def bring(self, answer: Secret | Failure) -> None:
        """The browser brought that; the first one counts."""
        if self.answer is None:
            self.answer = answer
            self._stirred.set()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until an answer comes.

        Raises:
            AgentError: it was called off.

        """
        self.is_paused = True
        with anyio.move_on_after(seconds):
            await self._stirred.wait()
        self.is_paused = False
        if self.called_off is not None:
            raise self.called_off


# How a login ended, once that is known: whose session it is, or why there is none.
Ending = Callable[[], Awaitable[str | errors.AgentError | None]]


class Flow(ABC):
    """One login on its way: whose it is, what the provider is asked as, and what asks it."""

    lifetime: float  # seconds

    def __init__(self, account: Account, credentials: Credentials, tokens: TokenClient) -> None:
        self._account = account
        self._login = credentials
        self._tokens = tokens

    def shown(self) -> dict[str, object]:
        """What a person needs, by the protocol's names."""
        return {}

    @abstractmethod
    async def obtain(self, wait: Wait) -> PendingSession:
        """Return what the provider granted. Raises an `AgentError` where it granted nothing."""

    async def serve(self, ending: Ending, wait: Wait) -> None:  # noqa: B027 -- to most of them none comes
        """Answer the person's browser, until cancelled; at once where none comes."""

    async def aclose(self) -> None:  # noqa: B027 -- most have nothing open
        """End it; what is being shown to the browser still gets there."""

    def _failed(self, failure: Failure) -> errors.AgentError:
        return login_failed(self._account, failure, LOGIN)

    def _granted(self, response: TokenResponse | Failure, sent: Moment, nonce: Secret | None = None) -> PendingSession:
        if isinstance(response, Failure):
            raise self._failed(response)
        return PendingSession(self._account, self._login, response, sent, nonce)


class BrowserFlow(Flow):
    """Authorization code with PKCE, by a redirect to this machine (RFC 8252)."""

    lifetime = LOGIN_TIMEOUT

    def __init__(
        self, account: Account, credentials: Credentials, tokens: TokenClient, metadata: Metadata, endpoint: str
    ) -> None:
        """Begin to listen for the redirect.

        Args:
            account: whose login it is.
            credentials: what the provider is asked as.
            tokens: what asks it.
            metadata: the provider's.
            endpoint: its authorization endpoint.

        Raises:
            PortsTakenError: there is no port to listen on.

        """
        super().__init__(account, credentials, tokens)
        self._metadata = metadata
        self._request = AuthorizationRequest.begin()
        self._listener = RedirectListener(account.redirect_ports)
        self._authorization_url = authorization_url(
            endpoint,
            self._request,
            client_id=account.client_id,
            redirect_uri=self._listener.redirect_uri,
            scope=account.scope,
            audience=account.audience,
            more=account.authorize,
        )

    def shown(self) -> dict[str, object]:
        """The address to open."""
        return {"authorization_url": self._authorization_url}

    def read(self, query: str) -> Secret | Failure | None:
        """What a redirect with that query brings; None: it isn't this login's."""
        return read_redirect(
            query, self._request, self._metadata.issuer, iss_parameter_supported=self._metadata.iss_parameter_supported
        )

    def read_url(self, address: str) -> Secret | Failure | None:
        """The same, of the whole address, as a person pasted it."""
        try:
            parts = urlsplit(address.strip())
        except ValueError:
            return None
        if f"{parts.scheme}://{parts.netloc}{parts.path}" != self._listener.redirect_uri:
            return None
        return self.read(parts.query)

    async def obtain(self, wait: Wait) -> PendingSession:
        """Wait for the redirect, and redeem its code."""
        await wait.pause(self.lifetime)
        answer = wait.answer
        if answer is None:
            raise self._failed(CodeExpired("nobody logged in within ten minutes"))
        if isinstance(answer, Failure):
            raise self._failed(answer)
        request = code_request(answer, self._listener.redirect_uri, self._request.verifier)
        response, sent = await self._tokens.send(self._account, self._login, request)
        return self._granted(response, sent, self._request.nonce)

    async def serve(self, ending: Ending, wait: Wait) -> None:
        """Answer redirects: those of others at once, and this login's when it is known how it ended."""

        async def answer(query: str) -> Page:
            found = self.read(query)
            if found is None:
                return not_awaited()
            wait.bring(found)
            end = await ending()
            name, issuer = self._account.name, self._account.issuer
            if not isinstance(end, errors.AgentError):
                return logged_in(name, end, issuer)
            return failed(name, issuer, end.reason or end.message, end.remedy)

        await self._listener.serve(answer)

    async def aclose(self) -> None:
        """Free the port, once the pages are out."""
        await self._listener.aclose()


class DeviceFlow(Flow):
    """A login on another device (RFC 8628)."""

    def __init__(
        self, account: Account, credentials: Credentials, tokens: TokenClient, device: DeviceAuthorization, clock: Clock
    ) -> None:
        """Wait for the person to enter the code of `device`."""
        super().__init__(account, credentials, tokens)
        self.lifetime = device.lifetime
        self._device = device
        self._clock = clock
        self._since = clock.now()

    def shown(self) -> dict[str, object]:
        """The address to open on the other device, and the code to enter there."""
        shown: dict[str, object] = {
            "verification_uri": self._device.verification_uri,
            "user_code": self._device.user_code,
        }
        if self._device.verification_uri_complete is not None:
            shown["verification_uri_complete"] = self._device.verification_uri_complete
        return shown

    async def obtain(self, wait: Wait) -> PendingSession:
        """Ask whether somebody has logged in, as often as the provider likes it, until there is an answer."""
        request, interval = device_request(self._device.device_code), self._device.interval
        while True:
            await wait.pause(interval)
            if self._clock.now().boot - self._since.boot >= self.lifetime:
                raise self._failed(CodeExpired("nobody entered the code in time"))
            response, sent = await self._tokens.send(self._account, self._login, request)
            if not isinstance(response, Transient):
                return self._granted(response, sent)
            interval = next_interval(interval, response)
            if isinstance(response, Busy) and response.retry_after is not None:
                interval = max(interval, response.retry_after)


class ClientFlow(Flow):
    """A client that stands for itself (RFC 6749, section 4.4)."""

    lifetime = _CLIENT_LIFETIME

    async def obtain(self, wait: Wait) -> PendingSession:
        """Present the client's credentials: no person is needed."""
        response, sent = await self._tokens.refresh(self._account, self._login, lambda: wait.called_off is None)
        return self._granted(response, sent)
