"""A provider's metadata, without I/O: OpenID Connect Discovery 1.0, and RFC 8414 for providers of OAuth 2 alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth import entra
from auth_agent.oauth.auth0 import is_auth0, logout_url
from auth_agent.oauth.manners import Manners, manners_of
from auth_agent.oauth.resource import AUDIENCE, BOTH
from auth_agent.printable import printable
from auth_agent.urls import InvalidURLError, check_url, is_same_issuer

# Members of a list that are kept, such as authentication methods, of which seven are registered. Some providers list
# more scopes.
_MAX_MEMBERS: Final = 500
# What RFC 8414's document adds to OpenID Connect's; never where a person logs in or where a token comes from.
_GAPS: Final = (
    "revocation_endpoint",
    "device_authorization_endpoint",
    "jwks_uri",
    "userinfo_endpoint",
    "end_session_endpoint",
)
# Of these, metadata has one at least, however incomplete it is.
_REQUIRED: Final = ("issuer", "token_endpoint")
_OPENID: Final = "openid-configuration"
_OAUTH: Final = "oauth-authorization-server"
# Members that only a provider of ID tokens has (OpenID Connect Discovery 1.0, section 3).
_OPENID_MEMBERS: Final = ("id_token_signing_alg_values_supported", "subject_types_supported")
# The endpoints that may have an alias for clients with a certificate.
_WITH_ALIASES: Final = (
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
)
_OFFLINE_ACCESS: Final = "offline_access"


class DiscoveryError(Exception):
    """A provider's metadata can't be used; the text can be printed."""


class NoMetadataError(DiscoveryError):
    """The response is a JSON object, but no metadata: some servers answer so whatever they do not have."""


class UnreadableMetadataError(DiscoveryError):
    """The response is not metadata at all; perhaps it is not the provider's, but a captive portal's."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The members of a provider's metadata that the agent uses (section 3); endpoints are absolute URLs, or None.

    `issuer` is as the provider writes it; at Entra it may be a template.
    """

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
    # `scopes_supported`; None if it is missing.
    scopes_supported: tuple[str, ...] | None = None
    # `id_token_signing_alg_values_supported`; None if it is missing.
    id_token_algorithms: tuple[str, ...] | None = None
    # Whether it takes pushed authorization requests only (RFC 9126, section 5).
    requires_pushed_requests: bool = False
    # Whether it issues ID tokens; else it is a provider of OAuth 2 alone.
    is_openid: bool = True
    # `mtls_endpoint_aliases` (RFC 8705, section 5): the endpoints for clients with a certificate, by their names.
    mtls_endpoints: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def for_certificate(self) -> "Metadata":
        """Return the metadata with the endpoints that a client with a certificate uses."""
        aliases: dict[str, Any] = dict(self.mtls_endpoints)
        return replace(self, **aliases)

    def default_scope(self, scope: str) -> str:
        """Return what of an account's default scope this provider takes: others refuse a login for an unknown scope.

        OpenID providers need not list every scope, but those that have `offline_access` do.
        """
        supported = self.scopes_supported
        if self.is_openid:
            return scope if supported is None or _OFFLINE_ACCESS in supported else without_offline_access(scope)
        return " ".join(name for name in scope.split() if name in (supported or ()))

    @property
    def is_auth0(self) -> bool:
        """Whether the provider is Auth0, which differs from the standards in places."""
        return is_auth0(self.issuer, self.authorization_endpoint, self.token_endpoint)

    @property
    def manners(self) -> Manners:
        """What is known of how the provider treats a session's tokens at a refresh."""
        return manners_of(self.issuer, self.authorization_endpoint, self.token_endpoint)

    @property
    def api_parameters(self) -> tuple[str, ...]:
        """The names of the parameter by which requests name the API that a token is for; both where it is unknown."""
        if self.is_auth0:
            return (AUDIENCE,)
        by_entra = entra.api_parameters(self.token_endpoint)
        return BOTH if by_entra is None else by_entra


def metadata_url(issuer: str) -> str:
    """Return the URL of the metadata (section 4.1), for an issuer with or without a slash at its end."""
    return issuer.rstrip("/") + f"/.well-known/{_OPENID}"


def oauth_metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return the URLs at which RFC 8414's metadata may be: as its section 3.1 has it, then as many providers do."""
    base, parts = issuer.rstrip("/"), urlsplit(issuer.rstrip("/"))
    origin = f"{parts.scheme}://{parts.netloc}"
    urls = (
        f"{origin}/.well-known/{_OAUTH}{parts.path}",
        f"{base}/.well-known/{_OAUTH}",
        f"{origin}/.well-known/{_OPENID}{parts.path}",  # section 5
    )
    return urls if parts.path else urls[:1]


