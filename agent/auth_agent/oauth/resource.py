"""How a request names the API that a token is for: by Auth0's `audience`, or by `resource` (RFC 8707), without I/O.

All requests of a provider name it by this module: where one named it and another did not, the provider would issue a
token for another API, and nothing would say so.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

AUDIENCE: Final = "audience"
RESOURCE: Final = "resource"
# Parameters that a provider does not know are ignored (RFC 6749, sections 3.1 and 3.2).
BOTH: Final = (AUDIENCE, RESOURCE)


def api_parameters(
    names: Sequence[str], api: str | None, overrides: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """Return the parameters by which a request names an API.

    Args:
        names: the names of the parameter that the provider may know; see `Metadata.api_parameters`.
        api: the API; None: the provider's choice.
        overrides: values that the configuration gives these parameters; an empty one leaves the parameter out.

    """
    values = {name: api for name in names if name != RESOURCE or names == (RESOURCE,) or _is_resource(api)}
    chosen = {name: value for name, value in (overrides or {}).items() if name in BOTH}
    return {name: value for name, value in (values | chosen).items() if value}


def overrides_of_api(authorize: Mapping[str, str]) -> dict[str, str]:
    """Return the values that the configuration's parameters of the login page give to those that name the API."""
    return {name: authorize[name] for name in BOTH if name in authorize}


def omissions(authorize: Mapping[str, str]) -> dict[str, str]:
    """Return the overrides by which the configuration leaves a parameter out: they hold for every API."""
    return {name: "" for name in BOTH if authorize.get(name) == ""}


def _is_resource(api: str | None) -> bool:
    """Whether it can be a `resource`, an absolute URI without a fragment (RFC 8707, section 2)."""
    try:
        return api is not None and bool(urlsplit(api).scheme) and "#" not in api
    except ValueError:
        return False
