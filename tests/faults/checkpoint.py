"""Checks access tokens at their provider."""

import base64
import json
import time
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from tests.op.provider import CREDENTIALS, OpenIDProvider

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The URLs at which a provider checks tokens."""

    userinfo: str
    introspection: str

    @classmethod
    def of(cls, provider: OpenIDProvider) -> "Checkpoint":
        """Return the URLs of that provider."""
        return cls(provider.url + provider.paths["userinfo"], provider.url + provider.paths["introspection"])


@dataclass(frozen=True, slots=True)
class Checked:
    """The provider's result, and its time; `expires_at` is None if the provider omits it for an invalid token."""

    alive: bool
    expires_at: float | None
    answered_at: float


def new_client() -> httpx.Client:
    """Return an HTTP client for checkpoints, for any number of threads."""
    return httpx.Client(trust_env=False, timeout=_PATIENCE)


def check(http: httpx.Client, checkpoint: Checkpoint, token: str) -> Checked:
    """Check a token: a JWT, which has its expiry, at the UserInfo endpoint, and an opaque one by introspection."""
    if token.count(".") == 2:
        response = http.get(checkpoint.userinfo, headers={"Authorization": f"Bearer {token}"})
        alive = response.status_code != HTTPStatus.UNAUTHORIZED and bool(response.raise_for_status())
        return Checked(alive, _expiry(token), time.time())
    rs = CREDENTIALS["rs"]
    response = http.post(checkpoint.introspection, data={"token": token}, auth=("rs", rs.secret))
    fields = response.raise_for_status().json()
    return Checked(fields["active"], fields.get("exp"), time.time())


def _expiry(jwt: str) -> float:
    payload = jwt.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
