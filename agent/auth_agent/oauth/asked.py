"""Whether an ID token says what the login asked for, and what the account requires, without I/O.

A provider may ignore a parameter, and a person may choose otherwise in the browser: then the tokens would be another
organization's, or of an older or weaker authentication, under the account's name. What is not said is not so.
"""

import math
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from auth_agent.added_parameters import acr_of, is_essential, seconds_of
from auth_agent.oauth.outcome import Failure, Refusal, Unusable
from auth_agent.printable import printable

Required = Mapping[str, str | int | bool]

# Seconds by which `auth_time` may be older than was asked for: providers round, and people take their time.
_LEEWAY: Final = 60
ORGANIZATION: Final = "organization"
_BY_ID: Final = "org_"


def no_claims() -> Required:
    """Return the `require_claims` of an account that requires none."""
    return MappingProxyType({})


def login_problem(
    asked: Mapping[str, str], claims: Mapping[str, object] | None, *, is_auth0: bool, required: Required
) -> Failure | None:
    """Return what a login's ID token lacks, None if nothing.

    Args:
        asked: the parameters of the login.
        claims: those of the ID token; None if there is none.
        is_auth0: whether the provider is Auth0: others have other claims for an organization.
        required: the account's `require_claims`.

    """
    found = claims or {}
    if is_auth0 and asked.get(ORGANIZATION) and not names_organization(found, asked[ORGANIZATION]):
        return Refusal("the login is not to the organization that was asked for")
    if asked.get("max_age"):
        problem = _age_problem(asked["max_age"], found)
        if problem is not None:
            return problem
    levels = _essential_acr(asked.get("claims"))
    if levels is not None and not (isinstance(found.get("acr"), str) and (not levels or found["acr"] in levels)):
        return Refusal(f"the login has not the authentication (acr) that was asked for, but {_shown(found.get('acr'))}")
    return _missing(found, required, only_present=False)


def refresh_problem(claims: Mapping[str, object], organization: str | None, required: Required) -> str | None:
    """Return why an ID token from a refresh is of another organization, or lacks what is required; None if it doesn't.

    A claim that it leaves out is no difference (OpenID Connect Core 1.0, section 12.2).

    Args:
        claims: its claims.
        organization: what the login asked for, and got.
        required: the account's `require_claims`.

    """
    name = _claim_of(organization or "")
    if organization is not None and claims.get(name) is not None and not names_organization(claims, organization):
        return "the provider responded with a token of another organization"
    problem = _missing(claims, required, only_present=True)
    return None if problem is None else problem.reason


def lacks(required: Required, met: Required, claims: Mapping[str, object] | None) -> bool:
    """Return whether a session lacks a claim that the account requires, perhaps only since its login.

    Args:
        required: the account's `require_claims`.
        met: those that its login, or its last refresh, has met: the ID token may not be kept, or leave them out.
        claims: those of the ID token that is kept; None if there is none.

    """
    left = {name: value for name, value in required.items() if not _has(met.get(name), value)}
    return _missing(claims or {}, left, only_present=False) is not None


def names_organization(claims: Mapping[str, object], organization: str) -> bool:
    """Return whether the claims are of that organization, by its id or by its name.

    Source: Auth0, "Work with Tokens and Organizations".
    """
    value = claims.get(_claim_of(organization))
    if not isinstance(value, str):
        return False
    return value == organization if organization.startswith(_BY_ID) else _folded(value) == _folded(organization)


def _claim_of(organization: str) -> str:
    return "org_id" if organization.startswith(_BY_ID) else "org_name"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _age_problem(max_age: str, claims: Mapping[str, object]) -> Failure | None:
    """Compare with the token's own time, since this machine's clock may differ (Core 1.0, section 3.1.3.7, item 13)."""
    auth_time, issued = claims.get("auth_time"), claims.get("iat")
    if isinstance(auth_time, bool) or not isinstance(auth_time, int | float) or not math.isfinite(auth_time):
        return Unusable("the ID token doesn't say when the person logged in (auth_time), though max_age asks for that")
    seconds = seconds_of(max_age)
    if seconds is None or not isinstance(issued, int | float):
        return Refusal("max_age can't be checked, since it is not a whole number of seconds")
    if seconds > 0 and auth_time + seconds + _LEEWAY < issued:
        return Refusal("the person logged in longer ago than max_age allows")
    return None


def _essential_acr(parameter: str | None) -> list[object] | None:
    """Return the values of an essential `acr` (Core 1.0, section 5.5.1.1): none means any; None if voluntary."""
    acr = acr_of(parameter, "id_token")
    if acr is None or not is_essential(acr):
        return None
    values: list[object] = []
    for wanted in (acr.get("value"), acr.get("values")):
        if wanted is not None:
            values += wanted if isinstance(wanted, list) else [wanted]
    return values


def _missing(claims: Mapping[str, object], required: Required, *, only_present: bool) -> Refusal | None:
    for name, value in required.items():
        claim = claims.get(name)
        if not (only_present and claim is None) and not _has(claim, value):
            return Refusal(f"the ID token does not have the {name} that the account requires, but {_shown(claim)}")
    return None


def _has(claim: object, value: str | int | bool) -> bool:
    """Whether a claim is that value, or a list that contains it; true is not 1."""
    values: list[object] = claim if isinstance(claim, list) else [claim]  # pyright: ignore[reportUnknownVariableType] -- JSON's
    return any(type(one) is type(value) and one == value for one in values)


def _shown(claim: object) -> str:
    return "none" if claim is None else repr(printable(claim if isinstance(claim, str) else str(claim), 80))
