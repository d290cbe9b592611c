"""A session as the store keeps it: one JSON map, with the version of its form.

    {"version": 1, "account", "epoch", "refreshes", "last_refresh_at", "after",
     "login": {"issuer", "client_id", "audience", "subject", "name", "refresh_token", "id_token", "client_secret",
               "grant", "ends_at"},
     "ended": null | {"reason", "failure", "quarantined"},
     "token": null | {"access_token", "token_type", "scope", "audience", "lifetime", "assumed",
                      "obtained_at", "boot": {"id", "at"}},
     "profile": null | {"claims", "fetched_at", "said"}}

Times are Unix time, and seconds since the boot of that id. Fields that aren't known are ignored; a version that isn't
known is left alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from auth_agent.grant_type import AUTHORIZATION_CODE, grant_type_of
from auth_agent.host.clock import Moment
from auth_agent.json_object import JsonObjectError, is_portable, parse_object
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.profile import Profile
from auth_agent.sessions.state import (
    MAIN,
    REAUTHENTICATION_REQUIRED,
    WRONG_USER,
    AccessToken,
    Active,
    Credentials,
    LoginRequired,
    State,
)
from auth_agent_client.messages import FAILURES

VERSION: Final = 1

# Beyond any time or lifetime that means something; a NaN is not within it either.
_MOST: Final = 1e12


class EntryError(ValueError):
    """An entry can't be used; the text says why, printable."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What is kept of a session; `after` names the logout that it came after, if one is still noted."""

    state: State
    epoch: int
    refreshes: int
    last_refresh_at: float | None
    after: str | None = None
    profile: Profile | None = None

    @property
    def fingerprint(self) -> str | None:
        """That of the session's refresh token; None if it has none."""
        token = self.state.credentials.refresh_token if isinstance(self.state, Active | LoginRequired) else None
        return None if token is None else token.fingerprint()


def dump(account: str, stored: StoredSession, boot_id: str, max_length: int) -> Secret:
    """The entry of a session that is logged in, or was.

    Where it would be longer than the store's `max_length` characters, it does without what the provider gives again:
    the profile, then the ID token, then the access token.
    """
    state = stored.state
    if not isinstance(state, Active | LoginRequired):
        raise TypeError("only what was logged in is kept")
    login = state.credentials
    token = state.tokens.get(MAIN) if isinstance(state, Active) else None
    entry: dict[str, object] = {
        "version": VERSION,
        "account": account,
        "epoch": stored.epoch,
        "refreshes": stored.refreshes,
        "last_refresh_at": stored.last_refresh_at,
        "after": stored.after,
        "login": _dumped_login(login),
        "ended": {"reason": state.reason, "failure": state.failure, "quarantined": state.quarantined}
        if isinstance(state, LoginRequired)
        else None,
        "token": None if token is None else _dumped_token(token, boot_id),
        "profile": None if stored.profile is None else _dumped_profile(stored.profile),
    }
    text = json.dumps(entry)
    if len(text) > max_length:
        entry["profile"] = None
        text = json.dumps(entry)
    if len(text) > max_length:
        entry["login"] = {**_map(entry["login"]), "id_token": None}
        text = json.dumps(entry)
    if len(text) > max_length:
        text = json.dumps({**entry, "token": None})
    return Secret(text)


def _dumped_login(credentials: Credentials) -> dict[str, object]:
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
    }


def _dumped_token(token: AccessToken, boot_id: str) -> dict[str, object]:
    return {
        "access_token": token.value.reveal(),
        "token_type": token.token_type,
        "scope": token.scope,
        "audience": token.audience,
        "lifetime": token.lifetime,
        "assumed": token.assumed,
        "obtained_at": token.sent.wall,
        "boot": {"id": boot_id, "at": token.sent.boot},
    }


def _dumped_profile(profile: Profile) -> dict[str, object]:
    return {"claims": dict(profile.claims), "fetched_at": profile.fetched_at, "said": profile.said}


