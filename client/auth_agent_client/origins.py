"""The origins that a program itself allows tokens for, in place of the host rules in the user's configuration."""

import re
from collections.abc import Iterable

from .errors import Denied, InvalidRequest
from .remedy import allow_origin

_PORTS = {"https": 443, "http": 80}
_LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})
_MAX_PORT = 65_535
_AFTER_ORIGIN = frozenset("/?#")
# A user name, a backslash and a character that is not ASCII don't match: programs read such URLs in different ways.
_URL = re.compile(r"([A-Za-z]+)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(?:[/?#][!-\[\]-~]*)?")


class Origins:
    """A set of origins: scheme, host and port must be the same."""

    def __init__(self, origins: Iterable[str]) -> None:
        """Read the origins, such as `https://api.acme.example` and `http://localhost:8080`.

        Raises:
            ValueError: one of them is not an origin, or is not https (or http on this machine).

        """
        self._origins = frozenset(map(_allowed, [origins] if isinstance(origins, str) else origins))

    def check(self, url: str) -> None:
        """Check that the URL is at one of the origins.

        Raises:
            InvalidRequest: programs could read the URL in different ways.
            Denied: it is at another origin.

        """
        origin = _origin(url)
        if origin is None:
            raise InvalidRequest("this URL gets no token: programs could read it in different ways", parameter="url")
        if origin not in self._origins:
            text = f"no token for {origin}: it is none of the origins that this program allows"
            raise Denied(text, failure="refused", remedy=(allow_origin(),))


def _allowed(text: str) -> str:
    """Return the origin that a program allows, as `_origin` returns it."""
    origin = _origin(text)
    if origin is None or not _AFTER_ORIGIN.isdisjoint(text.partition("://")[2].removesuffix("/")):
        raise ValueError(f"{text!r} is not an origin, such as https://api.acme.example")
    scheme, _, rest = origin.partition("://")
    if scheme != "https" and not (scheme == "http" and rest.rpartition(":")[0] in _LOOPBACK):
        raise ValueError(f"{text!r} must begin with https:// (http:// is for this machine only)")
    return origin


def _origin(url: str) -> str | None:
    """Return the URL's scheme, host and port in one spelling; None if programs could read it in different ways."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return None
    scheme, host = parts[1].lower(), parts[2].lower().removesuffix(".")
    port = _PORTS.get(scheme, 0) if parts[3] is None else int(parts[3])
    return f"{scheme}://{host}:{port}" if host and 0 < port <= _MAX_PORT else None
