"""A session as the store keeps it: comes back as it went, whatever else is there is told, and nothing leaks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import GRANT_TYPES
from auth_agent.host.clock import Moment
from auth_agent.secret import Secret
from auth_agent.sessions.entry import EntryError, StoredSession, dump, load
from auth_agent.sessions.profile import Profile
from auth_agent.sessions.state import (
    MAIN,
    AccessToken,
    Active,
    Credentials,
    Idle,
    Locked,
    LoggedOut,
    LoginRequired,
    State,
    TokenKey,
)
from auth_agent_client.messages import is_account_name

NOW = Moment(1_800_000_000.0, 5_000.0)
BOOT = "this boot"
MAX_LENGTH = 12 * 1024  # a keyring's
LOGIN = Credentials(
    "https://acme.example/",
    "native-app",
    "https://api.example",
    "alice",
    "Alice",
    Secret("rt"),
    Secret("id"),
    Secret("cs"),
    ends_at=1_800_086_400.0,
)
TOKEN = AccessToken(Secret("at"), "DPoP", "openid", "https://api.example", NOW, 3600, assumed=True, serial=0)
ACTIVE = Active(LOGIN, MappingProxyType({MAIN: TOKEN}))
PROFILE = Profile({"sub": "alice", "roles": ["admin"]}, NOW.wall, "a digest")
KEPT = StoredSession(ACTIVE, 3, 17, NOW.wall, "a logout", PROFILE)

TEXTS = st.text(max_size=50)
OPTIONAL = st.none() | TEXTS
SECRETS = st.none() | TEXTS.map(Secret)
TIMES = st.floats(-1e11, 1e11)
COUNTS = st.integers(0, 10**9)
LOGINS = st.builds(
    Credentials, TEXTS, TEXTS, OPTIONAL, OPTIONAL, OPTIONAL, SECRETS, SECRETS, SECRETS, ends_at=st.none() | TIMES
)
TOKENS = st.builds(
    AccessToken,
    TEXTS.map(Secret),
    TEXTS,
    OPTIONAL,
    OPTIONAL,
    st.builds(Moment, TIMES, TIMES),
    st.floats(0, 1e11),
    assumed=st.booleans(),
    serial=st.just(0),
)
STATES: st.SearchStrategy[State] = st.one_of(
    st.builds(Active, LOGINS, st.just(dict[TokenKey, AccessToken]()) | TOKENS.map(lambda token: {MAIN: token})),
    st.builds(
        LoginRequired, st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"])), LOGINS, st.booleans()
    ),
)
PROFILES = st.builds(Profile, st.dictionaries(st.text("abc"), st.text("abc")), TIMES, TEXTS)
KEPTS = st.builds(StoredSession, STATES, COUNTS, COUNTS, st.none() | TIMES, OPTIONAL, st.none() | PROFILES)


def entry(stored: StoredSession = KEPT) -> dict[str, Any]:
    found = json.loads(dump("work", stored, BOOT, MAX_LENGTH).reveal())
    assert isinstance(found, dict)
    return found  # pyright: ignore[reportUnknownVariableType] -- JSON's values are anything


def loaded(what: object, *, boot: str = BOOT, now: Moment = NOW) -> StoredSession:
    return load(Secret(json.dumps(what)), "work", boot, now)


def token_of(stored: StoredSession) -> AccessToken:
    assert isinstance(stored.state, Active)
    return stored.state.tokens[MAIN]


# ---- there and back


@given(KEPTS)
def test_what_is_kept_comes_back_as_it_was(stored: StoredSession) -> None:
    assert load(dump("work", stored, BOOT, MAX_LENGTH), "work", BOOT, NOW) == stored


def test_a_refresh_in_flight_is_not_kept() -> None:
    running = replace(KEPT, state=ACTIVE.start(NOW))
    assert loaded(entry(running)) == replace(KEPT, state=replace(ACTIVE, refresh=Idle()))


@pytest.mark.parametrize("state", [LoggedOut(), Locked("x")])
def test_who_is_not_logged_in_has_no_entry(state: State) -> None:
    with pytest.raises(TypeError):
        dump("work", replace(KEPT, state=state), BOOT, MAX_LENGTH)


def test_fields_that_are_not_known_are_left_alone() -> None:
    assert loaded({**entry(), "new": 1, "login": {**entry()["login"], "new": [2]}}) == KEPT


def test_what_may_be_missing_is_as_if_it_were_null() -> None:
    found = loaded({"version": 1, "account": "work", "login": {"issuer": "i", "client_id": "c"}})
    assert found == StoredSession(
        Active(Credentials("i", "c", None, None, None, None, None), MappingProxyType({})), 0, 0, None
    )


# ---- clocks


def test_a_grant_of_a_newer_version_is_kept_and_is_that_of_no_account() -> None:
    found = entry()
    found["login"]["grant"] = "token_exchange"
    kept = loaded(found)
    assert isinstance(kept.state, Active)
    assert kept.state.credentials.grant_type not in GRANT_TYPES.values()
    assert kept.state.credentials.refreshable
    assert entry(kept)["login"]["grant"] == "token_exchange"


def test_within_the_same_boot_both_clocks_tell_a_tokens_age() -> None:
    later = Moment(NOW.wall + 100, NOW.boot + 5_000)  # the wall clock was set back meanwhile
    token = token_of(loaded(entry(), now=later))
    assert token.sent == NOW
    assert token.remaining(later) == 0


@pytest.mark.parametrize("boot", ["another boot", ""])
def test_after_another_boot_the_wall_clock_alone_tells_it(boot: str) -> None:
    later = Moment(NOW.wall + 100, 7.0)
    token = token_of(loaded(entry(), boot=boot, now=later))
    assert token.sent == Moment(NOW.wall, 7.0 - 100)
    assert token.remaining(later) == 3600 - 1 - 100


def test_where_the_system_names_no_boot_two_of_them_are_not_taken_for_the_same() -> None:
    kept = load(dump("work", KEPT, "", MAX_LENGTH), "work", "", Moment(NOW.wall + 100, 7.0))
    assert token_of(kept).sent.boot == 7.0 - 100


# ---- what is no entry


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "can't be read"),
        ("canary", "can't be read"),
        ("[]", "can't be read"),
        ("{}", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ('{"version": 0}', "can't be read"),
        ('{"version": "1"}', "can't be read"),
        ('{"version": 2}', "newer version"),
        ('{"version": 1}', "another account's"),
        ('{"version": 1, "account": "Work"}', "another account's"),
        ('{"version": 1, "account": "work"}', "lacks something"),
    ],
)
def test_what_is_no_entry_is_told(text: str, reason: str) -> None:
    with pytest.raises(EntryError, match=reason):
        load(Secret(text), "work", BOOT, NOW)


WRONG: list[object] = [
    None, True, -1, 7, 1.5, 10**400, 1e300, float("nan"), float("inf"),
    "", "canary", "\ud800", [], ["canary"], {}, {"canary": 1},
]  # fmt: skip


def _paths(found: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(found, dict):
        for name, value in found.items():  # pyright: ignore[reportUnknownVariableType] -- JSON's names are texts
            yield (*path, str(name))  # pyright: ignore[reportUnknownArgumentType] -- as above
            yield from _paths(value, (*path, str(name)))  # pyright: ignore[reportUnknownArgumentType] -- as above


def _with(found: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    name, *rest = path
    return {**found, name: _with(found[name], tuple(rest), value) if rest else value}


def _without(found: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    name, *rest = path
    if rest:
        return {**found, name: _without(found[name], tuple(rest))}
    return {key: value for key, value in found.items() if key != name}


ENDED = replace(KEPT, state=LoginRequired("invalid_grant", LOGIN))
FIELDS = [*((KEPT, path) for path in _paths(entry(KEPT))), *((ENDED, path) for path in _paths(entry(ENDED)))]
every_field = pytest.mark.parametrize(("stored", "path"), FIELDS, ids=[".".join(path) for _, path in FIELDS])


def borne_or_told(what: object) -> StoredSession | str:
    """What an entry holds, or what is said of it; any other exception is a test's failure."""
    try:
        return loaded(what)
    except EntryError as error:
        return str(error)


