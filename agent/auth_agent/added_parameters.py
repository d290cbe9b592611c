"""The parameters that a configuration, or one login, adds to requests; and those that are the agent's own. Pure."""

from collections.abc import Mapping
from typing import Final

from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.token_type import is_scheme

# They bind a response to its request, or are of the client: what else they were, no login could succeed or be safe.
RESERVED: Final = frozenset(
    {
        *("response_type", "response_mode", "client_id", "redirect_uri", "state", "nonce"),
        *("code_challenge", "code_challenge_method", "request", "request_uri", "dpop_jkt", "audience"),
    }
)
# Secrets, and what says who the client is: never in a file, nor in a URL.
SECRETS: Final = frozenset(
    {
        *("client_secret", "client_assertion", "client_assertion_type", "code", "code_verifier", "device_code"),
        *("refresh_token", "access_token", "id_token", "token", "password", "assertion"),
        *("subject_token", "actor_token"),
    }
)
# Of token requests (RFC 6749), besides; an account's API is its `audience`, and `authorize` may name it otherwise.
_OWN: Final = frozenset({"grant_type", "client_id", "redirect_uri", "audience", "resource"})
# Of HTTP and of the client, in lower case; other headers may be a provider's own.
_OWN_HEADERS: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "host", "te"),
        *("trailer", "transfer-encoding", "upgrade", "dpop"),
    }
)
_MOST_DIGITS: Final = 9
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


def problem_of_login(parameters: Mapping[str, object]) -> str | None:
    """Return which of the parameters of a login request can't be set, as a sentence without an end; None if all can."""
    for name in parameters:
        if name.lower() in RESERVED:
            return f"{name} is the agent's own parameter"
    return problem_of_authorize(parameters)


def problem_of_authorize(parameters: Mapping[str, object]) -> str | None:
    """Return which of an account's parameters of its login can't be in the configuration; None if all can."""
    secret = next((name for name in parameters if name.lower() in SECRETS), None)
    if secret is not None:
        return f"{secret} would be shown in the URL of the login"
    # What can't be read can't be checked in the ID token.
    if parameters.get("max_age") and seconds_of(parameters["max_age"]) is None:
        return "max_age must be a whole number of seconds"
    if parameters.get("claims") and claims_of(parameters["claims"]) is None:
        return "claims must be a JSON object (OpenID Connect Core 1.0, section 5.5)"
    if is_essential(acr_of(parameters.get("claims"), "userinfo")):
        return "claims asks UserInfo for an essential acr, which is checked in the ID token alone: ask id_token for it"
    return None


def seconds_of(max_age: object) -> int | None:
    """Return the parameter `max_age` in seconds; None if it is not a whole number of them."""
    is_number = isinstance(max_age, str) and max_age.isascii() and max_age.isdecimal() and len(max_age) <= _MOST_DIGITS
    return int(max_age) if is_number and isinstance(max_age, str) else None


def claims_of(parameter: object) -> dict[str, object] | None:
    """Return the object in the parameter `claims`; None if it has none."""
    try:
        return parse_object(parameter) if isinstance(parameter, str) else None
    except JsonObjectError:
        return None


def acr_of(parameter: object, where: str) -> dict[str, object] | None:
    """Return how the parameter `claims` asks for `acr`, in `id_token` or `userinfo`; None if as usual, or not."""
    members = (claims_of(parameter) or {}).get(where)
    acr = members.get("acr") if isinstance(members, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- JSON's
    return acr if isinstance(acr, dict) else None  # pyright: ignore[reportUnknownVariableType] -- JSON's


def is_essential(request: dict[str, object] | None) -> bool:
    """Return whether a request for a claim says that it is essential (Core 1.0, section 5.5.1)."""
    return request is not None and request.get("essential") is True


def problem_of_token_request(parameters: Mapping[str, object]) -> str | None:
    """Return which of the parameters of token requests can't be in the configuration; None if all can."""
    for name in parameters:
        if name.lower() in _OWN:
            return f"{name} is the agent's own parameter"
        if name.lower() in SECRETS:
            return f"{name} is a secret, which must not be in this file: a client secret is given at the login"
    return None


def problem_of_headers(headers: Mapping[str, str]) -> str | None:
    """Return which of the headers of token requests can't be in the configuration; None if all can."""
    for name, value in headers.items():
        if not is_scheme(name):  # both are tokens of HTTP
            return f"{name!r} can't be a header's name"
        if not value.isascii() or not value.isprintable():
            return f"the value of {name} must be printable ASCII"
        if name.lower() in _OWN_HEADERS:
            return f"{name} is the agent's own header"
        if name.lower() in _SECRET_HEADERS:
            return f"{name} is a secret, which must not be in this file: a client secret is given at the login"
    return None
