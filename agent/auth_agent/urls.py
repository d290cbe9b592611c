"""Which addresses secrets may be sent to."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from auth_agent.printable import printable

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# Longer than any that a provider has, and short enough for a line that shows it.
_MAX_LENGTH: Final = 2000


class InvalidURLError(ValueError):
    """An address can't be used; the text can be printed."""


def check_url(address: str) -> SplitResult:
    """The parts of an address to which secrets may be sent: https, or http on this machine.

    Raises:
        AddressError: it is another kind of address.

    """
    if len(address) > _MAX_LENGTH:
        raise InvalidURLError(f"{printable(address)!r} is longer than {_MAX_LENGTH} characters")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidURLError(f"{printable(address)!r} is no address") from error
    visible = address.isascii() and address.isprintable() and " " not in address
    if not visible or not host or parts.username is not None:
        raise InvalidURLError(f"{printable(address)!r} is no address of a host, without a user")
    if parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK):
        return parts
    raise InvalidURLError(f"{printable(address)!r} must begin with https:// (http:// is for this machine only)")


def is_same_issuer(named: object, issuer: str) -> bool:
    """Whether what a provider names is that issuer.

    Some write theirs with a slash at its end, as Auth0 does, and some without: that difference is no other issuer.
    """
    return isinstance(named, str) and named.rstrip("/") == issuer.rstrip("/")


def check_issuer(issuer: str) -> None:
    """Whether that can be an issuer: such an address, with neither query nor fragment.

    OpenID Connect Discovery 1.0, section 3.

    Raises:
        AddressError: it can't.

    """
    parts = check_url(issuer)
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer:
        raise InvalidURLError(f"{printable(issuer)!r} has a query or a fragment; an issuer has none")
