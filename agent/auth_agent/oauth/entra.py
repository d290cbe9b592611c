"""Microsoft Entra's peculiarities, without I/O: an issuer that stands for any tenant, and how an API is named.

Theory of operation. `https://login.microsoftonline.com/common/v2.0` is for the users of all tenants. Its metadata names
a template as its issuer, `https://login.microsoftonline.com/{tenantid}/v2.0`, and each ID token the issuer of its
user's tenant, whose id is its claim `tid`. Only Microsoft's hosts may have a template, and only those that are written
here: a provider that could choose one would choose which provider it is (RFC 9700, section 4.4). A session keeps the
tenant of its first ID token.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.oauth.resource import RESOURCE

_TENANT_ID: Final = "{tenantid}"
_HTTPS_PORT: Final = 443
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Cloud(NamedTuple):
    """One of Microsoft's clouds: the hosts at which people log in, and the host in the issuers of version 1."""

    hosts: frozenset[str]
    v1_issuer: str


# Microsoft's documentation, "Microsoft Entra authentication & national clouds", and the aliases that its endpoint
# `/common/discovery/instance` lists.
CLOUDS: Final = (
    Cloud(
        frozenset({"login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net"}),
        "sts.windows.net",
    ),
    Cloud(
        frozenset({"login.microsoftonline.us", "login-us.microsoftonline.com", "login.usgovcloudapi.net"}),
        "sts.windows.net",
    ),
    Cloud(frozenset({"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}), "sts.chinacloudapi.cn"),
)
# What stands in place of a tenant; "consumers" is another name of the tenant of all personal accounts.
_TENANTS: Final = {
    "common": _TENANT_ID,
    "organizations": _TENANT_ID,
    "consumers": "9188040d-6c67-4c5b-b112-36a304b66dad",
}


class Tenant(NamedTuple):
    """The tenant of a session's user: the issuer of its ID tokens, and its id."""

    issuer: str
    tid: str


def issuers_for(issuer: str, clouds: Sequence[Cloud] = CLOUDS) -> frozenset[str]:
    """Return the issuers, of which most are templates, that the metadata of that issuer may name instead of it.

    There are none for an issuer of one tenant: it is never widened.
    """
    parts = urlsplit(issuer)
    tenant, _, version = parts.path.strip("/").lower().partition("/")
    cloud = next((cloud for cloud in clouds if parts.hostname in cloud.hosts), None)
    if cloud is None or parts.scheme != "https" or parts.port not in (None, _HTTPS_PORT) or tenant not in _TENANTS:
        return frozenset()
    named = _TENANTS[tenant]
    if version == "v2.0":
        return frozenset(f"https://{host}/{named}/v2.0" for host in cloud.hosts)
    return frozenset() if version else frozenset({f"https://{cloud.v1_issuer}/{named}/"})


def tenant_of(claims: Mapping[str, object], issuers: Collection[str]) -> Tenant | None:
    """Return the tenant that an ID token names if its issuer is one of these for that tenant, else None."""
    iss, tid = claims.get("iss"), claims.get("tid")
    if not isinstance(iss, str) or not isinstance(tid, str) or not _UUID.fullmatch(tid):
        return None
    tenant = Tenant(iss, tid)
    return tenant if any(is_for(issuer, tenant) for issuer in issuers) else None


def is_for(issuer: object, tenant: Tenant) -> bool:
    """Whether an issuer that may be a template is that tenant's."""
    return isinstance(issuer, str) and issuer.replace(_TENANT_ID, tenant.tid) == tenant.issuer


def is_issuer(named: str, issuer: str) -> bool:
    """Whether `named` is that issuer or, if that is a template, the issuer of a tenant; as strings."""
    before, placeholder, after = issuer.partition(_TENANT_ID)
    if not placeholder:
        return named == issuer
    return bool(re.fullmatch(f"{re.escape(before)}{_UUID.pattern}{re.escape(after)}", named))


def keys_for(key_set: str, tenant: Tenant) -> str:
    """Return a JWK set without the keys that sign for other issuers only, by their member `issuer`."""
    try:
        keys = parse_object(key_set).get("keys")
    except JsonObjectError:
        return key_set  # the check of the signature says so
    if not isinstance(keys, list):
        return key_set
    return json.dumps({"keys": [key for key in keys if not isinstance(key, dict) or _may_sign(key, tenant)]})  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- a JWK set from outside


def _may_sign(key: Mapping[str, object], tenant: Tenant) -> bool:
    return "issuer" not in key or is_for(key["issuer"], tenant)


def api_parameters(token_endpoint: str, clouds: Sequence[Cloud] = CLOUDS) -> tuple[str, ...] | None:
    """Return the names of the parameter that names an API; None if this is not an endpoint of Entra.

    Version 2 has none: scopes name the API, and it refuses `resource` (AADSTS901002).
    """
    parts = urlsplit(token_endpoint)
    if not any(parts.hostname in cloud.hosts for cloud in clouds):
        return None
    return () if parts.path.endswith("/oauth2/v2.0/token") else (RESOURCE,)
