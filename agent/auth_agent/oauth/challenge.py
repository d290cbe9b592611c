"""Challenges: the value of WWW-Authenticate with which an API refuses a token (RFC 9110, section 11.6.1). Pure.

Most say that the token is not valid. Some say that the token is, and that only another login gets one that will do.
"""

import re
from dataclasses import dataclass
from typing import Final

from auth_agent.printable import printable

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_END: Final = r"(?=[ \t]*(?:,|$))"
_PARAMETER: Final = re.compile(rf'({_NAME})[ \t]*=[ \t]*(?:({_NAME})|"((?:[^"\\]|\\.)*)"){_END}')
_SCHEME: Final = re.compile(rf"({_NAME})(?: +|{_END})")
_TOKEN68: Final = re.compile(rf"[A-Za-z0-9._~+/-]+=*{_END}")
_SCHEMES: Final = frozenset({"bearer", "dpop"})
# RFC 6750, section 3.1; RFC 9470, section 3; Entra, "Claims challenges, claims requests and client capabilities".
_ERRORS: Final = {
    "insufficient_scope": "scope",
    "insufficient_user_authentication": "acr_values",
    "insufficient_claims": "",
}
_LONGEST_QUOTE: Final = 200


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme and the names of its parameters are in lower case; a token68 is left out."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(value: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header's value; none if it is not well formed."""
    challenges: list[Challenge] = []
    position = _after_separators(value, 0)
    while position < len(value):
        parameter = _PARAMETER.match(value, position)
        scheme = _SCHEME.match(value, position)
        if parameter is not None and challenges:
            name, token, quoted = parameter.groups()
            if name.lower() in challenges[-1].parameters:
                return ()
            unquoted = re.sub(r"\\(.)", r"\1", quoted or "")
            challenges[-1].parameters[name.lower()] = unquoted if token is None else token
            position = parameter.end()
        elif scheme is not None:
            challenges.append(Challenge(scheme[1].lower(), {}))
            position = scheme.end()
            token68 = _TOKEN68.match(value, position)
            position = position if token68 is None else token68.end()
        else:
            return ()
        position = _after_separators(value, position)
    return tuple(challenges)


def wanted_login(value: str) -> str | None:
    """Return what the API wants of a login (printable), if only another login gets a token that it takes; else None."""
    for challenge in parse_challenges(value):
        error, parameters = challenge.parameters.get("error", ""), challenge.parameters
        if challenge.scheme not in _SCHEMES or (error not in _ERRORS and "claims" not in parameters):
            continue
        detail = parameters.get(_ERRORS.get(error, ""), "")
        quoted = f" ({printable(detail, _LONGEST_QUOTE)})" if detail else ""
        return f"{error if error in _ERRORS else 'insufficient_claims'}{quoted}"
    return None


def _after_separators(value: str, position: int) -> int:
    return len(value) - len(value[position:].lstrip(" \t,"))
