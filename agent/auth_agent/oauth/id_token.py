"""The claims of ID tokens and JWT access tokens, and the checks that bind an ID token to its session.

Signatures are not checked here. At a refresh, the token comes directly from the token endpoint over TLS, which may
replace that check (OpenID Connect Core 1.0, section 3.1.3.7, item 6); at a login, `oauth.signature` checks it.
"""

import base64
import binascii
import hmac
import math
from collections.abc import Mapping
from typing import Final

from auth_agent.json_object import read_object
from auth_agent.oauth.outcome import ClockWrong, Unusable
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.urls import is_same_issuer

_JWS_PARTS = 3
_MAX_SUBJECT = 255

# Seconds by which the provider's clock and this machine's may differ.
LEEWAY: Final = 60
# Seconds. An ID token is issued for the login it comes with: minutes pass in a slow network, or while a person pastes
# a URL; a token of another day is not this login's.
_MAX_AGE: Final = 300
# A smaller value is a duration: it would be a time before 2001, and end each session at once.
_FIRST_TIME: Final = 1e9
# Characters of a claim that is kept: a nonce of the agent's has 43.
_MAX_BOUND: Final = 255
# The end of the year 9999. A larger value is not in seconds, but in milliseconds.
_MAX_TIME: Final = 253_402_300_799


def claims(token: Secret) -> dict[str, object] | None:
    """Return the claims of a JWT, unverified; None if the token is not a JWT."""
    parts = token.reveal().split(".")
    if len(parts) != _JWS_PARTS:
        return None
    payload = parts[1]
    try:
        return read_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):  # a JsonObjectError among them
        return None


def algorithm(token: Secret) -> str | None:
    """Return the algorithm that a JWT names in its header, unverified; None if it names none."""
    header = token.reveal().partition(".")[0]
    try:
        value = read_object(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))).get("alg")
    except (binascii.Error, ValueError):  # a JsonObjectError among them
        return None
    return value if isinstance(value, str) else None


def names_audience(claims: Mapping[str, object], audience: str) -> bool:
    """Whether the claim `aud`, a string or a list of strings, has that audience (RFC 7519, section 4.1.3)."""
    aud = claims.get("aud")
    return audience in aud if isinstance(aud, list) else aud == audience


def names_no_other_audience(claims: Mapping[str, object], audience: str) -> bool:
    """Whether the claims name that audience, or none at all: then it can't be checked."""
    return claims.get("aud") is None or names_audience(claims, audience)


def names_only_audience(claims: Mapping[str, object], audience: str) -> bool:
    """Whether the claim `aud` has that audience and no other one."""
    return claims.get("aud") in (audience, [audience])


def subject(claims: Mapping[str, object]) -> str | None:
    """Return the claim `sub` if it is valid, 1 to 255 ASCII characters (section 2), else None."""
    value = claims.get("sub")
    if isinstance(value, str) and value and len(value) <= _MAX_SUBJECT and value.isascii() and value.isprintable():
        return value
    return None


def display_name(claims: Mapping[str, object]) -> str | None:
    """Return a name by which a person recognizes the user, safe to print; None if the claims have none."""
    # The last two are those of providers of OAuth 2 alone.
    for claim in ("name", "email", "preferred_username", "nickname", "login", "username"):
        name = printable(claims.get(claim), 80).strip()
        if name:
            return name
    return None


def session_expiry(claims: Mapping[str, object]) -> float | None:
    """Return the claim `session_expiry`, Unix time in whole seconds: then the session ends, refreshed or not.

    Auth0 and others send it (OpenID Connect Enterprise Extensions 1.0). None if it is missing or not a valid time.
    """
    time = _time(claims.get("session_expiry"))
    return None if time is None or time < _FIRST_TIME else float(math.floor(time))


def expiry(claims: Mapping[str, object]) -> float | None:
    """Return the claim `exp`, Unix time in seconds; None if it is missing or not a valid time."""
    return _time(claims.get("exp"))


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_TIME:
        return None
    return float(value)


def mismatch(claims: Mapping[str, object], issuer: str, client_id: str) -> str | None:
    """Return what is wrong with an ID token from a refresh, else None (OpenID Connect Core 1.0, section 12.2)."""
    iss = claims.get("iss")
    if not is_same_issuer(iss, issuer):
        return f"the ID token's issuer is {printable(iss)!r}, not {issuer!r}"
    if not names_audience(claims, client_id):
        return f"the ID token is meant for another client (aud is {_shown_audience(claims)})"
    if subject(claims) is None:
        return subject_problem(claims, "the ID token")
    return None


def bound_claims(claims: Mapping[str, object]) -> dict[str, str | float]:
    """Return the claims that a refresh's ID token must not change, as far as they are there and valid."""
    found: dict[str, str | float] = {}
    for name in ("azp", "nonce"):
        value = claims.get(name)
        if isinstance(value, str) and len(value) <= _MAX_BOUND:
            found[name] = value
    auth_time = _time(claims.get("auth_time"))
    return found if auth_time is None else {**found, "auth_time": auth_time}


