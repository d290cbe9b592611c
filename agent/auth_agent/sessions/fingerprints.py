"""Remembers which refresh tokens were sent and which were replaced, by their SHA-256, never the tokens.

A provider that rotates refresh tokens revokes the whole session if one is presented after it was replaced (RFC 9700,
section 4.14.2). So the agent never sends a refresh token that it knows to be replaced.
"""

from typing import Final

from auth_agent.secret import Secret

# Of each account: five months of tokens of an hour, or an hour of tokens of a second; 0.7 MB. Each has its own, so that
# a provider with short lifetimes does not make the agent forget the tokens of others.
MAX_FINGERPRINTS: Final = 4_000


class Fingerprints:
    """The newest refresh tokens of each account that were sent or replaced."""

    def __init__(self) -> None:
        # Whether each was replaced, by account; dictionaries, since they are ordered.
        self._accounts: dict[str, dict[str, bool]] = {}

    def record_sent(self, account: str, token: Secret) -> None:
        """Record that the token is presented to its provider."""
        self._remember(account, token.fingerprint(), replaced=self.is_replaced(token))

    def record_successor(self, account: str, old: Secret, new: Secret) -> None:
        """Record that the provider replaced a token, unless it returned the same one."""
        if old == new:
            return
        for known in self._accounts.values():  # the provider may issue the same string again
            known.pop(new.fingerprint(), None)
        self.record_replaced(account, old.fingerprint())

    def record_replaced(self, account: str, fingerprint: str) -> None:
        """Record that the token of that fingerprint was replaced."""
        self._remember(account, fingerprint, replaced=True)

    def is_replaced(self, token: Secret) -> bool:
        """Return whether the token, of any account, is known to be replaced."""
        fingerprint = token.fingerprint()
        return any(known.get(fingerprint, False) for known in self._accounts.values())

    def is_new(self, token: Secret) -> bool:
        """Return whether the token is not known to have been sent or replaced."""
        fingerprint = token.fingerprint()
        return not any(fingerprint in known for known in self._accounts.values())

    def _remember(self, account: str, fingerprint: str, *, replaced: bool) -> None:
        known = self._accounts.setdefault(account, {})
        known.pop(fingerprint, None)
        known[fingerprint] = replaced
        if len(known) > MAX_FINGERPRINTS:
            del known[next(iter(known))]
