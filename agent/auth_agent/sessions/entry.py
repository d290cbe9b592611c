"""A session as a store entry: a JSON object with the version of its format.

    {"version": 1, "account", "machine", "epoch", "refreshes", "last_refresh_at", "after",
     "login": {"issuer", "client_id", "audience", "subject", "name", "refresh_token", "id_token", "client_secret",
               "grant", "ends_at", "resource", "auth_method", "tenant": null | {"issuer", "tid"}, "session_expiry",
               "refresh_token_end": null | {"at", "refresh_by"}, "organization", "acr", "met_claims", "requested_scope",
               "granted_scope", "lost_scope", "same_refresh_tokens", "ends_access_token"},
     "ended": null | {"reason", "failure", "quarantined"},
     "refused": null | {"reason"},
     "token": null | {"access_token", "token_type", "scope", "audience", "lifetime", "assumed", "endless",
                      "obtained_at", "boot": {"id", "at"}},
     "profile": null | {"claims", "fetched_at", "said"}}

`refused` is why the provider refuses a refresh token that it may take again; older agents find that out again.
Times are Unix time in seconds; `boot.at` is in seconds since the boot of that id. `machine` is the digest of the
machine that wrote the entry; it is missing or "" if that is unknown. Unknown keys are ignored. An entry of an unknown
version is neither used nor overwritten. `session_expiry` is the session's ceiling; `ends_at`, the earlier one of it and
the refresh token's end, is for older agents, and so are `lifetime` and `assumed` of a token that is `endless`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from auth_agent.grant_type import AUTHORIZATION_CODE, grant_type_of
from auth_agent.host.clock import Moment
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.oauth import id_token
from auth_agent.oauth.client import BASIC, CERTIFICATE_METHODS, POST
from auth_agent.oauth.entra import Tenant
from auth_agent.oauth.outcome import DoubtfulRefusal
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.profile import Profile
from auth_agent.sessions.schedule import ASSUMED_LIFETIME
from auth_agent.sessions.session_end import RefreshTokenEnd
from auth_agent.sessions.state import (
    MAIN,
    REAUTHENTICATION_REQUIRED,
    WRONG_USER,
    AccessToken,
    Active,
    Credentials,
    Idle,
    LoginRequired,
    RefreshState,
    Retrying,
    State,
)
from auth_agent_client.messages import FAILURES, is_json

VERSION: Final = 1

# Larger than any meaningful time or lifetime; a comparison with it also excludes NaN.
_MAX: Final = 1e12


# Why an entry can't be used that may be a bad reading.
GARBAGE: Final = "the store's entry is not valid"


class EntryError(ValueError):
    """The entry can't be used; the message says why (printable)."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What the store has of a session.

    `after` names the logout before its login, if that has a tombstone still; `machine` is the digest of the machine
    that stored it, "" if that is unknown.
    """

    state: State
    epoch: int
    refreshes: int
    last_refresh_at: float | None
    after: str | None = None
    profile: Profile | None = None
    machine: str = ""

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the session's refresh token; None if it has none."""
        token = self.state.credentials.refresh_token if isinstance(self.state, Active | LoginRequired) else None
        return None if token is None else token.fingerprint()


def dump(account: str, stored: StoredSession, boot_id: str, max_length: int) -> Secret:
    """Return the entry of a session that is active or has ended.

    If it were longer than the store's `max_length` characters, it omits what the provider would give again: the
    profile, then the ID token, then the access token.
    """
    state = stored.state
    if not isinstance(state, Active | LoginRequired):
        raise TypeError("only an active or ended session is stored")
    token = state.tokens.get(MAIN) if isinstance(state, Active) else None
    entry: dict[str, object] = {
        "version": VERSION,
        "account": account,
        "machine": stored.machine,
        "epoch": stored.epoch,
        "refreshes": stored.refreshes,
        "last_refresh_at": stored.last_refresh_at,
        "after": stored.after,
        "login": _dump_credentials(state.credentials),
        "ended": {"reason": state.reason, "failure": state.failure, "quarantined": state.quarantined}
        if isinstance(state, LoginRequired)
        else None,
        "refused": _dump_refusal(state) if isinstance(state, Active) else None,
        "token": None if token is None else _dump_token(token, boot_id),
        "profile": None if stored.profile is None else _dump_profile(stored.profile),
    }
    string = json.dumps(entry)
    if len(string) > max_length:
        entry["profile"] = None
        string = json.dumps(entry)
    if len(string) > max_length:
        entry["login"] = {**_object(entry["login"]), "id_token": None}
        string = json.dumps(entry)
    if len(string) > max_length:
        string = json.dumps({**entry, "token": None})
    return Secret(string)


