"""Challenges: the value of WWW-Authenticate with which an API refuses a token (RFC 9110, section 11.6.1). Pure.

Most say that the token is not valid. Some say that the token is, and that only another login gets one that will do.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Final

from auth_agent.json_object import JsonObjectError, parse_object
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
# What a person may be shown as a part of a command: scopes, names of authentication methods, and compact JSON.
_WORDS: Final = re.compile(r"[A-Za-z0-9._:/+=~@-]{1,100}(?: [A-Za-z0-9._:/+=~@-]{1,100}){0,19}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_JSON: Final = re.compile(r'[A-Za-z0-9._:/+=~@{}\[\]",-]{2,400}')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme and the names of its parameters are in lower case; a token68 is left out."""

    scheme: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class WantedLogin:
    """The login whose token an API would take.

    `reason` says what the API wants (printable). `scope`: the scopes that the token must have; `once`: the parameters
    for the authorization request, by their names. They are empty if the API doesn't say, or if what it says is not fit
    to be shown as a part of a command.
    """

    reason: str
    scope: str = ""
    once: tuple[tuple[str, str], ...] = ()


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


def wanted_login(value: str) -> WantedLogin | None:
    """Return what the API wants of a login, if only another login gets a token that it takes; else None."""
    for challenge in parse_challenges(value):
        error, parameters = challenge.parameters.get("error", ""), challenge.parameters
        if challenge.scheme not in _SCHEMES or (error not in _ERRORS and "claims" not in parameters):
            continue
        detail = parameters.get(_ERRORS.get(error, ""), "")
        quoted = f" ({printable(detail, _LONGEST_QUOTE)})" if detail else ""
        reason = f"{error if error in _ERRORS else 'insufficient_claims'}{quoted}"
        if error == "insufficient_scope":
            return WantedLogin(reason, scope=_fit(_WORDS, parameters.get("scope", "")))
        if error == "insufficient_user_authentication":
            acr, age = _fit(_WORDS, parameters.get("acr_values", "")), _fit(_SECONDS, parameters.get("max_age", ""))
            return WantedLogin(reason, once=tuple(one for one in (("acr_values", acr), ("max_age", age)) if one[1]))
        claims = _fit(_JSON, _claims(parameters.get("claims", "")))
        return WantedLogin(reason, once=(("claims", claims),) if claims else ())
    return None


def _fit(pattern: re.Pattern[str], value: str) -> str:
    return value if pattern.fullmatch(value) else ""


def _claims(encoded: str) -> str:
    """Return the claims of Entra's challenge, JSON in base64 of either alphabet, as compact JSON; "" if none."""
    standard = encoded.translate(str.maketrans("+/", "-_")).rstrip("=")
    try:
        claims = parse_object(urlsafe_b64decode(standard + "=" * (-len(standard) % 4)))
        return json.dumps(claims, separators=(",", ":"))
    except (binascii.Error, ValueError, JsonObjectError):
        return ""


def _after_separators(value: str, position: int) -> int:
    return len(value) - len(value[position:].lstrip(" \t,"))
