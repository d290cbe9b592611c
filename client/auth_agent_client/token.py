"""Access tokens and ID tokens."""

from collections.abc import Mapping

from .errors import Internal

# The user name that most servers take with a token as a password: GitLab asks for it; many others take any.
DEFAULT_USERNAME = "oauth2"


class Token:
    """An access token that was valid when the agent returned it.

    `expires_at` is Unix time in seconds, None if the token has no known end: it is valid until an API rejects it.
    `audience` and `scope` are those of the token, None if they are not known.
    `audience_verified`: whether the agent could read the token, and it names that audience. A token that can't be read
    is not refused: whether it is for that audience, only the API knows.
    `username` is the user name with which the URL's host takes the token as a password, None if its rule has none.
    """

    __slots__ = (
        *("access_token", "account", "audience", "audience_verified", "expires_at", "scope", "token_type"),
        "username",
    )

    def __init__(
        self,
        account: str,
        access_token: str,
        token_type: str,
        expires_at: float | None,
        scope: str | None,
        audience: str | None,
        audience_verified: bool = False,
        username: str | None = None,
    ) -> None:
        self.account = account
        self.access_token = access_token
        self.token_type = token_type
        self.expires_at = expires_at
        self.scope = scope
        self.audience = audience
        self.audience_verified = audience_verified
        self.username = username

    def headers(self, method: str, url: str) -> dict[str, str]:  # noqa: ARG002 -- see its docstring
        """Return the headers that authorize one HTTP request; call it again for each request.

        Today that is only `Authorization`. A token that is bound to a key (DPoP, RFC 9449) needs a second header, a
        proof for this method and URL: a program that calls this method will need no change for that.

        Args:
            method: the request's method, such as "GET".
            url: the complete URL of the request.

        """
        return {"Authorization": self.authorization}

    @property
    def authorization(self) -> str:
        """The value of an HTTP request's `Authorization` header (RFC 6750, section 2.1)."""
        # Some providers send `bearer`, and some APIs accept only the RFC's spelling.
        scheme = "Bearer" if self.token_type.lower() == "bearer" else self.token_type
        return f"{scheme} {self.access_token}"

    def __repr__(self) -> str:
        return f"Token(account={self.account!r}, access_token=…, expires_at={self.expires_at!r})"


def token_from(result: Mapping[str, object]) -> Token:
    """Return the token from the result of `token`, `rejected` or `refresh`. Raises `Internal` if it is not one."""
    account, access_token = result.get("account"), result.get("access_token")
    token_type, expires_at = result.get("token_type"), result.get("expires_at")
    scope, audience, username = result.get("scope"), result.get("audience"), result.get("username")
    if not (
        isinstance(account, str)
        and isinstance(access_token, str)
        and isinstance(token_type, str)
        and "expires_at" in result
        and (expires_at is None or isinstance(expires_at, (int, float)))
    ):
        raise Internal("the agent sent no token")
    return Token(
        account,
        access_token,
        token_type,
        None if expires_at is None else float(expires_at),
        scope if isinstance(scope, str) else None,
        audience if isinstance(audience, str) else None,
        result.get("audience_verified") is True,  # an agent of an earlier version does not say
        username if isinstance(username, str) else None,
    )


class IDToken:
    """An ID token: claims about the user, signed by the provider for the client (OpenID Connect Core 1.0, section 2).

    It is not an access token: an API must not accept it as one. `expires_at` is Unix time in seconds.
    """

    __slots__ = ("account", "expires_at", "id_token")

    def __init__(self, account: str, id_token: str, expires_at: float) -> None:
        self.account = account
        self.id_token = id_token
        self.expires_at = expires_at

    def __repr__(self) -> str:
        return f"IDToken(account={self.account!r}, id_token=…, expires_at={self.expires_at!r})"


def id_token_from(result: Mapping[str, object]) -> IDToken:
    """Return the token from the result of `id_token`. Raises `Internal` if it is not one."""
    account, id_token, expires_at = result.get("account"), result.get("id_token"), result.get("expires_at")
    if not (isinstance(account, str) and isinstance(id_token, str) and isinstance(expires_at, (int, float))):
        raise Internal("the agent sent no ID token")
    return IDToken(account, id_token, float(expires_at))