def parse_metadata(issuer: str, body: bytes, url: str | None = None) -> Metadata:
    """Parse the provider's metadata, which came from `url`; None: from OpenID Connect's.

    Raises:
        UnreadableMetadataError: the body is not a JSON object.
        NoMetadataError: it is one without the required members.
        DiscoveryError: the metadata is another issuer's (section 4.3), or lacks a usable token endpoint.

    """
    url = url or metadata_url(issuer)
    fields = _read(body, url)
    if not any(name in fields for name in _REQUIRED):
        raise NoMetadataError(f"{url} has neither an issuer nor a token_endpoint")
    metadata_issuer = fields.get("issuer")
    if not isinstance(metadata_issuer, str) or not (
        is_same_issuer(metadata_issuer, issuer) or metadata_issuer in entra.issuers_for(issuer)
    ):
        raise DiscoveryError(f"{issuer} says that its issuer is {printable(metadata_issuer)!r}")
    token_endpoint = _endpoint(issuer, fields, "token_endpoint")
    if token_endpoint is None:
        raise DiscoveryError(f"{issuer} names no token_endpoint")
    optional: dict[str, Any] = {name: _optional_endpoint(issuer, fields, name) for name in _GAPS}
    return Metadata(
        issuer=metadata_issuer,
        token_endpoint=token_endpoint,
        authorization_endpoint=_optional_endpoint(issuer, fields, "authorization_endpoint"),
        **optional,
        token_endpoint_auth_methods=_strings(fields, "token_endpoint_auth_methods_supported"),
        iss_parameter_supported=fields.get("authorization_response_iss_parameter_supported") is True,
        scopes_supported=_strings(fields, "scopes_supported"),
        id_token_algorithms=_strings(fields, "id_token_signing_alg_values_supported"),
        mtls_endpoints=_mtls_endpoints(issuer, fields.get("mtls_endpoint_aliases")),
        requires_pushed_requests=fields.get("require_pushed_authorization_requests") is True,
        is_openid=_OPENID in url or any(name in fields for name in _OPENID_MEMBERS),
    )


def _mtls_endpoints(issuer: str, aliases: object) -> dict[str, str]:
    fields: dict[str, object] = aliases if isinstance(aliases, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- JSON's names are strings
    found = {name: _optional_endpoint(issuer, fields, name) for name in _WITH_ALIASES}
    return {name: url for name, url in found.items() if url is not None}


def without_offline_access(scope: str) -> str:
    """Return the scope without `offline_access`, which some providers refuse."""
    return " ".join(name for name in scope.split() if name != _OFFLINE_ACCESS)


def has_gaps(metadata: Metadata) -> bool:
    """Whether OpenID Connect's document left out what RFC 8414's may have."""
    return any(getattr(metadata, name) is None for name in _GAPS)


def without_gaps(metadata: Metadata, body: bytes, url: str) -> Metadata | None:
    """Return the metadata with those members that only RFC 8414's document has; None if it is not the same issuer's.

    OpenID Connect's document is the truth. The two issuers must be identical (RFC 8414, section 3.3).
    """
    try:
        fields = _read(body, url)
    except UnreadableMetadataError:
        return None
    if fields.get("issuer") != metadata.issuer:
        return None
    gaps = (name for name in _GAPS if getattr(metadata, name) is None)
    added: dict[str, Any] = {name: _optional_endpoint(metadata.issuer, fields, name) for name in gaps}
    return replace(metadata, **added)


def configured_metadata(issuer: str, endpoints: Mapping[str, str]) -> Metadata | None:
    """Return the metadata of a provider without a document; None if the configuration names no `token_endpoint`."""
    if "token_endpoint" not in endpoints:
        return None
    named: dict[str, Any] = dict(endpoints)
    return Metadata(issuer, **named, is_openid="jwks_uri" in endpoints)


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


def _read(body: bytes, url: str) -> dict[str, object]:
    try:
        return read_object(body)
    except JsonObjectError as error:
        raise UnreadableMetadataError(f"{url} {error}") from error


def _strings(fields: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    values = fields.get(name)
    if not isinstance(values, list):
        return None
    return tuple(value for value in values[:_MAX_MEMBERS] if isinstance(value, str))  # pyright: ignore[reportUnknownVariableType] -- any list from outside


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