@every_field
def test_a_wrong_value_anywhere_is_borne_or_told_and_nothing_else(stored: StoredSession, path: tuple[str, ...]) -> None:
    for wrong in WRONG:
        found = borne_or_told(_with(entry(stored), path, wrong))
        if isinstance(found, str):
            assert "canary" not in found
            assert found.isprintable()
        else:  # it can be kept again, and its counts stay within what the protocol can say
            assert loaded(entry(found)) == found
            assert 0 <= found.epoch < 2**63
            assert 0 <= found.refreshes < 2**63


@every_field
def test_a_field_that_is_missing_is_borne_or_told(stored: StoredSession, path: tuple[str, ...]) -> None:
    found = borne_or_told(_without(entry(stored), path))
    assert isinstance(found, StoredSession) or found.startswith("the store's entry")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | TEXTS, lambda inner: st.dictionaries(TEXTS, inner), max_leaves=5
)


@given(JSON)
def test_any_json_in_place_of_a_part_is_borne_or_told(garbage: object) -> None:
    for name in ("login", "token", "ended", "epoch", "version", "account"):
        found = borne_or_told({**entry(), name: garbage})
        assert isinstance(found, StoredSession) or found.startswith("the store's entry")


# ---- length


def with_tokens(id_token: int, access_token: int) -> StoredSession:
    """With tokens of those lengths."""
    login = replace(LOGIN, id_token=Secret("i" * id_token))
    return replace(
        KEPT, state=Active(login, MappingProxyType({MAIN: replace(TOKEN, value=Secret("a" * access_token))}))
    )


