"""Which proxy a request goes through: the account's own, or the one that the environment names, as curl reads it.

Requests go to https, or to plain http on this machine, which is never proxied; so `http_proxy` has no meaning here. No
message quotes a proxy's URL, since it may contain a password.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

import idna

from auth_agent.secret import Secret
from auth_agent.urls import LOOPBACK

# In the order in which they count; one that is set and empty counts as one that is not set.
PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
EXCEPTION_VARIABLES: Final = ("no_proxy", "NO_PROXY")

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
# How GNOME writes it, which has the proxy look names up.
_ALIASES: Final = {"socks": "socks5h"}
_UNSUPPORTED: Final = frozenset({"socks4", "socks4a", "ftp"})
_KNOWN: Final = "http, https, socks5 or socks5h"
_NO_PAC: Final = f"a proxy must be {_KNOWN}; PAC files are not supported"
_MAX_PORT: Final = 65_535
_MAX_NAME: Final = 253  # of a host name, RFC 1035, section 2.3.4
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
# Bytes: SOCKS 5 has one byte for the length of each (RFC 1929, section 2).
_MAX_CREDENTIAL: Final = 255


class ProxyError(ValueError):
    """A proxy can't be used. `variable` is the environment variable that names it; None: the configuration does."""

    def __init__(self, text: str, variable: str | None = None) -> None:
        super().__init__(text)
        self.variable = variable


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; `user` and `password` are decoded. The scheme is http, https, socks5 or socks5h."""

    scheme: str
    host: str
    port: int
    user: Secret | None = field(default=None, repr=False)
    password: Secret = field(default=Secret(""), repr=False)

    @property
    def place(self) -> str:
        """Its host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its URL, without user and password."""
        return f"{self.scheme}://{self.place}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """The user and the password; None if there is no user."""
        return None if self.user is None else (self.user.reveal(), self.password.reveal())


def parse_proxy(url: str) -> Proxy:
    """Return the proxy of a URL; without a scheme, it is an HTTP proxy.

    Raises:
        ProxyError: it is not a URL, or one of a proxy that is not supported.

    """
    scheme, separator, rest = url.strip().partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("http", scheme)
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in _PORTS:
        if scheme.startswith("pac"):
            raise ProxyError(_NO_PAC)
        # Another word is not quoted: it may be anything.
        named = f"; {scheme} is not supported" if scheme in _UNSUPPORTED else ""
        raise ProxyError(f"a proxy must be {_KNOWN}{named}")
    # The last @: a password may contain each of these characters, though it should not.
    credentials, separator, rest = rest.rpartition("@")
    user, password = _credentials(credentials, scheme) if separator else (None, Secret(""))
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    if rest[len(place) :].partition("?")[0].lower().endswith((".pac", ".dat")):
        raise ProxyError(_NO_PAC)
    host, port = _split(place)
    return Proxy(scheme, host, _PORTS[scheme] if port is None else port, user, password)


class Proxies:
    """Chooses the proxy of each request: `proxy`, or none for this machine and the hosts in `exceptions`."""

    def __init__(self, proxy: Proxy | ProxyError | None = None, exceptions: str = "") -> None:
        """Create one; `proxy` is the error if there is one that can't be used, `exceptions` a value of `no_proxy`."""
        self._proxy = proxy
        self._exceptions = tuple(_exceptions(exceptions))

    @property
    def problem(self) -> ProxyError | None:
        """Why requests that need the proxy can't be sent."""
        return self._proxy if isinstance(self._proxy, ProxyError) else None

    def find(self, host: str, port: int) -> Proxy | None:
        """Return the proxy for requests to that host, None if they go there directly.

        Raises:
            ProxyError: the proxy can't be used.

        """
        proxy = self._proxy
        if proxy is None or _is_loopback(host) or any(one.covers(host, port) for one in self._exceptions):
            return None
        if isinstance(proxy, ProxyError):
            raise ProxyError(str(proxy), proxy.variable)
        return proxy