def _dump_credentials(credentials: Credentials) -> dict[str, object]:
    return {
        "issuer": credentials.issuer,
        "client_id": credentials.client_id,
        "audience": credentials.audience,
        "subject": credentials.subject,
        "name": credentials.name,
        "refresh_token": _revealed(credentials.refresh_token),
        "id_token": _revealed(credentials.id_token),
        "client_secret": _revealed(credentials.client_secret),
        "grant": credentials.grant_type.name,
        "ends_at": credentials.ends_at,
        "session_expiry": credentials.ceiling,
        "refresh_token_end": None
        if credentials.refresh_token_end is None
        else {"at": credentials.refresh_token_end.at, "refresh_by": credentials.refresh_token_end.refresh_by},
        "resource": credentials.resource,
        "auth_method": credentials.auth_method,
        "tenant": None if credentials.tenant is None else credentials.tenant._asdict(),
        "organization": credentials.organization,
        "acr": credentials.acr,
        "met_claims": dict(credentials.met_claims),
        "bound_claims": dict(credentials.bound_claims),
        "requested_scope": credentials.requested_scope,
        "granted_scope": credentials.granted_scope,
        "lost_scope": credentials.lost_scope,
        "same_refresh_tokens": credentials.same_refresh_tokens,
        "ends_access_token": credentials.ends_access_token,
    }


def _dump_token(token: AccessToken, boot_id: str) -> dict[str, object]:
    return {
        "access_token": token.value.reveal(),
        "token_type": token.token_type,
        "scope": token.scope,
        "audience": token.audience,
        "lifetime": ASSUMED_LIFETIME if token.lifetime is None else token.lifetime,
        "assumed": token.assumed or token.lifetime is None,
        "endless": token.lifetime is None,
        "obtained_at": token.sent.wall,
        "boot": {"id": boot_id, "at": token.sent.boot},
    }


def _dump_refusal(state: Active) -> dict[str, object] | None:
    refusal = state.refusal
    return None if refusal is None else {"reason": refusal.failure.reason}


def _dump_profile(profile: Profile) -> dict[str, object]:
    return {"claims": dict(profile.claims), "fetched_at": profile.fetched_at, "said": profile.user_digest}


def load(string: Secret, account: str, boot_id: str, now: Moment) -> StoredSession:
    """Return the session of an entry.

    Args:
        string: the entry.
        account: the name of the account that it must be of.
        boot_id: the id of this boot.
        now: the time; for a token of another boot, its age is that by the wall clock alone.

    Raises:
        EntryError: the entry is not valid, of another account or of an unknown version.

    """
    try:
        entry = parse_object(string.reveal())
    except JsonObjectError as error:
        raise EntryError(GARBAGE) from error
    version = entry.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise EntryError("the store's entry is of a newer version of auth-agent" if newer else GARBAGE)
    try:
        if entry.get("account") != account:
            raise EntryError("the store's entry is another account's")
        return _stored_session(entry, boot_id, now)
    except (KeyError, TypeError) as error:
        raise EntryError("the store's entry is incomplete") from error


def _stored_session(entry: Mapping[str, object], boot_id: str, now: Moment) -> StoredSession:
    credentials = _credentials(_object(entry["login"]))
    ended, token = entry.get("ended"), entry.get("token")
    state: State
    if ended is not None:
        end = _object(ended)
        quarantined, failure = end.get("quarantined") is True, end.get("failure")
        if failure not in FAILURES:  # the first version wrote none
            failure = WRONG_USER if quarantined else REAUTHENTICATION_REQUIRED
        state = LoginRequired(printable(end["reason"]), credentials, quarantined, str(failure))
    else:
        refreshable = credentials.refreshable
        tokens = {} if token is None else {MAIN: _access_token(_object(token), boot_id, now, refreshable=refreshable)}
        state = Active(credentials, MappingProxyType(tokens), _refresh_state(entry.get("refused"), now))
    last = entry.get("last_refresh_at")
    return StoredSession(
        state=state,
        epoch=_integer(entry.get("epoch")),
        refreshes=_integer(entry.get("refreshes")),
        last_refresh_at=_optional_number(last),
        after=_optional_string(entry.get("after")),
        profile=_profile(entry.get("profile")),
        machine=_optional_string(entry.get("machine")) or "",
    )


def _refresh_state(refused: object, now: Moment) -> RefreshState:
    """Return that of a session whose refresh token the provider refused; it is tried again at once."""
    if refused is None:
        return Idle()
    failure = DoubtfulRefusal(printable(_object(refused)["reason"]))
    return Retrying(failure, failures=1, failed_at=now, retry_at=now, not_before=now, is_believed=True)


