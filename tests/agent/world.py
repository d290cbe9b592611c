"""Fakes for the tests of sessions: a clock, a provider that behaves as real ones do, a signature check and a store.

The tests with real providers and keyrings are in tests/integration; here time is a number.
"""

import base64
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import anyio.lowlevel

from auth_agent.config import ALLOW, Account, Config
from auth_agent.host.clock import Clock, Moment
from auth_agent.json_object import parse_object
from auth_agent.oauth.client import Client
from auth_agent.oauth.device import DeviceAuthorization
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Failure, InvalidGrant, Misconfigured, TokenResponse
from auth_agent.oauth.resource import AUDIENCE
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret
from auth_agent.storage.store import Sealed, StoreError, Unlocked, WrongPassphrase

ISSUER = "https://acme.example/"
CLIENT = "native-app"
ALICE = "auth0|alice"
# The Unix time at which every test starts.
NOON = 1_800_000_000.0
METADATA = Metadata(ISSUER, f"{ISSUER}token", authorization_endpoint=f"{ISSUER}authorize")


def account(name: str = "work", **more: Any) -> Account:
    return replace(Account(name, ISSUER, CLIENT, side_requests=ALLOW), **more)


def config(*accounts: Account) -> Config:
    return Config(Path("config.toml"), MappingProxyType({item.name: item for item in accounts or (account(),)}))


def jwt(**claims: object) -> Secret:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return Secret(f"e30.{payload}.c2ln")


def token_response(
    access_token: str | None = "at-1",
    *,
    refresh_token: str | None = "rt-2",
    lifetime: float | None = 3600,
    subject: str | None = ALICE,
    at: float = NOON,
    nonce: str | None = None,
    **more: Any,
) -> TokenResponse:
    """Return a token response at the Unix time `at`; `subject` None: without an ID token."""
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": subject, "name": "Alice", "iat": at, "exp": at + 3600}
    if nonce is not None:
        claims["nonce"] = nonce
    id_token = None if subject is None else jwt(**claims)
    response = TokenResponse(
        access_token=None if access_token is None else Secret(access_token),
        token_type="Bearer",
        lifetime=lifetime,
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        scope="openid",
        id_token=id_token,
    )
    return replace(response, **more)


class FakeClock(Clock):
    """Clocks that a test sets; with `running`, they also advance with the event loop's clock."""

    def __init__(self, *, running: bool = False) -> None:
        self.wall = NOON
        self.boot = 5_000.0
        self.boot_name = "this boot"
        self.suspended = 0.0
        self._running = running

    def _elapsed(self) -> float:
        return anyio.current_time() if self._running else 0.0

    def now(self) -> Moment:
        elapsed = self._elapsed()
        return Moment(self.wall + self.suspended + elapsed, self.boot + self.suspended + elapsed)

    def awake(self) -> float:
        return self.boot + self._elapsed()

    def boot_id(self) -> str:
        return self.boot_name

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


