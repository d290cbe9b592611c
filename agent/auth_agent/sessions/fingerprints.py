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
        # Those of each account, the oldest first.
        self._accounts: dict[str, dict[str, None]] = {}
        # Whether each was replaced, by the accounts that know it: one, unless two have had the same token.
        self._replaced: dict[str, dict[str, bool]] = {}

    def record_sent(self, account: str, token: Secret) -> None:
        """Record that the token is presented to its provider."""
        self._remember(account, token.fingerprint(), replaced=self.is_replaced(token))

    def record_successor(self, account: str, old: Secret, new: Secret) -> None:
        """Record that the provider replaced a token, unless it returned the same one."""
        if old == new:
            return
        fingerprint = new.fingerprint()
        for each in self._replaced.pop(fingerprint, {}):  # the provider may issue the same string again
            del self._accounts[each][fingerprint]
        self.record_replaced(account, old.fingerprint())

    def record_replaced(self, account: str, fingerprint: str) -> None:
        """Record that the token of that fingerprint was replaced."""
        self._remember(account, fingerprint, replaced=True)

    def is_replaced(self, token: Secret) -> bool:
        """Return whether the token, of any account, is known to be replaced."""
        return any(self._replaced.get(token.fingerprint(), {}).values())

    def is_new(self, token: Secret) -> bool:
        """Return whether the token is not known to have been sent or replaced."""
        return token.fingerprint() not in self._replaced

    def _remember(self, account: str, fingerprint: str, *, replaced: bool) -> None:
        known = self._accounts.setdefault(account, {})
        known.pop(fingerprint, None)
        known[fingerprint] = None
        self._replaced.setdefault(fingerprint, {})[account] = replaced
        if len(known) > MAX_FINGERPRINTS:
            self._forget(account, next(iter(known)))

    def _forget(self, account: str, fingerprint: str) -> None:
        del self._accounts[account][fingerprint]
        accounts = self._replaced[fingerprint]
        del accounts[account]
        if not accounts:
            del self._replaced[fingerprint]