def _credentials(login: Mapping[str, object]) -> Credentials:
    ceiling, refresh_token_end = _ends(login)
    return Credentials(
        issuer=_string(login["issuer"]),
        client_id=_string(login["client_id"]),
        audience=_optional_string(login.get("audience")),
        subject=_optional_string(login.get("subject")),
        name=_optional_string(login.get("name")),
        refresh_token=_secret(login.get("refresh_token")),
        id_token=_secret(login.get("id_token")),
        client_secret=_secret(login.get("client_secret")),
        grant_type=grant_type_of(_optional_string(login.get("grant")) or AUTHORIZATION_CODE.name),
        ceiling=ceiling,
        refresh_token_end=refresh_token_end,
        resource=_optional_string(login.get("resource")),
        auth_method=_auth_method(login.get("auth_method")),
        tenant=None if login.get("tenant") is None else _tenant(_object(login["tenant"])),
        organization=_optional_string(login.get("organization")),
        acr=_optional_string(login.get("acr")),
        met_claims=MappingProxyType(dict(_met_claims(login.get("met_claims")))),
        bound_claims=MappingProxyType(id_token.bound_claims(_object(login.get("bound_claims") or {}))),
        requested_scope=_optional_string(login.get("requested_scope")) or "",
        granted_scope=_optional_string(login.get("granted_scope")),
        lost_scope=_optional_string(login.get("lost_scope")) or "",
        same_refresh_tokens=int(_number(login.get("same_refresh_tokens", 0))),
        ends_access_token=login.get("ends_access_token") is True,
    )


def _auth_method(value: object) -> str | None:
    return value if isinstance(value, str) and value in (BASIC, POST, *CERTIFICATE_METHODS) else None


def _met_claims(claims: object) -> Iterator[tuple[str, str | int | bool]]:
    for name, value in _object(claims or {}).items():
        if isinstance(value, str | int):  # as `require_claims` has them
            yield name, value


def _tenant(tenant: Mapping[str, object]) -> Tenant:
    return Tenant(_string(tenant["issuer"]), _string(tenant["tid"]))


def _ends(login: Mapping[str, object]) -> tuple[float | None, RefreshTokenEnd | None]:
    """Return the session's ceiling, and the refresh token's end.

    An older agent wrote `ends_at` alone, for either of them: the ceiling is in the ID token, if there is one.
    """
    if "session_expiry" in login:
        return _optional_number(login["session_expiry"]), _refresh_token_end(login.get("refresh_token_end"))
    token, ends_at = _secret(login.get("id_token")), _optional_number(login.get("ends_at"))
    ceiling = None if token is None else id_token.session_expiry(id_token.claims(token) or {})
    # It is not known whether a refresh moves it: the next response says so.
    return ceiling, None if ends_at is None or ends_at == ceiling else RefreshTokenEnd(ends_at, None)


def _refresh_token_end(value: object) -> RefreshTokenEnd | None:
    end = None if value is None else _object(value)
    return None if end is None else RefreshTokenEnd(_number(end["at"]), _optional_number(end.get("refresh_by")))


def _profile(value: object) -> Profile | None:
    """Return the profile, or None if it is not valid: the provider gives it again."""
    try:
        profile = _object(value)
        claims = _object(profile.get("claims"))
        return (
            Profile(claims, _number(profile.get("fetched_at")), _string(profile.get("said")))
            if is_json(claims)
            else None
        )
    except TypeError:
        return None


def _access_token(token: Mapping[str, object], boot_id: str, now: Moment, *, refreshable: bool) -> AccessToken:
    wall, boot = _number(token["obtained_at"]), _object(token.get("boot") or {})
    same_boot = bool(boot_id) and boot.get("id") == boot_id
    # In another boot nothing but the wall clock tells the token's age.
    since_boot = _number(boot["at"]) if same_boot else now.boot - (now.wall - wall)
    # An older agent assumed a lifetime for a token that nothing renews, too, or it rewrote an entry of this one.
    is_assumed = token.get("assumed") is True
    is_endless = token.get("endless") is True or ("endless" not in token and is_assumed and not refreshable)
    return AccessToken(
        value=Secret(_string(token["access_token"])),
        token_type=_string(token["token_type"]),
        scope=_optional_string(token.get("scope")),
        audience=_optional_string(token.get("audience")),
        sent=Moment(wall, since_boot),
        lifetime=None if is_endless else max(0.0, _number(token["lifetime"])),
        assumed=is_assumed and not is_endless,
        serial=0,
    )


# ---- values from JSON: of the right type, or a TypeError


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value  # pyright: ignore[reportUnknownVariableType] -- a JSON object's keys are strings


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _optional_string(value: object) -> str | None:
    return None if value is None else _string(value)


def _number(value: object) -> float:
    if (type(value) is not float and type(value) is not int) or not -_MAX < value < _MAX:
        raise TypeError("not a meaningful number")
    return float(value)


def _optional_number(value: object) -> float | None:
    return None if value is None else _number(value)


def _integer(value: object) -> int:
    return value if type(value) is int and 0 <= value < _MAX else 0


def _secret(value: object) -> Secret | None:
    return None if value is None else Secret(_string(value))


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
