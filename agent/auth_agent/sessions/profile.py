"""The profile of a session's user: the claims that the provider returned last. Pure; the caller provides the time."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auth_agent.oauth.id_token import claims
from auth_agent.oauth.userinfo import claims_of_the_user
from auth_agent.sessions.state import Credentials
from auth_agent_client.messages import is_json

# Seconds between two requests for an account: Auth0 allows five per minute and user, from all programs together.
INTERVAL: Final = 60.0
# How far the wall clock may be set back before a profile counts as fetched in the future, and so as old.
_SKEW: Final = 60.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The claims of a UserInfo response, when it came (Unix time in seconds), and `digest_of_user` at that time.

    The profile is fetched again once the ID token has other claims about the user, which changes `user_digest`.
    """

    claims: Mapping[str, object] = field(repr=False)
    fetched_at: float
    user_digest: str

    def is_fresh(self, user_digest: str, max_age: float, now: float) -> bool:
        """Return whether it is at most `max_age` seconds old and has this digest; `now` is Unix time."""
        return -_SKEW <= now - self.fetched_at <= max(max_age, INTERVAL) and self.user_digest == user_digest


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """The claims for a client, when they were fetched (Unix time in seconds), and whether they may be outdated."""

    claims: Mapping[str, object] = field(repr=False)
    fetched_at: float
    stale: bool


def result_from_id_token(credentials: Credentials) -> ProfileResult | None:
    """Return the ID token's claims about the user, as a fallback; None if there is no ID token with usable claims."""
    all_claims = None if credentials.id_token is None else claims(credentials.id_token)
    if all_claims is None or not is_json(all_claims):
        return None
    issued_at = all_claims.get("iat")
    at = float(issued_at) if isinstance(issued_at, int | float) and not isinstance(issued_at, bool) else 0.0
    return ProfileResult(claims_of_the_user(all_claims), at, stale=True)


def digest_of_user(credentials: Credentials) -> str:
    """Return a digest of the ID token's claims about the user, which a new ID token with the same claims has too."""
    result = result_from_id_token(credentials)
    if result is None:
        return ""
    return hashlib.sha256(json.dumps(result.claims, sort_keys=True).encode()).hexdigest()
