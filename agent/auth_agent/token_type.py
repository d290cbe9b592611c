"""The types of access tokens: by which scheme APIs take them, and which are none, without I/O."""

from typing import Final, TypeGuard

BEARER: Final = "Bearer"
# They are of no use without a proof (RFC 9449, and drafts of OAuth 2).
_WITH_PROOF: Final = frozenset({"dpop", "mac", "pop"})
# What token exchange calls an access token (RFC 8693, section 3), after `urn:ietf:params:oauth:token-type:`.
_ACCESS_TOKENS: Final = frozenset({"access_token", "jwt"})
# Characters of an authentication scheme, which is a token of HTTP, and its characters besides letters and digits
# (RFC 9110, sections 5.6.2 and 11.1).
_MAX_LENGTH: Final = 64
_MARKS: Final = "!#$%&'*+-.^_`|~"


def is_scheme(value: object) -> TypeGuard[str]:
    """Return whether it can be the scheme of an `Authorization` header."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_LENGTH
        and value.isascii()
        and all(character.isalnum() or character in _MARKS for character in value)
    )


def is_single_use(token_type: object, issued_token_type: object) -> bool:
    """Return whether a response's token is no access token (RFC 8693, section 2.2.1).

    Such tokens serve one use, as Auth0's session transfer tokens do.
    """
    is_none = isinstance(token_type, str) and token_type.upper() == "N_A"
    # Some providers leave out the name's beginning.
    issued = issued_token_type.rpartition(":")[2].lower() if isinstance(issued_token_type, str) else ""
    return is_none or (bool(issued) and issued not in _ACCESS_TOKENS)


def scheme_of(token_type: str, configured: str | None) -> str | None:
    """Return the scheme by which APIs take a token of that type; None if the agent can't use it.

    A client must not use a type that it does not understand (RFC 6749, section 7.1). Some providers have words of their
    own for bearer tokens, such as "bot"; one that the configuration has is a scheme.
    """
    name = token_type.lower()
    if configured is not None and name == configured.lower():
        return configured
    if name in _WITH_PROOF:
        return None
    return token_type if name == BEARER.lower() else BEARER
