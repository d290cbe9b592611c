"""Where a provider's endpoints are: OpenID Connect Discovery 1.0, without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth.auth0 import is_auth0, logout_url
from auth_agent.printable import printable
from auth_agent.urls import InvalidURLError, check_url, is_same_issuer


class DiscoveryError(Exception):
    """A provider's metadata can't be used; the text can be printed."""


class UnreadableMetadataError(DiscoveryError):
    """What came is no metadata at all: it need not be the provider that answered."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is needed of a provider's metadata (section 3): the endpoints as absolute URLs, None where it has none."""

    issuer: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    authorization_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    jwks_uri: str | None = None
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    # How clients may authenticate; None: it doesn't say.
    token_endpoint_auth_methods: tuple[str, ...] | None = None
    # Whether its redirects name it (RFC 9207, section 3).
    iss_parameter_supported: bool = False

    @property
    def is_auth0(self) -> bool:
        """Whether it is Auth0, which does some things its own way."""
        return is_auth0(self.issuer, self.authorization_endpoint, self.token_endpoint)


def metadata_url(issuer: str) -> str:
    """Where the metadata is (section 4.1): below the issuer's own path, whether or not that ends in a slash."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def parse_metadata(issuer: str, body: bytes) -> Metadata:
    """The metadata from the provider's answer.

    Raises:
        UnreadableMetadataError: it is no metadata.
        DiscoveryError: it is another issuer's (section 4.3), or names endpoints that can't be used.

    """
    try:
        fields = read_object(body)
    except JsonObjectError as error:
        raise UnreadableMetadataError(f"{metadata_url(issuer)} {error}") from error
    named = fields.get("issuer")
    if not isinstance(named, str) or not is_same_issuer(named, issuer):
        raise DiscoveryError(f"{issuer} says that its issuer is {printable(named)!r}")
    token_endpoint = _endpoint(fields, "token_endpoint")
    if token_endpoint is None:
        raise DiscoveryError(f"{issuer} names no token_endpoint")
    methods = fields.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=named,
        token_endpoint=token_endpoint,
        revocation_endpoint=_usable(fields, "revocation_endpoint"),
        authorization_endpoint=_usable(fields, "authorization_endpoint"),
        device_authorization_endpoint=_usable(fields, "device_authorization_endpoint"),
        jwks_uri=_usable(fields, "jwks_uri"),
        userinfo_endpoint=_usable(fields, "userinfo_endpoint"),
        end_session_endpoint=_usable(fields, "end_session_endpoint"),
        token_endpoint_auth_methods=_texts(methods) if isinstance(methods, list) else None,  # pyright: ignore[reportUnknownArgumentType] -- any list from outside
        iss_parameter_supported=fields.get("authorization_response_iss_parameter_supported") is True,
    )


def end_session_url(metadata: Metadata, client_id: str) -> str | None:
    """The page that ends the browser's session at a provider, None where it has none.

    OpenID Connect RP-Initiated Logout 1.0, section 2, or Auth0's own page. The client is named by its id: an ID token
    as the hint would be in a browser's history and on its command line.
    """
    if metadata.end_session_endpoint is not None:
        joint = "&" if urlsplit(metadata.end_session_endpoint).query else "?"
        return f"{metadata.end_session_endpoint}{joint}{urlencode({'client_id': client_id})}"
    return logout_url(metadata.issuer, client_id) if metadata.is_auth0 else None


def _usable(fields: Mapping[str, object], name: str) -> str | None:
    """An endpoint that refreshes do without: a mistake there must not keep them."""
    try:
        return _endpoint(fields, name)
    except DiscoveryError:
        return None


def _texts(values: list[object]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


def _endpoint(fields: Mapping[str, object], name: str) -> str | None:
    address = fields.get(name)
    if address is None:
        return None
    if not isinstance(address, str):
        raise DiscoveryError(f"the provider's {name} is no text")
    try:
        check_url(address)
    except InvalidURLError as error:
        raise DiscoveryError(f"the provider's {name}: {error}") from error
    return address
