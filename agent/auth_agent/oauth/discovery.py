"""A provider's metadata: OpenID Connect Discovery 1.0, without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth.auth0 import is_auth0, logout_url
from auth_agent.printable import printable
from auth_agent.urls import InvalidURLError, check_url, is_same_issuer

# Authentication methods that are kept; seven are registered.
_MAX_METHODS: Final = 100


class DiscoveryError(Exception):
    """A provider's metadata can't be used; the text can be printed."""


class UnreadableMetadataError(DiscoveryError):
    """The response is not metadata at all; perhaps it is not the provider's, but a captive portal's."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The members of a provider's metadata that the agent uses (section 3); endpoints are absolute URLs, or None."""

    issuer: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    authorization_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    jwks_uri: str | None = None
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    # `token_endpoint_auth_methods_supported`; None if it is missing.
    token_endpoint_auth_methods: tuple[str, ...] | None = None
    # Whether its authorization responses have the parameter `iss` (RFC 9207, section 3).
    iss_parameter_supported: bool = False

    @property
    def is_auth0(self) -> bool:
        """Whether the provider is Auth0, which differs from the standards in places."""
        return is_auth0(self.issuer, self.authorization_endpoint, self.token_endpoint)


def metadata_url(issuer: str) -> str:
    """Return the URL of the metadata (section 4.1), for an issuer with or without a slash at its end."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def parse_metadata(issuer: str, body: bytes) -> Metadata:
    """Parse the provider's metadata.

    Raises:
        UnreadableMetadataError: the body is not a JSON object.
        DiscoveryError: the metadata is another issuer's (section 4.3), or lacks a usable token endpoint.

    """
    try:
        fields = read_object(body)
    except JsonObjectError as error:
        raise UnreadableMetadataError(f"{metadata_url(issuer)} {error}") from error
    metadata_issuer = fields.get("issuer")
    if not isinstance(metadata_issuer, str) or not is_same_issuer(metadata_issuer, issuer):
        raise DiscoveryError(f"{issuer} says that its issuer is {printable(metadata_issuer)!r}")
    token_endpoint = _endpoint(issuer, fields, "token_endpoint")
    if token_endpoint is None:
        raise DiscoveryError(f"{issuer} names no token_endpoint")
    methods = fields.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=metadata_issuer,
        token_endpoint=token_endpoint,
        revocation_endpoint=_optional_endpoint(issuer, fields, "revocation_endpoint"),
        authorization_endpoint=_optional_endpoint(issuer, fields, "authorization_endpoint"),
        device_authorization_endpoint=_optional_endpoint(issuer, fields, "device_authorization_endpoint"),
        jwks_uri=_optional_endpoint(issuer, fields, "jwks_uri"),
        userinfo_endpoint=_optional_endpoint(issuer, fields, "userinfo_endpoint"),
        end_session_endpoint=_optional_endpoint(issuer, fields, "end_session_endpoint"),
        token_endpoint_auth_methods=_strings(methods) if isinstance(methods, list) else None,  # pyright: ignore[reportUnknownArgumentType] -- any list from outside
        iss_parameter_supported=fields.get("authorization_response_iss_parameter_supported") is True,
    )


def end_session_url(metadata: Metadata, client_id: str) -> str | None:
    """Return the URL of the page that ends the browser's session at a provider, None if it has none.

    OpenID Connect RP-Initiated Logout 1.0, section 2, or Auth0's own page. It has `client_id` instead of
    `id_token_hint`: an ID token would end in the browser's history and on its command line.
    """
    if metadata.end_session_endpoint is not None:
        joint = "&" if urlsplit(metadata.end_session_endpoint).query else "?"
        return f"{metadata.end_session_endpoint}{joint}{urlencode({'client_id': client_id})}"
    return logout_url(metadata.issuer, client_id) if metadata.is_auth0 else None


def _optional_endpoint(issuer: str, fields: Mapping[str, object], name: str) -> str | None:
    """Return an endpoint that refreshes don't need: an invalid one counts as missing, so that refreshes go on."""
    try:
        return _endpoint(issuer, fields, name)
    except DiscoveryError:
        return None


def _strings(values: list[object]) -> tuple[str, ...]:
    return tuple(value for value in values[:_MAX_METHODS] if isinstance(value, str))


def _endpoint(issuer: str, fields: Mapping[str, object], name: str) -> str | None:
    url = fields.get(name)
    if url is None:
        return None
    if not isinstance(url, str):
        raise DiscoveryError(f"the provider's {name} is not a string")
    try:
        check_url(url, issuer)
    except InvalidURLError as error:
        raise DiscoveryError(f"the provider's {name}: {error}") from error
    return url
