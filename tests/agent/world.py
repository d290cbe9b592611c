"""One fake world for the heart's tests: a clock, and a provider that behaves as real ones do.

Everything real is in tests/integration; here time is a number, and a provider is a dictionary.
"""

import base64
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import anyio.lowlevel

from auth_agent.config import Account, Config
from auth_agent.host.clock import Clock, Moment
from auth_agent.oauth.outcome import Ended, Failure, TokenReply
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Job
from auth_agent.sessions.session import Session

ISSUER = "https://acme.example/"
CLIENT = "native-app"
ALICE = "auth0|alice"


def account(name: str = "work", **more: Any) -> Account:
    return replace(Account(name, ISSUER, CLIENT), **more)


def config(*accounts: Account) -> Config:
    chosen = accounts or (account(),)
    return Config(Path("config.toml"), MappingProxyType({one.name: one for one in chosen}))


def jwt(**claims: object) -> Secret:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return Secret(f"e30.{payload}.c2ln")


def reply(
    access_token: str | None = "at-1",
    *,
    refresh_token: str | None = "rt-2",
    lifetime: float | None = 3600,
    subject: str | None = ALICE,
    **more: Any,
) -> TokenReply:
    """What a provider grants; `subject` None: without an ID token."""
    id_token = None if subject is None else jwt(iss=ISSUER, aud=CLIENT, sub=subject, name="Alice")
    granted = TokenReply(
        access_token=None if access_token is None else Secret(access_token),
        token_type="Bearer",
        lifetime=lifetime,
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        scope="openid",
        id_token=id_token,
    )
    return replace(granted, **more)


def conclude(
    session: Session, job: Job, outcome: TokenReply | Failure, sent: Moment, now: Moment, chance: float = 0.5
) -> bool:
    """A refresh's end, as the refresher has it; whether its result was the session's."""
    if not session.is_current(job):
        return False
    if isinstance(outcome, TokenReply) and outcome.refresh_token is not None:
        session.keep(outcome.refresh_token)
    session.settle(session.judge(outcome, sent, now, chance), chance)
    return True


class FakeClock(Clock):
    """Two clocks that a test sets; with `running`, they also go as the event loop's clock does."""

    def __init__(self, *, running: bool = False) -> None:
        self.wall = 1_800_000_000.0
        self.boot = 5_000.0
        self.suspended = 0.0
        self._running = running

    def _gone(self) -> float:
        return anyio.current_time() if self._running else 0.0

    def now(self) -> Moment:
        gone = self._gone()
        return Moment(self.wall + self.suspended + gone, self.boot + self.suspended + gone)

    def awake(self) -> float:
        return self.boot + self._gone()

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


@dataclass
class FakeProvider:
    """A provider that rotates, detects reuse, and fails as it is told.

    `script` holds what it does before it behaves: a failure to answer with, or a function to await first.
    """

    lifetime: float = 3600
    subject: str | None = ALICE
    rotates: bool = True
    preparation: float = 0
    delay: float = 0
    script: list[Failure | TokenReply] = field(default_factory=list[Failure | TokenReply])
    presented: list[str] = field(default_factory=list[str])
    at: list[float] = field(default_factory=list[float])
    revoked: list[str] = field(default_factory=list[str])
    on_refresh: Callable[[], None] | None = None
    in_flight: int = 0
    most_in_flight: int = 0
    live: str = "rt-1"
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(2))

    async def prepare(self) -> Failure | None:
        await anyio.sleep(self.preparation)
        return None

    async def refresh(self, client_id: str, refresh_token: Secret) -> TokenReply | Failure:
        assert client_id == CLIENT
        self.presented.append(refresh_token.reveal())
        self.at.append(anyio.current_time())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        if self.on_refresh is not None:
            self.on_refresh()
        if self.script:
            return self.script.pop(0)
        if refresh_token.reveal() != self.live or self.live in self.revoked:
            return Ended("invalid_grant")
        serial = next(self._serial)
        if self.rotates:
            self.live = f"rt-{serial}"
        new = self.live if self.rotates else None
        return reply(f"at-{serial}", refresh_token=new, lifetime=self.lifetime, subject=self.subject)

    async def revoke(self, client_id: str, refresh_token: Secret) -> bool:
        assert client_id == CLIENT
        await anyio.lowlevel.checkpoint()
        self.revoked.append(refresh_token.reveal())
        return True