def difference(before: Mapping[str, object], claims: Mapping[str, object], client_id: str, now: float) -> str | None:
    """Return why a refresh's ID token should not take the place of the one before, None if it may.

    OpenID Connect Core 1.0, section 12.2, wants `azp`, `nonce` and `auth_time` to be as they were. Providers differ in
    that, after a person has logged in again elsewhere, say: so it is not a reason to end a session. What is missing is
    no difference, and `auth_time` may move forward.

    Args:
        before: the claims of the ID tokens before.
        claims: those of the new one.
        client_id: the session's client.
        now: Unix time in seconds.

    """
    azp, nonce, auth_time, exp = (claims.get(name) for name in ("azp", "nonce", "auth_time", "exp"))
    if azp is not None and azp not in (before.get("azp"), client_id):
        return "a refresh brought an ID token of another client (azp), which is not kept"
    if nonce is not None and before.get("nonce") not in (None, nonce):
        return "a refresh brought an ID token of another login (nonce), which is not kept"
    earlier, later = _time(before.get("auth_time")), _time(auth_time)
    if earlier is not None and later is not None and later < earlier:
        return "a refresh brought an ID token of an earlier login (auth_time), which is not kept"
    end = _time(exp)
    if end is not None and end < now - LEEWAY:
        return "a refresh brought an ID token that had expired, which is not kept"
    return None


def acr(claims: Mapping[str, object]) -> str | None:
    """Return the claim `acr`, how the person logged in, safe to print; None if it is missing or not a string."""
    return printable(claims.get("acr"), 200) or None


def subject_problem(claims: Mapping[str, object], whose: str) -> str:
    """Return what is wrong with the claim `sub` of the ID token or of the UserInfo response."""
    if claims.get("sub") is None:
        return f"{whose} names no subject"
    return f"{whose} names a subject (sub) that is not a string of 1 to {_MAX_SUBJECT} ASCII characters"


def login_problem(
    claims: Mapping[str, object], issuer: str, client_id: str, nonce: Secret | None, now: float
) -> Unusable | None:
    """Return what is wrong with the claims of an ID token from a login, None if nothing is.

    OpenID Connect Core 1.0, section 3.1.3.7, without the signature. A slash at the end of the issuer is ignored, as
    everywhere in the agent.

    Args:
        claims: the claims.
        issuer: the account's issuer.
        client_id: the account's client.
        nonce: the nonce of the authorization request; None, as in the device flow: the claim is not checked.
        now: Unix time in seconds.

    """
    problem = mismatch(claims, issuer, client_id) or _party_problem(claims, client_id) or _nonce_problem(claims, nonce)
    return _time_problem(claims, now) if problem is None else Unusable(problem)


def _party_problem(claims: Mapping[str, object], client_id: str) -> str | None:
    """Return why the token was not issued to this client, None if it was (items 3 to 5).

    Several audiences need no `azp` (Core 1.0 with errata set 2): the token came from the token endpoint to this client,
    with the nonce of its request.
    """
    audiences, azp = _audiences(claims), claims.get("azp")
    if audiences is None:
        return "the ID token's audiences (aud) are not strings"
    if azp is not None and azp != client_id:
        return f"the ID token was issued to another client (azp is {printable(azp)!r})"
    return None


def _nonce_problem(claims: Mapping[str, object], nonce: Secret | None) -> str | None:
    """Return why the token does not belong to this login, None if it does (item 11)."""
    if nonce is None:
        return None
    nonce_claim = claims.get("nonce")
    if not isinstance(nonce_claim, str):
        return "the ID token doesn't repeat this login's nonce"
    expected, received = (value.encode("utf-8", "surrogatepass") for value in (nonce.reveal(), nonce_claim))
    same = hmac.compare_digest(expected, received)
    return None if same else "the ID token is for another login (its nonce differs)"


def _time_problem(claims: Mapping[str, object], now: float) -> Unusable | None:
    """Return why the token is not valid now, None if it is (items 9, 10; RFC 7519, 4.1.5). Mostly a clock is wrong."""
    times: dict[str, float] = {}
    for claim in ("iat", "exp", "nbf"):
        value = claims.get(claim)
        if value is None and claim == "nbf":
            continue
        if value is None:
            what = "was issued" if claim == "iat" else "expires"
            return Unusable(f"the ID token doesn't say when it {what} ({claim})")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIME:
            return Unusable(f"the ID token's {claim} is not a time in seconds")
        times[claim] = float(value)
    age = now - times["iat"]
    if age < -LEEWAY:
        return _clock(-age, "behind the provider's (the ID token was issued later than now)")
    if age > _MAX_AGE + LEEWAY:
        return _clock(age, "ahead of the provider's, or the ID token is that old")
    if times["exp"] <= times["iat"]:
        return Unusable("the ID token expired before it was issued (exp is before iat)")
    if now >= times["exp"] + LEEWAY:
        return _clock(now - times["exp"], "ahead of the provider's, or more (the ID token has expired)")
    # The clocks agree: `iat` and `exp` fit this machine's.
    if times.get("nbf", now) > now + LEEWAY:
        return Unusable(f"the ID token isn't valid for another {_span(times['nbf'] - now)} (nbf)")
    return None


def _clock(seconds: float, which_way: str) -> ClockWrong:
    return ClockWrong(f"this machine's clock is about {_span(seconds)} {which_way}")


def _span(seconds: float) -> str:
    """Return a duration in the largest unit of which it has at least two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{round(seconds)} seconds"


def _audiences(claims: Mapping[str, object]) -> list[str] | None:
    """Return the claim `aud` as a list; None if it is not a string or a list of strings."""
    aud = claims.get("aud")
    audiences: list[str] = []
    for audience in aud if isinstance(aud, list) else [aud]:  # pyright: ignore[reportUnknownVariableType] -- JSON's lists hold anything
        if not isinstance(audience, str):
            return None
        audiences.append(audience)
    return audiences


def _shown_audience(claims: Mapping[str, object]) -> str:
    return repr(printable(" ".join(_audiences(claims) or [])))