@dataclass
class FakeProvider:
    """A provider that rotates refresh tokens, detects their reuse, and fails as scripted.

    `script` has the results of the next token requests; once it is empty, the provider grants tokens.
    """

    lifetime: float = 3600
    subject: str | None = ALICE
    rotates: bool = True
    preparation: float = 0
    delay: float = 0
    revocation_delay: float = 0
    script: list[Failure | TokenResponse] = field(default_factory=list[Failure | TokenResponse])
    metadata: Metadata | Failure = METADATA
    key_set: str | Failure = "{}"
    device: DeviceAuthorization | Failure = field(default_factory=lambda: Misconfigured("no device flow"))
    # The scopes of the device authorization requests, and the results of the next ones.
    device_scopes: list[str] = field(default_factory=list[str])
    device_script: list[DeviceAuthorization | Failure] = field(default_factory=list[DeviceAuthorization | Failure])
    nonce: str | None = None
    presented: list[str] = field(default_factory=list[str])
    # The audience and scope of each refresh request.
    refresh_requests: list[tuple[str | None, str]] = field(default_factory=list[tuple[str | None, str]])
    codes: list[str] = field(default_factory=list[str])
    secrets: list[str] = field(default_factory=list[str])
    at: list[float] = field(default_factory=list[float])
    revoked: list[str] = field(default_factory=list[str])
    # The access tokens of the UserInfo requests, and the results of the next ones.
    profiles: list[str] = field(default_factory=list[str])
    profile_script: list[dict[str, object] | Failure] = field(default_factory=list[dict[str, object] | Failure])
    # The calls of the Management API as (access token, method, URL). `user_script` has pairs of results: one instead of
    # handling the call, one instead of the response after handling it; None: no such result.
    user_metadata: dict[str, object] = field(default_factory=dict[str, object])
    user_requests: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    user_script: list[Failure | None] = field(default_factory=list[Failure | None])
    # How old the metadata might be each time that it was to be looked up.
    looked_again: list[float] = field(default_factory=list[float])
    # The client's methods of the token requests, as far as they are chosen.
    methods: list[str | None] = field(default_factory=list[str | None])
    on_refresh: Callable[[], None] | None = None
    in_flight: int = 0
    most_in_flight: int = 0
    live: str = "rt-1"
    # The `Date` of its last response, and when that came, in seconds since boot; None: it had none.
    dated: tuple[float, float] | None = None
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(2))

    def time(self, now: Moment) -> float | None:
        return None if self.dated is None else self.dated[0] + now.boot - self.dated[1]

    async def discover(self) -> Metadata | Failure:
        await anyio.sleep(self.preparation)
        self.preparation = 0  # from then on it is known
        return self.metadata

    def look_again(self, *, older_than: float = 60.0) -> None:
        self.looked_again.append(older_than)

    async def keys(self) -> str | Failure:
        await anyio.lowlevel.checkpoint()
        return self.key_set

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        assert client.client_id == CLIENT
        self.methods.append(client.method)
        form = request.form((AUDIENCE,))
        if request.grant_type == "refresh_token":
            return await self._refresh(form["refresh_token"], form.get("audience"), form.get("scope", ""))
        if request.grant_type == "client_credentials":
            assert client.secret is not None
            assert form.keys() == {"grant_type", "scope"}
            self.secrets.append(client.secret.reveal())
            return await self._scripted() or replace(self._grant(new=True), id_token=None)
        if request.grant_type == "authorization_code":
            assert form["redirect_uri"].startswith("http://127.0.0.1:")
            assert form["code_verifier"]
            self.codes.append(form["code"])
        else:
            self.codes.append(form["device_code"])
        return await self._scripted() or self._grant(new=True)

    async def _refresh(self, refresh_token: str, audience: str | None, scope: str) -> TokenResponse | Failure:
        self.refresh_requests.append((audience, scope))
        self.presented.append(refresh_token)
        scripted = await self._scripted()
        if scripted is not None:
            return scripted
        if refresh_token != self.live or self.live in self.revoked:
            return InvalidGrant("invalid_grant")
        return self._grant(new=self.rotates, audience=audience, scope=scope)

    async def begin_device(
        self, client: Client, scope: str, parameters: Mapping[str, str]
    ) -> DeviceAuthorization | Failure:
        assert client.client_id == CLIENT
        assert scope
        assert not parameters
        await anyio.lowlevel.checkpoint()
        self.device_scopes.append(scope)
        return self.device_script.pop(0) if self.device_script else self.device

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        assert client.client_id == CLIENT
        await anyio.sleep(self.revocation_delay)
        self.revoked.append(refresh_token.reveal())
        return True

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | Failure:
        assert token_type == "Bearer"
        self.profiles.append(access_token.reveal())
        await anyio.sleep(self.delay)
        return (
            self.profile_script.pop(0)
            if self.profile_script
            else {"sub": self.subject, "name": "Alice", "n": len(self.profiles)}
        )

    async def user(
        self, access_token: Secret, token_type: str, url: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        assert token_type == "Bearer"
        self.user_requests.append((access_token.reveal(), "GET" if update is None else "PATCH", url))
        await anyio.sleep(self.delay)
        if self.user_script and (scripted := self.user_script.pop(0)) is not None:
            return scripted
        changes = (update or {}).get("user_metadata")
        if isinstance(changes, dict):
            merged: dict[str, object] = {**self.user_metadata, **changes} if changes else {}
            self.user_metadata = {name: value for name, value in merged.items() if value is not None}
        if self.user_script and (scripted := self.user_script.pop(0)) is not None:
            return scripted
        return {"user_id": self.subject, "user_metadata": self.user_metadata}

    async def _scripted(self) -> TokenResponse | Failure | None:
        """Wait for the delay; return the next scripted result, or None to grant tokens."""
        self.at.append(anyio.current_time())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        if self.on_refresh is not None:
            self.on_refresh()
        return self.script.pop(0) if self.script else None

    def _grant(self, *, new: bool, audience: str | None = None, scope: str = "") -> TokenResponse:
        serial = next(self._serial)
        access_token = f"at-{serial}" if audience is None else jwt(aud=audience, jti=f"at-{serial}").reveal()
        if new:
            self.live = f"rt-{serial}"
        return token_response(
            access_token,
            refresh_token=self.live if new else None,
            lifetime=self.lifetime,
            subject=self.subject,
            at=NOON + anyio.current_time(),
            nonce=self.nonce,
            scope=scope or "openid",
        )


@dataclass
class FakeSignatures:
    """A signature check that returns `reason`, or raises `error`."""

    reason: str | None = None
    error: Exception | None = None
    checked: list[str] = field(default_factory=list[str])

    # The algorithm and the noun of each check.
    checks: list[tuple[str | None, str]] = field(default_factory=list[tuple[str | None, str]])

    async def problem(
        self, token: Secret, keys: str, algorithm: str | None = None, noun: str = "ID token"
    ) -> str | None:
        assert keys == "{}"
        return await self._check(token, algorithm, noun)

    async def mac_problem(self, token: Secret, client_secret: Secret, algorithm: str, noun: str) -> str | None:
        assert client_secret.reveal()
        return await self._check(token, algorithm, noun)

    async def _check(self, token: Secret, algorithm: str | None, noun: str) -> str | None:
        await anyio.lowlevel.checkpoint()
        self.checks.append((algorithm, noun))
        self.checked.append(token.reveal())
        if self.error is not None:
            raise self.error
        return self.reason


class FakeSealedEntries:
    """Entries that a passphrase seals; sealing takes a moment, as in a worker process."""

    def __init__(self) -> None:
        self._passphrase: Secret | None = None
        self._entries: dict[str, Secret] = {}
        self._is_locked = True

    async def unlock_by(self, passphrase: Secret) -> Unlocked:
        await anyio.sleep(0.5)
        is_new = self._passphrase is None
        self._passphrase = self._passphrase or passphrase
        if passphrase != self._passphrase:
            raise WrongPassphrase("the passphrase is wrong")
        self._is_locked = False
        return Unlocked(created=is_new, memory=128, weak=False)

    async def lock(self) -> None:
        self._is_locked = True

    async def write(self, account: str, entry: Secret) -> None:
        await anyio.sleep(0.01)
        assert not self._is_locked
        self._entries[account] = entry

    async def read(self, account: str) -> Secret:
        await anyio.sleep(0.01)
        assert not self._is_locked
        return self._entries[account]

    @property
    def accounts(self) -> tuple[str, ...]:
        return tuple(self._entries)


@dataclass
class FakeStore:
    """A store that takes `latency` seconds and fails as configured; it outlives the agents of a test.

    `failing` has the errors of calls: by `read`, `write`, `delete`, `unlock` or `rest`, by one of these and an account
    (`read work`), or by `all`. A hanging store fails after `limit` seconds.
    """

    name: str = "fake"
    persistent: bool = True
    max_length: int = 12 * 1024
    expensive_writes: bool = False
    backend: str | None = None
    sealed: Sealed | None = None
    latency: float = 0.01
    hanging: bool = False
    limit: float = 5
    entries: dict[str, Secret] = field(default_factory=dict[str, Secret])
    # What other programs have put beside the entries.
    copies: dict[str, list[Secret]] = field(default_factory=dict[str, list[Secret]])
    failing: dict[str, Exception] = field(default_factory=dict[str, Exception])
    # The calls (with the account, if there is one) and their times.
    calls: list[str] = field(default_factory=list[str])
    at: list[float] = field(default_factory=list[float])
    on_unlock: Callable[[], None] | None = None

    async def read(self, account: str) -> list[Secret]:
        await self._call("read", account)
        entry = self.entries.get(account)
        return [*([] if entry is None else [entry]), *self.copies.get(account, [])]

    async def write(self, account: str, entry: Secret) -> None:
        await self._call("write", account)
        self.entries[account] = entry
        self.copies.pop(account, None)

    async def delete(self, account: str) -> bool:
        await self._call("delete", account)
        found = account in self.entries or account in self.copies
        self.entries.pop(account, None)
        self.copies.pop(account, None)
        return found

    async def unlock(self) -> None:
        if self.on_unlock is not None:
            self.on_unlock()
        await self._call("unlock")

    async def release(self) -> None:
        await self._call("rest")

    async def _call(self, name: str, account: str = "") -> None:
        call = f"{name} {account}".rstrip()
        self.calls.append(call)
        self.at.append(anyio.current_time())
        await anyio.sleep(self.limit if self.hanging else self.latency)
        if self.hanging:
            raise StoreError("the store hangs")
        error = self.failing.get(call) or self.failing.get(name) or self.failing.get("all")
        if error is not None:
            raise error.with_traceback(None)  # otherwise it would grow with each call

    def entry(self, account: str = "work") -> dict[str, Any]:
        """Return the entry of that account; empty if there is none."""
        entry = self.entries.get(account)
        return {} if entry is None else parse_object(entry.reveal())

    def refresh_token(self, account: str = "work") -> object:
        """Return the refresh token in the entry of that account."""
        return self.entry(account).get("login", {}).get("refresh_token")
