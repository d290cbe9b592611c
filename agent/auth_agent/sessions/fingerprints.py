"""Which refresh tokens were sent, and which replaced: their SHA-256, never the tokens.

A provider that rotates refresh tokens revokes the whole session when one is presented after its successor was
used. So one that is known to be replaced is never sent.
"""

from typing import Final

from auth_agent.secret import Secret

# Over a year of one session whose tokens live for an hour; 1 MiB.
_MOST: Final = 10_000


class Fingerprints:
    """The refresh tokens that were sent, and those known to be replaced: the newest few thousand of each."""

    def __init__(self) -> None:
        # For their order.
        self._sent: dict[str, None] = {}
        self._replaced: dict[str, None] = {}

    def sent(self, token: Secret) -> None:
        """It is presented to its provider."""
        _remember(self._sent, token.fingerprint())

    def replaced(self, old: Secret, new: Secret) -> None:
        """A provider answered the one with the other; with the same again, where it doesn't rotate."""
        if old == new:
            return
        self._replaced.pop(new.fingerprint(), None)  # whatever it was before, it is good now
        self.remember_replaced(old.fingerprint())

    def remember_replaced(self, fingerprint: str) -> None:
        """A token of that fingerprint was replaced in the past."""
        _remember(self._replaced, fingerprint)

    def is_replaced(self, token: Secret) -> bool:
        """Whether a successor is known."""
        return token.fingerprint() in self._replaced

    def is_new(self, token: Secret) -> bool:
        """Whether it was neither sent nor replaced by this agent."""
        fingerprint = token.fingerprint()
        return fingerprint not in self._sent and fingerprint not in self._replaced


def _remember(fingerprints: dict[str, None], fingerprint: str) -> None:
    fingerprints.pop(fingerprint, None)
    fingerprints[fingerprint] = None
    if len(fingerprints) > _MOST:
        del fingerprints[next(iter(fingerprints))]