def load(text: Secret, account: str, boot_id: str, now: Moment) -> StoredSession:
    """What an entry holds.

    Args:
        text: the entry.
        account: whose it must be.
        boot_id: that of this boot, or what stands for it.
        now: the time; what was obtained in another boot is placed on this one's clock by the wall clock alone.

    Raises:
        EntryError: it isn't such an entry.

    """
    try:
        entry = parse_object(text.reveal())
    except JsonObjectError as error:
        raise EntryError("the store's entry can't be read") from error
    version = entry.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise EntryError(
            "the store's entry is of a newer version of auth-agent" if newer else "the store's entry can't be read"
        )
    try:
        if entry.get("account") != account:
            raise EntryError("the store's entry is another account's")
        return _kept(entry, boot_id, now)
    except (KeyError, TypeError) as error:
        raise EntryError("the store's entry lacks something") from error


def _kept(entry: Mapping[str, object], boot_id: str, now: Moment) -> StoredSession:
    login = _login(_map(entry["login"]))
    ended, token = entry.get("ended"), entry.get("token")
    state: State
    if ended is not None:
        end = _map(ended)
        quarantined, failure = end.get("quarantined") is True, end.get("failure")
        if failure not in FAILURES:  # the first version wrote none
            failure = WRONG_USER if quarantined else REAUTHENTICATION_REQUIRED
        state = LoginRequired(printable(end["reason"]), login, quarantined, str(failure))
    else:
        tokens = {} if token is None else {MAIN: _access_token(_map(token), boot_id, now)}
        state = Active(login, MappingProxyType(tokens))
    last = entry.get("last_refresh_at")
    return StoredSession(
        state=state,
        epoch=_whole(entry.get("epoch")),
        refreshes=_whole(entry.get("refreshes")),
        last_refresh_at=None if last is None else _number(last),
        after=_optional(entry.get("after")),
        profile=_profile(entry.get("profile")),
    )


def _login(login: Mapping[str, object]) -> Credentials:
    return Credentials(
        issuer=_text(login["issuer"]),
        client_id=_text(login["client_id"]),
        audience=_optional(login.get("audience")),
        subject=_optional(login.get("subject")),
        name=_optional(login.get("name")),
        refresh_token=_secret(login.get("refresh_token")),
        id_token=_secret(login.get("id_token")),
        client_secret=_secret(login.get("client_secret")),
        grant_type=grant_type_of(_optional(login.get("grant")) or AUTHORIZATION_CODE.name),
        ends_at=None if login.get("ends_at") is None else _number(login["ends_at"]),
    )


def _profile(value: object) -> Profile | None:
    """The profile, if it is one: the provider gives it again."""
    try:
        profile = _map(value)
        claims = _map(profile.get("claims"))
        return (
            Profile(claims, _number(profile.get("fetched_at")), _text(profile.get("said")))
            if is_portable(claims)
            else None
        )
    except TypeError:
        return None


def _access_token(token: Mapping[str, object], boot_id: str, now: Moment) -> AccessToken:
    wall, boot = _number(token["obtained_at"]), _map(token.get("boot") or {})
    same_boot = bool(boot_id) and boot.get("id") == boot_id
    # In another boot nothing but the wall clock tells the token's age.
    since_boot = _number(boot["at"]) if same_boot else now.boot - (now.wall - wall)
    return AccessToken(
        value=Secret(_text(token["access_token"])),
        token_type=_text(token["token_type"]),
        scope=_optional(token.get("scope")),
        audience=_optional(token.get("audience")),
        sent=Moment(wall, since_boot),
        lifetime=max(0.0, _number(token["lifetime"])),
        assumed=token.get("assumed") is True,
        serial=0,
    )


# ---- values as they come from JSON: of the right type, or a TypeError


def _map(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("no map")
    return value  # pyright: ignore[reportUnknownVariableType] -- a JSON map's keys are texts


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> float:
    if (type(value) is not float and type(value) is not int) or not -_MOST < value < _MOST:
        raise TypeError("no number that means something")
    return float(value)


def _whole(value: object) -> int:
    return value if type(value) is int and 0 <= value < _MOST else 0


def _secret(value: object) -> Secret | None:
    return None if value is None else Secret(_text(value))


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
