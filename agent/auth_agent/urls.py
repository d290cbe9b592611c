"""Checks of the URLs that secrets may be sent to."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from auth_agent.printable import printable

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# Longer than any provider's URL, and short enough for a line of the log.
_MAX_LENGTH: Final = 2000


class InvalidURLError(ValueError):
    """A URL can't be used; the message is safe to print."""


def check_url(url: str) -> SplitResult:
    """Return the parts of a URL if secrets may be sent to it: https, or http on this machine.

    Raises:
        InvalidURLError: it is another URL, or not a URL.

    """
    if len(url) > _MAX_LENGTH:
        raise InvalidURLError(f"{printable(url)!r} is longer than {_MAX_LENGTH} characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidURLError(f"{printable(url)!r} is not a URL") from error
    if "://" not in url:
        raise InvalidURLError(f"{printable(url)!r} must begin with https://")
    visible = url.isascii() and url.isprintable() and " " not in url
    if not visible or not host or parts.username is not None:
        raise InvalidURLError(f"{printable(url)!r} is not a URL with a host and without a user name")
    if parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK):
        return parts
    raise InvalidURLError(f"{printable(url)!r} must begin with https:// (http:// is for this machine only)")


def is_same_issuer(named: object, issuer: str) -> bool:
    """Whether `named`, an issuer that a provider sent, is that issuer.

    A slash at the end is ignored: some providers have one, as Auth0 does, and people omit it.
    """
    return isinstance(named, str) and named.rstrip("/") == issuer.rstrip("/")


def check_issuer(issuer: str) -> None:
    """Check that a URL can be an issuer: no query and no fragment (OpenID Connect Discovery 1.0, section 3).

    Raises:
        InvalidURLError: it can't.

    """
    parts = check_url(issuer)
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer:
        raise InvalidURLError(f"{printable(issuer)!r} has a query or a fragment; an issuer has none")