def environment_proxies(environ: Mapping[str, str]) -> Proxies:
    """Return the proxies that the environment names: a lower-case variable counts before its upper-case one."""
    exceptions = next((environ[name] for name in EXCEPTION_VARIABLES if environ.get(name)), "")
    for name in PROXY_VARIABLES:
        if environ.get(name):
            return Proxies(_named(environ[name], name), exceptions)
    return Proxies()


def account_proxies(url: str) -> Proxies:
    """Return the proxies of an account that has one of its own."""
    return Proxies(_named(url, None))


def _named(url: str, variable: str | None) -> Proxy | ProxyError:
    try:
        return parse_proxy(url)
    except ProxyError as error:
        return ProxyError(f"{variable or 'its proxy'} can't be used: {error}", variable)


# ---- a proxy's URL


def _credentials(text: str, scheme: str) -> tuple[Secret, Secret]:
    user, _, password = text.partition(":")
    try:
        decoded = [unquote(part, errors="strict") for part in (user, password)]
        encoded = [part.encode("utf-8" if scheme in ("http", "https") else "ascii") for part in decoded]
    except UnicodeError:
        raise ProxyError("its user or its password has characters that can't be sent to it") from None
    if any(len(part) > _MAX_CREDENTIAL for part in encoded):
        raise ProxyError(f"its user or its password is longer than {_MAX_CREDENTIAL} bytes")
    return Secret(decoded[0]), Secret(decoded[1])


def _split(place: str) -> tuple[str, int | None]:
    """Return the host, an IPv6 address without brackets, and the port. Raises a `ProxyError`."""
    parts = re.fullmatch(r"(\[[^\]]*\]|[^\[\]:]*)(?::([^:]*))?", place)
    if parts is None:
        raise ProxyError("its host is not valid; an IPv6 address must be in brackets")
    port = parts[2] or None
    if port is not None and not (port.isascii() and port.isdecimal() and len(port) <= len(str(_MAX_PORT))):
        raise ProxyError(f"its port is not a number from 1 to {_MAX_PORT}")
    if port is not None and not 0 < int(port) <= _MAX_PORT:
        raise ProxyError(f"its port is not a number from 1 to {_MAX_PORT}")
    return _host(parts[1]), None if port is None else int(port)


def _host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(IPv6Address(host.strip("[]")))
        except ValueError:
            raise ProxyError("its host is not an IPv6 address") from None  # the cause quotes it
    try:
        name = host if host.isascii() else idna.encode(host.lower()).decode()
    except UnicodeError:
        raise ProxyError("its host is not a host name") from None
    if len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, name.removesuffix(".").split("."))):
        raise ProxyError("its host is not a host name")
    return name.lower()


# ---- hosts without a proxy


@dataclass(frozen=True, slots=True)
class _Exception:
    """A name and all names below it, or a network of addresses; `port` None: each port. "" covers everything."""

    what: str | IPv4Network | IPv6Network
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        address = _address(host)
        if not isinstance(self.what, str):
            return address is not None and address in self.what
        name = host.lower().rstrip(".")
        return not self.what or (address is None and (name == self.what or name.endswith(f".{self.what}")))


def _exceptions(text: str) -> Iterable[_Exception]:
    for word in text.lower().replace(",", " ").split():
        parts = re.fullmatch(r"\[([^\]]*)\](/[0-9]+)?(?::([0-9]{1,5}))?", word)
        if parts is not None:
            network = _network(parts[1] + (parts[2] or ""))
            if network is not None:
                yield _Exception(network, None if parts[3] is None else int(parts[3]))
            continue
        network = _network(word)
        if network is not None:
            yield _Exception(network)
            continue
        host, colon, port = word.rpartition(":")
        if not (colon and port.isascii() and port.isdecimal()):
            host, port = word, ""
        name = host.removeprefix("*").removeprefix(".").rstrip(".")
        if name or host == "*":
            yield _Exception(_network(name) or name, int(port) if port else None)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _is_loopback(host: str) -> bool:
    name, address = host.lower().rstrip("."), _address(host)
    return name in LOOPBACK or name.endswith(".localhost") or (address is not None and address.is_loopback)