def test_an_entry_that_is_too_long_does_without_the_profile_the_id_token_and_the_access_token_in_this_order() -> None:
    assert loaded(entry(with_tokens(5_000, 5_000))) == with_tokens(5_000, 5_000)
    long = replace(with_tokens(5_000, 5_000), profile=replace(PROFILE, claims={"sub": "x" * 5_000}))
    assert loaded(entry(long)) == replace(long, profile=None)
    without_id_token = loaded(entry(with_tokens(8_000, 5_000)))
    assert isinstance(without_id_token.state, Active)
    assert without_id_token.state.credentials == replace(LOGIN, id_token=None)
    assert token_of(without_id_token).value == Secret("a" * 5_000)
    without_both = loaded(entry(with_tokens(8_000, 20_000)))
    assert without_both == replace(
        KEPT, state=Active(replace(LOGIN, id_token=None), MappingProxyType({})), profile=None
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *(7, [], {}, {"claims": []}, {"claims": {}, "fetched_at": 1}),
        {"claims": {}, "fetched_at": "x", "said": ""},
        {"claims": {"n": 1 << 70}, "fetched_at": 1, "said": ""},
    ],
)
def test_a_profile_that_is_none_is_left_out_and_the_session_is_there(wrong: object) -> None:
    assert loaded({**entry(), "profile": wrong}) == replace(KEPT, profile=None)


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(1_000, 50_000))
def test_an_entry_is_no_longer_than_its_store_takes_and_never_without_its_refresh_token(
    id_token: int, access: int, max_length: int
) -> None:
    whole = dump("work", with_tokens(id_token, access), BOOT, 1 << 20).reveal()
    text = dump("work", with_tokens(id_token, access), BOOT, max_length)
    assert len(text.reveal()) <= max_length
    assert (text.reveal() == whole) == (len(whole) <= max_length)
    state = load(text, "work", BOOT, NOW).state
    assert isinstance(state, Active)
    assert state.credentials.refresh_token == Secret("rt")


# ---- secrecy


def test_neither_what_is_kept_nor_its_entry_shows_a_secret() -> None:
    canary = Secret("canary")
    login = replace(LOGIN, refresh_token=canary, id_token=canary, client_secret=canary)
    kept = replace(KEPT, state=Active(login, MappingProxyType({MAIN: replace(TOKEN, value=canary)})))
    text = dump("work", kept, BOOT, MAX_LENGTH)
    assert text.reveal().count("canary") == 4
    for shown in (repr(kept), str(kept), repr(text), str(load(text, "work", BOOT, NOW))):
        assert "canary" not in shown


def test_an_entry_can_be_told_from_a_name_that_no_account_has() -> None:
    # The second slot of an account is called `work/1`.
    assert not is_account_name("work/1")
