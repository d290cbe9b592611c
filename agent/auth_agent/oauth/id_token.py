"""What an ID token or a JWT access token says, and whether it speaks of the session it came for.

Signatures are not checked here. At a refresh the token comes straight from the token endpoint over TLS, which
stands in for its signature (OpenID Connect Core 1.0, section 3.1.3.7, item 6); at a login `oauth.signature` checks it.
"""

import base64
import binascii
import hmac
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
# Seconds. An ID token is made for the login it comes from; a slow network and a slow person with a paste are no reason
# to refuse it, and a token of another day is.
_MAX_AGE: Final = 300
# The end of the year 9999. What is later is no time in seconds; milliseconds are.
_MAX_TIME: Final = 253_402_300_799


def claims(token: Secret) -> dict[str, object] | None:
    """The claims of a JWT, unverified; None when it isn't one."""
    parts = token.reveal().split(".")
    if len(parts) != _JWS_PARTS:
        return None
    payload = parts[1]
    try:
        return read_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):  # a JsonObjectError among them
        return None


def names_audience(found: Mapping[str, object], audience: str) -> bool:
    """Whether the claim `aud`, one text or a list of them, has that audience (RFC 7519, section 4.1.3)."""
    named = found.get("aud")
    return audience in named if isinstance(named, list) else named == audience


def subject(found: Mapping[str, object]) -> str | None:
    """The claim `sub`, where it is what the specification says: up to 255 ASCII characters (section 2)."""
    value = found.get("sub")
    if isinstance(value, str) and value and len(value) <= _MAX_SUBJECT and value.isascii() and value.isprintable():
        return value
    return None


def display_name(found: Mapping[str, object]) -> str | None:
    """How a person would recognise whose session this is; safe to print."""
    for claim in ("name", "email", "preferred_username", "nickname"):
        shown = printable(found.get(claim), 80).strip()
        if shown:
            return shown
    return None


def session_expiry(found: Mapping[str, object]) -> float | None:
    """The claim `session_expiry`: when the provider ends the session whatever is refreshed, as Unix time in seconds.

    Auth0 and others give it (OpenID Connect Enterprise Extensions 1.0); None where there is none that makes sense.
    """
    return _time(found.get("session_expiry"))


def expiry(found: Mapping[str, object]) -> float | None:
    """The claim `exp` as Unix time in seconds, None where there is none that makes sense."""
    return _time(found.get("exp"))


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_TIME:
        return None
    return float(value)


def mismatch(found: Mapping[str, object], issuer: str, client_id: str) -> str | None:
    """How an ID token at a refresh differs from what it must say (OpenID Connect Core 1.0, section 12.2)."""
    named = found.get("iss")
    if not is_same_issuer(named, issuer):
        return f"the ID token's issuer is {printable(named)!r}, not {issuer!r}"
    if not names_audience(found, client_id):
        return f"the ID token is meant for another client (aud is {_shown_audience(found)})"
    if subject(found) is None:
        return "the ID token names no subject"
    return None


def login_problem(
    found: Mapping[str, object], issuer: str, client_id: str, nonce: Secret | None, now: float
) -> Unusable | None:
    """What is wrong with the claims of an ID token that was issued just now; None when nothing is.

    OpenID Connect Core 1.0, section 3.1.3.7, without the signature. As everywhere here, a slash at the issuer's end
    makes no other issuer.

    Args:
        found: the claims.
        issuer: the account's issuer.
        client_id: the account's client.
        nonce: what was sent with the login; None where nothing was, as in the device flow: then it isn't looked at.
        now: Unix time in seconds.

    """
    problem = mismatch(found, issuer, client_id) or _party_problem(found, client_id) or _nonce_problem(found, nonce)
    return _time_problem(found, now) if problem is None else Unusable(problem)


def _party_problem(found: Mapping[str, object], client_id: str) -> str | None:
    """Whether it was issued to another client, and only mentions this one (items 3 to 5)."""
    named, party = _audiences(found), found.get("azp")
    if named is None:
        return "the ID token's audiences (aud) are no texts"
    if party is None and set(named) != {client_id}:
        return f"the ID token has several audiences ({_shown_audience(found)}), and doesn't say whose it is (azp)"
    if party is not None and party != client_id:
        return f"the ID token was issued to another client (azp is {printable(party)!r})"
    return None


def _nonce_problem(found: Mapping[str, object], nonce: Secret | None) -> str | None:
    """Whether it belongs to another login (item 11)."""
    if nonce is None:
        return None
    repeated = found.get("nonce")
    if not isinstance(repeated, str):
        return "the ID token doesn't repeat this login's nonce"
    sent, came = (text.encode("utf-8", "surrogatepass") for text in (nonce.reveal(), repeated))
    return None if hmac.compare_digest(sent, came) else "the ID token is for another login (its nonce isn't this one's)"


def _time_problem(found: Mapping[str, object], now: float) -> Unusable | None:
    """Whether it isn't of this moment (items 9 and 10, and RFC 7519, section 4.1.5). Mostly a clock is wrong then."""
    times: dict[str, float] = {}
    for claim in ("iat", "exp", "nbf"):
        value = found.get(claim)
        if value is None and claim == "nbf":
            continue
        if value is None:
            what = "was issued" if claim == "iat" else "expires"
            return Unusable(f"the ID token doesn't say when it {what} ({claim})")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIME:
            return Unusable(f"the ID token's {claim} is no time in seconds")
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
    # The clocks agree by now.
    if times.get("nbf", now) > now + LEEWAY:
        return Unusable(f"the ID token isn't valid for another {_span(times['nbf'] - now)} (nbf)")
    return None


def _clock(seconds: float, which_way: str) -> ClockWrong:
    return ClockWrong(f"this machine's clock is about {_span(seconds)} {which_way}")


def _span(seconds: float) -> str:
    """A stretch of time in the largest unit of which there are two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{round(seconds)} seconds"


def _audiences(found: Mapping[str, object]) -> list[str] | None:
    """The claim `aud` as a list; None where it isn't made of texts."""
    named = found.get("aud")
    texts: list[str] = []
    for audience in named if isinstance(named, list) else [named]:  # pyright: ignore[reportUnknownVariableType] -- JSON's lists hold anything
        if not isinstance(audience, str):
            return None
        texts.append(audience)
    return texts


def _shown_audience(found: Mapping[str, object]) -> str:
    return repr(printable(" ".join(_audiences(found) or [])))
