"""Access tokens that a newer one of the same login replaced while they were good by the clock: their fingerprints.

If an API rejects one of them, the refresh that replaced it may have ended it. They are kept in memory only, and the
tokens themselves are not kept.
"""

from typing import Final

from auth_agent.host.clock import Moment
from auth_agent.secret import Secret
from auth_agent.sessions.state import AccessToken

# The newest ones; more than a rate limit lets programs cause in the lifetime of a short token.
MAX_SUPERSEDED: Final = 16


class Superseded:
    """The superseded tokens of a session, until their end by the clock."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        # Until when each was to be served, by its fingerprint.
        self._tokens: dict[str, Moment] = {}

    def add(self, token: AccessToken, now: Moment) -> None:
        """Record that this token was replaced."""
        alive = {one: until for one, until in self._tokens.items() if now.until(until) > 0}
        if token.remaining(now) > 0:
            alive[token.value.fingerprint()] = token.served_until
        self._tokens = dict(list(alive.items())[-MAX_SUPERSEDED:])

    def has(self, access_token: Secret, now: Moment) -> bool:
        """Return whether that token was replaced, and is still good by the clock."""
        until = self._tokens.get(access_token.fingerprint())
        return until is not None and now.until(until) > 0
