"""Where an access token is shown at once, and the provider says what it thinks of it."""

import base64
import json
import time
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from tests.op.provider import CREDENTIALS, OpenIDProvider

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The addresses at which a provider checks tokens."""

    userinfo: str
    introspection: str

    @classmethod
    def of(cls, provider: OpenIDProvider) -> "Checkpoint":
        """Those of that provider."""
        return cls(provider.url + provider.paths["userinfo"], provider.url + provider.paths["introspection"])


@dataclass(frozen=True, slots=True)
class Checked:
    """What a provider said, by when; `expires_at` is None where it doesn't tell that of a token that is dead."""

    alive: bool
    expires_at: float | None
    answered_at: float


def new_client() -> httpx.Client:
    """For requests to checkpoints, by any number of threads."""
    return httpx.Client(trust_env=False, timeout=_PATIENCE)


def check(http: httpx.Client, checkpoint: Checkpoint, token: str) -> Checked:
    """Show the token. A JWT says itself when its provider lets it expire; of another one the provider tells."""
    if token.count(".") == 2:
        answer = http.get(checkpoint.userinfo, headers={"Authorization": f"Bearer {token}"})
        alive = answer.status_code != HTTPStatus.UNAUTHORIZED and bool(answer.raise_for_status())
        return Checked(alive, _expiry(token), time.time())
    rs = CREDENTIALS["rs"]
    answer = http.post(checkpoint.introspection, data={"token": token}, auth=("rs", rs.secret))
    told = answer.raise_for_status().json()
    return Checked(told["active"], told.get("exp"), time.time())


def _expiry(jwt: str) -> float:
    payload = jwt.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
