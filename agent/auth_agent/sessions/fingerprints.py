"""Which refresh tokens were replaced: their SHA-256, never the tokens.

A provider that rotates refresh tokens revokes the whole session when one is presented after its successor was
used. So one that is known to be replaced is never sent.
"""

from typing import Final

from auth_agent.secret import Secret

# Over a year of one session whose tokens live for an hour; 1 MiB.
_MOST: Final = 10_000


class Fingerprints:
    """The refresh tokens known to be replaced, the newest few thousand."""

    def __init__(self) -> None:
        self._replaced: dict[str, None] = {}  # for its order

    def replaced(self, old: Secret, new: Secret) -> None:
        """A provider answered the one with the other; with the same again, where it doesn't rotate."""
        if old == new:
            return
        self._replaced.pop(new.fingerprint(), None)  # whatever it was before, it is good now
        fingerprint = old.fingerprint()
        self._replaced.pop(fingerprint, None)
        self._replaced[fingerprint] = None
        if len(self._replaced) > _MOST:
            del self._replaced[next(iter(self._replaced))]

    def is_replaced(self, token: Secret) -> bool:
        """Whether a successor is known."""
        return token.fingerprint() in self._replaced
