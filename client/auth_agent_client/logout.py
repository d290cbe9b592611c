"""What came of a logout."""

from collections.abc import Mapping


class Logout:
    """A session that was forgotten; true where the provider took its refresh token back.

    `revoked` says the same as the truth value. `reason` is a sentence, where the agent did not ask the provider since
    that might have ended the sessions of other accounts; it names them. `end_session_url` is where a browser ends the
    login at the provider itself, whose cookie would let the next login in without a password; None: the provider has no
    such page.
    """

    __slots__ = ("end_session_url", "reason", "revoked")

    def __init__(self, *, revoked: bool, end_session_url: str | None, reason: str | None = None) -> None:
        self.revoked = revoked
        self.reason = reason
        self.end_session_url = end_session_url

    def __bool__(self) -> bool:
        return self.revoked

    def __repr__(self) -> str:
        # Not the address: another version's agent may put an ID token into it, as the hint that the standard has.
        address = None if self.end_session_url is None else "…"
        return f"Logout(revoked={self.revoked!r}, end_session_url={address}, reason={self.reason!r})"


def logout_from(result: Mapping[str, object]) -> Logout:
    """What came of it, by the result of `logout`."""
    address, reason = result.get("end_session_url"), result.get("reason")
    return Logout(
        revoked=result.get("revoked") is True,
        end_session_url=address if isinstance(address, str) and address else None,
        reason=reason if isinstance(reason, str) and reason else None,
    )
