r"""Finds the account whose token a URL gets, by the rules of `[hosts]`.

A token must not reach another host than its rule's. Programs parse an odd URL in different ways (which is the host in
`https://a\@b`?), so an ambiguous URL is refused, and any other is normalized and compared exactly.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote_to_bytes

import idna

from auth_agent.urls import LOOPBACK

_PORTS: Final = {"https": 443, "http": 80}
_MAX_PORT: Final = 65_535
_MAX_NAME: Final = 253  # of a host name, RFC 1035, section 2.3.4

# The user names with which hosts, and those below them, take an access token as a password.
_USERNAMES: Final = {
    "bitbucket.org": "x-token-auth",  # Bitbucket's "Using OAuth 2.0", for git
    "gcr.io": "oauth2accesstoken",  # Google's "Configure authentication to Artifact Registry for Docker"
    "pkg.dev": "oauth2accesstoken",
    "quay.io": "$oauthtoken",  # Quay's "OAuth 2 access tokens"
}

_URL: Final = re.compile(r"([A-Za-z]+)://([^/?#]*)([^?#]*)")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
# RFC 1123 allows no underscore in a host name, but some have one.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# IDNA takes these for dots; some programs don't.
_OTHER_DOTS: Final = frozenset("\u3002\uff0e\uff61")
# What the URL standard takes for an IPv4 address in one of its old forms, such as 0x7f.1.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# An invalid escape, or one of a control character, a dot, a slash or a backslash.
_BAD_ESCAPE: Final = re.compile(r"%(?:(?![0-9A-Fa-f]{2})|[01][0-9A-Fa-f]|2[EeFf]|5[Cc]|7[Ff])")


class HostError(ValueError):
    """A URL, or the host of a rule, can't be used; the message does not quote it, since it may contain a secret."""


@dataclass(frozen=True, slots=True)
class Place:
    """An origin, its host as an A-label, and the segments of a path there, decoded and without the empty ones.

    In a rule, a host that begins with `*.` matches every host with one label in place of the `*`.
    """

    scheme: str
    host: str
    port: int
    path: tuple[bytes, ...] = ()

    @property
    def origin(self) -> str:
        """The origin, as one writes it."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def key(self) -> str:
        """The origin as the key of a rule."""
        return self.origin.removeprefix("https://")


@dataclass(frozen=True, slots=True)
class HostRule:
    """The account whose tokens URLs at that place and below get; `audience` and `scope` None: the account's.

    `username`: the user name with which the host takes a token as a password, None: programs choose one. `directory`:
    the absolute path of the directory in or below which a program must run; None: it may run anywhere.
    """

    key: str  # as the file has it
    place: Place
    account: str
    audience: str | None = None
    scope: str | None = None
    username: str | None = None
    directory: str | None = None

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The order among rules that fit: an exact host before a wildcard, the longest path, the longest directory."""
        depth = 0 if self.directory is None else 1 + len(PurePosixPath(self.directory).parts)
        return not self.place.host.startswith("*."), len(self.place.path), depth

    def fits(self, place: Place, directory: str | None = None) -> bool:
        """Whether that place is this one, or below it, and so is the directory where a program runs, if it matters."""
        own = self.place
        _, _, parent = place.host.partition(".")
        return (
            (own.scheme, own.port) == (place.scheme, place.port)
            and own.host in (place.host, f"*.{parent}")
            and place.path[: len(own.path)] == own.path
            and (self.directory is None or (directory is not None and _is_in(directory, self.directory)))
        )


def _is_in(path: str, directory: str) -> bool:
    return ".." not in PurePosixPath(path).parts and PurePosixPath(path).is_relative_to(directory)


def find(rules: Iterable[HostRule], place: Place, directory: str | None = None) -> HostRule | None:
    """Return the rule that fits that place best, and the directory where a program runs; None if none fits.

    No two rules may have the same place and directory.
    """
    return max((rule for rule in rules if rule.fits(place, directory)), key=lambda rule: rule.rank, default=None)


def username(rule: HostRule, place: Place) -> str | None:
    """Return the user name for a token as a password at that place: the rule's, else the one that its host asks for.

    None: it is not known, and programs choose one.
    """
    names = (name for host, name in _USERNAMES.items() if f".{place.host}".endswith(f".{host}"))
    return rule.username or next(names, None)


def read_url(url: str) -> Place:
    """Return the place of a URL.

    Raises:
        HostError: it is not https (or http on this machine), or programs could parse it in different ways.

    """
    if "\\" in url or " " in url or not url.isprintable():
        raise HostError("it has a backslash, a space or a control character")
    parts = _URL.match(url)
    if parts is None:
        raise HostError("it does not begin with https:// (or http://, on this machine)")
    scheme, authority, path = parts[1].lower(), parts[2], parts[3]
    if "@" in authority:
        raise HostError("it has a user name")
    if not authority:
        raise HostError("it has no host")
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        raise HostError("its host or its port is invalid")
    host = _host(split[1])
    if scheme != "https" and not (scheme == "http" and host.strip("[]") in LOOPBACK):
        raise HostError("it must begin with https:// (http:// is for this machine only)")
    port = _PORTS[scheme] if split[2] is None else int(split[2])
    if not 0 < port <= _MAX_PORT:
        raise HostError("its port is not 1 to 65535")
    return Place(scheme, host, port, _segments(path))


def read_key(key: str) -> Place:
    """Return the place of a rule from its key: a host, with an optional scheme (default https), port and path.

    Raises:
        HostError: the key is not one.

    """
    if "?" in key or "#" in key:
        raise HostError("it has a query or a fragment")
    url = key if "://" in key else f"https://{key}"
    before, wildcard, rest = url.partition("://*.")
    if not wildcard:
        return read_url(url)
    place = read_url(f"{before}://{rest}")
    if place.scheme != "https" or "." not in place.host or _is_ip_address(place.host):
        raise HostError("*. stands for one label before a host of at least two, such as *.example.com, with https")
    return Place(place.scheme, f"*.{place.host}", place.port, place.path)


def _host(host: str) -> str:
    """Return a host in the one form in which all programs send it."""
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError as error:
            raise HostError("its host is not an IPv6 address") from error
    name = (host.lower() if host.isascii() else _a_label(host)).removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise HostError("its host is not a valid host name")
    if _NUMBER.fullmatch(labels[-1]) and not _is_ip_address(name):
        raise HostError("its host is not an IPv4 address of four numbers")
    return name


def _is_ip_address(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return host.startswith("[")
    return True


def _a_label(name: str) -> str:
    """Return the A-label form of a name that is not ASCII.

    httpx and most browsers use IDNA 2008, Python's own HTTP client IDNA 2003, and they map some names to different
    hosts (faß.example): only a name on which both agree is accepted.
    """
    try:
        if len(name) <= _MAX_NAME and _OTHER_DOTS.isdisjoint(name):
            encoded = idna.encode(name.lower()).decode()
            if encoded == name.encode("idna").decode().lower():
                return encoded
    except UnicodeError:  # idna's own errors are subclasses
        pass
    raise HostError("its host is an international name that programs encode differently; write it as xn--…")


def _segments(path: str) -> tuple[bytes, ...]:
    if _BAD_ESCAPE.search(path):
        raise HostError(
            "its path has an escaped dot, slash, backslash or control character, or a % that escapes nothing"
        )
    segments = [unquote_to_bytes(segment) for segment in path.split("/")]
    # Some servers drop what follows a semicolon before they resolve dots.
    if any(segment.partition(b";")[0] in (b".", b"..") for segment in segments):
        raise HostError("its path has a segment . or ..")
    return tuple(filter(None, segments))
