"""The result of a logout."""

from collections.abc import Mapping


class Logout:
    """A session was deleted; true if its refresh token was revoked at the provider.

    `revoked` equals the truth value. `reason` is a sentence if the agent did not revoke the token because that could
    have ended the sessions of other accounts, which it names; else None. `end_session_url` is the provider's logout
    page for a browser, whose cookie would otherwise allow the next login without a password; None if there is none.
    """

    __slots__ = ("end_session_url", "reason", "revoked")

    def __init__(self, *, revoked: bool, end_session_url: str | None, reason: str | None = None) -> None:
        self.revoked = revoked
        self.reason = reason
        self.end_session_url = end_session_url

    def __bool__(self) -> bool:
        return self.revoked

    def __repr__(self) -> str:
        # Without the URL: another version's agent may put an ID token in it, as `id_token_hint`.
        url = None if self.end_session_url is None else "…"
        return f"Logout(revoked={self.revoked!r}, end_session_url={url}, reason={self.reason!r})"


def logout_from(result: Mapping[str, object]) -> Logout:
    """Return the `Logout` from the result of the method `logout`."""
    url, reason = result.get("end_session_url"), result.get("reason")
    return Logout(
        revoked=result.get("revoked") is True,
        end_session_url=url if isinstance(url, str) and url else None,
        reason=reason if isinstance(reason, str) and reason else None,
    )
