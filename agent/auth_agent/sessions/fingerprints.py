"""Which refresh tokens were sent and which were replaced: their SHA-256, never the tokens.

A provider that rotates refresh tokens revokes the whole session when one is presented after its successor was
used. So one that is known to be replaced is never sent.
"""

from typing import Final

from auth_agent.secret import Secret

# A year of one session with tokens of an hour; 1 MiB.
_MOST: Final = 10_000


class Fingerprints:
    """What is known of refresh tokens, the newest few thousand."""

    def __init__(self) -> None:
        self._replaced: dict[str, bool] = {}

    def sent(self, token: Secret) -> None:
        """It is about to be presented to its provider."""
        self._note(token, replaced=False)

    def replaced(self, token: Secret) -> None:
        """Its provider answered with a successor."""
        self._note(token, replaced=True)

    def is_replaced(self, token: Secret) -> bool:
        """Whether a successor is known."""
        return self._replaced.get(token.fingerprint(), False)

    def _note(self, token: Secret, *, replaced: bool) -> None:
        fingerprint = token.fingerprint()
        known = self._replaced.pop(fingerprint, False)  # so that it is the newest again
        self._replaced[fingerprint] = known or replaced
        if len(self._replaced) > _MOST:
            del self._replaced[next(iter(self._replaced))]
