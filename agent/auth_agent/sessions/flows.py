"""How a login gets its tokens: in a browser, on another device, or with the client credentials grant.

Each flow gives instructions to a person, waits for the person, and requests the tokens. admission.py checks them.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import anyio

from auth_agent.config import Account
from auth_agent.host.clock import Clock, Moment
from auth_agent.loopback.listener import RedirectListener
from auth_agent.loopback.page import Page, failed, logged_in, not_awaited
from auth_agent.oauth.authorization import AuthorizationRequest, authorization_url, read_redirect
from auth_agent.oauth.device import CodeExpired, DeviceAuthorization, device_request, next_interval
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Busy, Failure, TokenResponse, Transient
from auth_agent.oauth.resource import RESOURCE, api_parameters
from auth_agent.oauth.token_request import TokenRequest, code_request
from auth_agent.remedies import LOGIN
from auth_agent.secret import Secret
from auth_agent.sessions.admission import PendingSession
from auth_agent.sessions.advice import login_failed
from auth_agent.sessions.persistence import CODE_PATIENCE, is_unprocessed, pause_after
from auth_agent.sessions.state import Credentials
from auth_agent.sessions.token_client import TokenClient
from auth_agent_client import errors
from auth_agent_client.messages import LOGIN_TIMEOUT

# Seconds; enough for two requests through a slow gateway.
_CLIENT_LIFETIME: Final = 120.0


class Wait:
    """Waits for a person, until the redirect arrives or the login is called off."""

    def __init__(self) -> None:
        self.called_off: errors.AgentError | None = None
        self.result: Secret | Failure | None = None
        # True while it waits for the person, and no request is under way.
        self.is_paused = False
        self._changed = anyio.Event()
        self._off = anyio.Event()

    def call_off(self, reason: errors.AgentError) -> None:
        """End the wait with that error; only the first call counts."""
        if self.called_off is None:
            self.called_off = reason
            self._changed.set()
            self._off.set()

    def set_result(self, result: Secret | Failure) -> None:
        """End the wait with the code, or the error, of a redirect; only the first call counts."""
        if self.result is None:
            self.result = result
            self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Wait that many seconds, or until there is a result.

        Raises:
            AgentError: the login was called off.

        """
        self.is_paused = True
        with anyio.move_on_after(seconds):
            await self._changed.wait()
        self.is_paused = False
        if self.called_off is not None:
            raise self.called_off

    async def hold(self, seconds: float) -> None:
        """Wait that many seconds between two requests; nobody is waited for.

        Raises:
            AgentError: the login was called off.

        """
        with anyio.move_on_after(seconds):
            await self._off.wait()
        if self.called_off is not None:
            raise self.called_off


# Waits for the end of a login; returns the user's name, or why there is no session.
Ending = Callable[[], Awaitable[str | errors.AgentError | None]]


class Flow(ABC):
    """One login under way."""

    lifetime: float  # seconds

    def __init__(self, account: Account, credentials: Credentials, tokens: TokenClient) -> None:
        self._account = account
        self._credentials = credentials
        self._tokens = tokens

    def instructions(self) -> dict[str, object]:
        """Return what a person needs to log in, by the protocol's names."""
        return {}

    @abstractmethod
    async def obtain(self, wait: Wait) -> PendingSession:
        """Return the provider's response. Raises an `AgentError` if nobody logged in."""

    async def serve(self, ending: Ending, wait: Wait) -> None:  # noqa: B027 -- most have no browser
        """Serve the person's browser until cancelled, if the flow has one."""

    async def aclose(self) -> None:  # noqa: B027 -- most have nothing open
        """Close the flow, after pages in transmission are sent."""

    def _failed(self, failure: Failure) -> errors.AgentError:
        return login_failed(self._account, failure, LOGIN)

    async def _ask(self, request: TokenRequest) -> tuple[TokenResponse | Failure, Moment]:
        """Send a token request once, or by each of the client's methods; remember the one that is accepted."""
        send = partial(self._tokens.send, self._account, request=request)
        self._credentials, response, sent = await self._tokens.log_in(self._account, self._credentials, send)
        return response, sent

    async def _send(self, request: TokenRequest, wait: Wait) -> tuple[TokenResponse | Failure, Moment]:
        """Send a token request, and again for a while if the provider has not processed it.

        Return the last response or failure, and when its request was sent. Raises an `AgentError` if the login was
        called off.
        """
        deadline = anyio.current_time() + CODE_PATIENCE
        for attempts in itertools.count(1):
            response, sent = await self._ask(request)
            pause = None
            if isinstance(response, Failure) and is_unprocessed(response):
                pause = pause_after(response, attempts, deadline - anyio.current_time())
            if pause is None:
                return response, sent
            await wait.hold(pause)
        raise AssertionError("the last attempt returns")

    def _pending_session(
        self, response: TokenResponse | Failure, sent: Moment, nonce: Secret | None = None
    ) -> PendingSession:
        return PendingSession(self._account, self._credentials, response, sent, nonce)


