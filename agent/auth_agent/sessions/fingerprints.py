"""Remembers which refresh tokens were sent and which were replaced, by their SHA-256, never the tokens.

A provider that rotates refresh tokens revokes the whole session if one is presented after it was replaced (RFC 9700,
section 4.14.2). So the agent never sends a refresh token that it knows to be replaced.
"""

from typing import Final

from auth_agent.secret import Secret

# More than a year of a session with tokens of an hour; about 1 MiB.
_MAX: Final = 10_000


class Fingerprints:
    """The newest 10,000 refresh tokens that were sent, and the newest 10,000 that were replaced."""

    def __init__(self) -> None:
        # Dictionaries, since they are ordered.
        self._sent: dict[str, None] = {}
        self._replaced: dict[str, None] = {}

    def record_sent(self, token: Secret) -> None:
        """Record that the token is presented to its provider."""
        _remember(self._sent, token.fingerprint())

    def record_successor(self, old: Secret, new: Secret) -> None:
        """Record that the provider replaced a token, unless it returned the same one."""
        if old == new:
            return
        self._replaced.pop(new.fingerprint(), None)  # the provider may issue the same string again
        self.record_replaced(old.fingerprint())

    def record_replaced(self, fingerprint: str) -> None:
        """Record that the token of that fingerprint was replaced."""
        _remember(self._replaced, fingerprint)

    def is_replaced(self, token: Secret) -> bool:
        """Return whether the token is known to be replaced."""
        return token.fingerprint() in self._replaced

    def is_new(self, token: Secret) -> bool:
        """Return whether the token is not known to have been sent or replaced."""
        fingerprint = token.fingerprint()
        return fingerprint not in self._sent and fingerprint not in self._replaced


def _remember(fingerprints: dict[str, None], fingerprint: str) -> None:
    fingerprints.pop(fingerprint, None)
    fingerprints[fingerprint] = None
    if len(fingerprints) > _MAX:
        del fingerprints[next(iter(fingerprints))]
