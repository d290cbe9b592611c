"""Checks of URLs from outside: secrets are sent to them, and browsers are opened with them."""

from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

from auth_agent.printable import printable

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# What a URI consists of (RFC 3986, section 2); an opener may be a shell script, to which other characters mean more.
_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%")
_OWN_PORTS: Final = {"https://": ":443", "http://": ":80"}
# Longer than any provider's URL, and short enough for a line of the log.
_MAX_LENGTH: Final = 2000
# The spellings of issuers that are kept in mind: each session is compared with its own again and again.
_MOST_ISSUERS: Final = 256


class InvalidURLError(ValueError):
    """A URL can't be used; the message is safe to print."""


def check_url(url: str, issuer: str | None = None) -> SplitResult:
    """Return the parts of a URL if secrets may be sent to it: https, or http on this machine.

    `issuer` is the provider that named the URL, if one did: only a provider on this machine has http URLs here, or it
    could make the agent send requests to other servers on it.

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
    if not _CHARACTERS.issuperset(url):
        raise InvalidURLError(f"{printable(url)!r} has a character that a URL can't have")
    if not host or parts.username is not None:
        raise InvalidURLError(f"{printable(url)!r} is not a URL with a host and without a user name")
    if parts.scheme == "https":
        return parts
    if parts.scheme == "http" and host in LOOPBACK:
        if issuer is None or urlsplit(issuer).scheme == "http":
            return parts
        raise InvalidURLError(f"{printable(url)!r} must begin with https://, as the issuer does")
    raise InvalidURLError(f"{printable(url)!r} must begin with https:// (http:// is for this machine only)")


def is_same_issuer(named: object, issuer: str) -> bool:
    """Whether `named`, an issuer that a provider sent, is that issuer, however people spell it.

    A slash at the end is ignored, which some providers have, as Auth0 does; so are upper case in the host and the
    scheme's own port (RFC 3986, sections 6.2.2.1 and 6.2.3): the same server answers there. Paths are compared exactly.
    """
    return isinstance(named, str) and _normal(named) == _normal(issuer)


@lru_cache(_MOST_ISSUERS)
def _normal(issuer: str) -> tuple[str, str]:
    """Return scheme, host and port in one spelling, and the rest without a slash at its end."""
    scheme, separator, rest = issuer.rstrip("/").partition("://")
    host, slash, path = rest.partition("/")
    origin = f"{scheme}{separator}{host}".lower()
    for own, port in _OWN_PORTS.items():
        if origin.startswith(own):
            origin = origin.removesuffix(port)
    return origin, f"{slash}{path}"


def check_issuer(issuer: str) -> None:
    """Check that a URL can be an issuer: no query and no fragment (OpenID Connect Discovery 1.0, section 3).

    Raises:
        InvalidURLError: it can't; the message says what to write if that is known.

    """
    if "{" in issuer:
        raise InvalidURLError(f"{printable(issuer)!r} is a template; write the tenant's id in place of the braces")
    before, well_known, document = issuer.partition("/.well-known/")
    if well_known:
        _, slash, path = document.partition("/")  # RFC 8414, section 3.1
        raise InvalidURLError(
            f"{printable(issuer)!r} is where the provider's metadata is; write the issuer that it names, such as "
            f"{printable(before + slash + path)!r}"
        )
    parts = check_url(issuer)
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer:
        raise InvalidURLError(f"{printable(issuer)!r} has a query or a fragment; an issuer has none")
