"""Who a session's user is, as the provider said last: pure, told the time."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auth_agent.json_object import is_portable
from auth_agent.oauth.id_token import claims
from auth_agent.oauth.userinfo import claims_of_the_user
from auth_agent.sessions.state import Credentials

# Seconds between two requests of one account: Auth0 allows five a minute, whoever makes them.
INTERVAL: Final = 60.0
# How far a clock may be set back before a profile seems to come from the future.
_SKEW: Final = 60.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The claims of a UserInfo answer, when it came (Unix time in seconds), and what the ID token said then.

    `said` is a digest: the profile is looked at anew when the ID token says something else of the user.
    """

    claims: Mapping[str, object] = field(repr=False)
    fetched_at: float
    said: str

    def is_fresh(self, said: str, max_age: float, now: float) -> bool:
        """Whether it is no older than `max_age` seconds, and the ID token still says that; `now` is Unix time."""
        return -_SKEW <= now - self.fetched_at <= max(max_age, INTERVAL) and self.said == said


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """What a client is told: claims, of which time (Unix, in seconds), and whether there may be newer ones."""

    claims: Mapping[str, object] = field(repr=False)
    fetched_at: float
    stale: bool


def by_id_token(credentials: Credentials) -> ProfileResult | None:
    """What the ID token says of the user, for when the provider can't be asked; None where there is none."""
    found = None if credentials.id_token is None else claims(credentials.id_token)
    if found is None or not is_portable(found):
        return None
    issued = found.get("iat")
    at = float(issued) if isinstance(issued, int | float) and not isinstance(issued, bool) else 0.0
    return ProfileResult(claims_of_the_user(found), at, stale=True)


def said_of_the_user(credentials: Credentials) -> str:
    """A digest of what the ID token says of the user: a new token that says the same is no news."""
    told = by_id_token(credentials)
    if told is None:
        return ""
    return hashlib.sha256(json.dumps(told.claims, sort_keys=True).encode()).hexdigest()