class BrowserFlow(Flow):
    """Authorization code with PKCE, by a redirect to this machine (RFC 8252)."""

    lifetime = LOGIN_TIMEOUT

    def __init__(
        self, account: Account, credentials: Credentials, tokens: TokenClient, metadata: Metadata, endpoint: str
    ) -> None:
        """Begin to listen for the redirect.

        Args:
            account: the account.
            credentials: the client's.
            tokens: sends the token request.
            metadata: the provider's.
            endpoint: its authorization endpoint.

        Raises:
            PortsTakenError: there is no port to listen on.

        """
        api = api_parameters(metadata.api_parameters, account.audience, account.authorize)
        super().__init__(account, replace(credentials, resource=api.get(RESOURCE)), tokens)
        self._metadata = metadata
        self._request = AuthorizationRequest.begin()
        self._listener = RedirectListener(account.redirect_ports, account.redirect_host, account.redirect_path)
        self._authorization_url = authorization_url(
            endpoint,
            self._request,
            client_id=account.client_id,
            redirect_uri=str(self._listener.redirect_uri),
            scope=account.scope,
            api=api,
            more=account.authorize,
        )
        self._start_url = self._listener.start_at(self._authorization_url)

    def instructions(self) -> dict[str, object]:
        """Return the URL to open, and one for a program's arguments, which all users can read."""
        instructions: dict[str, object] = {"authorization_url": self._authorization_url}
        if self._start_url is not None:
            instructions["start_url"] = self._start_url
        return instructions

    def read(self, query: str) -> Secret | Failure | None:
        """Return the code or error in a redirect's query; None if it belongs to another login."""
        return read_redirect(
            query,
            self._request,
            self._metadata.issuer,
            iss_parameter_supported=self._metadata.iss_parameter_supported,
            is_configured=self._account.token_endpoint is not None,
        )

    def read_url(self, url: str) -> Secret | Failure | None:
        """The same for a whole URL that a person pasted."""
        query = self._listener.redirect_uri.query_of(url)
        return None if query is None else self.read(query)

    async def obtain(self, wait: Wait) -> PendingSession:
        """Wait for the redirect, and redeem its code."""
        await wait.pause(self.lifetime)
        result = wait.result
        if result is None:
            raise self._failed(CodeExpired("nobody logged in within ten minutes"))
        if isinstance(result, Failure):
            raise self._failed(result)
        redirect_uri, resource = str(self._listener.redirect_uri), self._credentials.resource
        request = code_request(result, redirect_uri, self._request.verifier, resource)
        response, sent = await self._send(request, wait)
        return self._pending_session(response, sent, self._request.nonce)

    async def serve(self, ending: Ending, wait: Wait) -> None:
        """Respond to redirects: this login's after the login has ended, others at once."""

        async def answer(query: str) -> Page:
            result = self.read(query)
            if result is None:
                return not_awaited()
            wait.set_result(result)
            outcome = await ending()
            name, issuer = self._account.name, self._account.issuer
            if not isinstance(outcome, errors.AgentError):
                return logged_in(name, outcome, issuer)
            return failed(name, issuer, outcome.reason or outcome.message, outcome.remedy)

        await self._listener.serve(answer)

    async def aclose(self) -> None:
        """Close the port, after pages in transmission are sent."""
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

    def instructions(self) -> dict[str, object]:
        """Return the URL to open on the other device, and the code to enter there."""
        instructions: dict[str, object] = {
            "verification_uri": self._device.verification_uri,
            "user_code": self._device.user_code,
        }
        if self._device.verification_uri_complete is not None:
            instructions["verification_uri_complete"] = self._device.verification_uri_complete
        return instructions

    async def obtain(self, wait: Wait) -> PendingSession:
        """Poll the token endpoint at the provider's interval until somebody has logged in (RFC 8628, section 3.4)."""
        request, interval = device_request(self._device.device_code, self._credentials.resource), self._device.interval
        while True:
            await wait.pause(interval)
            if self._clock.now().boot - self._since.boot >= self.lifetime:
                raise self._failed(CodeExpired("nobody entered the code in time"))
            response, sent = await self._ask(request)
            if not isinstance(response, Transient) or response.refresh_token is not None:
                return self._pending_session(response, sent)
            interval = next_interval(interval, response)
            if isinstance(response, Busy) and response.retry_after is not None:
                interval = max(interval, response.retry_after)


class ClientFlow(Flow):
    """The client credentials grant (RFC 6749, section 4.4)."""

    lifetime = _CLIENT_LIFETIME

    async def obtain(self, wait: Wait) -> PendingSession:
        """Request a token; no person is needed."""
        send = partial(self._tokens.refresh, self._account, is_wanted=lambda: wait.called_off is None)
        self._credentials, response, sent = await self._tokens.log_in(self._account, self._credentials, send)
        return self._pending_session(response, sent)
