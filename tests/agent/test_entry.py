"""Sessions as store entries: they are loaded unchanged, anything else is an EntryError, and no secret leaks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import GRANT_TYPES
from auth_agent.host.clock import Moment
from auth_agent.oauth.entra import Tenant
from auth_agent.oauth.outcome import DoubtfulRefusal, Failure, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions.entry import EntryError, StoredSession, dump, load
from auth_agent.sessions.profile import Profile
from auth_agent.sessions.session_end import RefreshTokenEnd
from auth_agent.sessions.state import (
    MAIN,
    AccessToken,
    Active,
    Credentials,
    Idle,
    Locked,
    LoggedOut,
    LoginRequired,
    Retrying,
    State,
    TokenKey,
)
from auth_agent_client.messages import is_account_name
from tests.agent.world import jwt

NOW = Moment(1_800_000_000.0, 5_000.0)
BOOT = "this boot"
MAX_LENGTH = 12 * 1024  # a keyring's
CREDENTIALS = Credentials(
    "https://acme.example/",
    "native-app",
    "https://api.example",
    "alice",
    "Alice",
    Secret("rt"),
    Secret("id"),
    Secret("cs"),
    ceiling=1_800_086_400.0,
    refresh_token_end=RefreshTokenEnd(1_800_050_000.0, 1_800_030_000.0),
    resource="https://api.example",
    auth_method="client_secret_post",
    tenant=Tenant("https://login.microsoftonline.com/9/v2.0", "9"),
    organization="org_abc",
    met_claims=MappingProxyType({"team": "red", "level": 3, "mfa": True}),
    bound_claims=MappingProxyType({"azp": "native-app", "nonce": "n", "auth_time": 1_800_000_000.0}),
)
TOKEN = AccessToken(Secret("at"), "DPoP", "openid", "https://api.example", NOW, 3600, assumed=True, serial=0)
ACTIVE = Active(CREDENTIALS, MappingProxyType({MAIN: TOKEN}))
PROFILE = Profile({"sub": "alice", "roles": ["admin"]}, NOW.wall, "a digest")
STORED = StoredSession(ACTIVE, 3, 17, NOW.wall, "a logout", PROFILE, "this machine")

STRINGS = st.text(max_size=50)
OPTIONAL = st.none() | STRINGS
SECRETS = st.none() | STRINGS.map(Secret)
TIMES = st.floats(-1e11, 1e11)
COUNTS = st.integers(0, 10**9)
ALL_CREDENTIALS = st.builds(
    Credentials,
    *(STRINGS, STRINGS, OPTIONAL, OPTIONAL, OPTIONAL, SECRETS, SECRETS, SECRETS),
    ceiling=st.none() | TIMES,
    refresh_token_end=st.none() | st.builds(RefreshTokenEnd, TIMES, st.none() | TIMES),
    resource=OPTIONAL,
    auth_method=st.sampled_from([None, "client_secret_basic", "client_secret_post"]),
    tenant=st.none() | st.builds(Tenant, STRINGS, STRINGS),
)
TOKENS = st.builds(
    AccessToken,
    STRINGS.map(Secret),
    STRINGS,
    OPTIONAL,
    OPTIONAL,
    st.builds(Moment, TIMES, TIMES),
    st.none() | st.floats(0, 1e11),
    assumed=st.booleans(),
    serial=st.just(0),
).map(lambda token: replace(token, assumed=token.assumed and token.lifetime is not None))
STATES: st.SearchStrategy[State] = st.one_of(
    st.builds(
        Active, ALL_CREDENTIALS, st.just(dict[TokenKey, AccessToken]()) | TOKENS.map(lambda token: {MAIN: token})
    ),
    st.builds(
        LoginRequired,
        st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"])),
        ALL_CREDENTIALS,
        st.booleans(),
    ),
)
PROFILES = st.builds(Profile, st.dictionaries(st.text("abc"), st.text("abc")), TIMES, STRINGS)
STORED_SESSIONS = st.builds(
    StoredSession, STATES, COUNTS, COUNTS, st.none() | TIMES, OPTIONAL, st.none() | PROFILES, STRINGS
)


def entry(stored: StoredSession = STORED) -> dict[str, Any]:
    value = json.loads(dump("work", stored, BOOT, MAX_LENGTH).reveal())
    assert isinstance(value, dict)
    return value  # pyright: ignore[reportUnknownVariableType] -- JSON's values are anything


def loaded(value: object, *, boot: str = BOOT, now: Moment = NOW) -> StoredSession:
    return load(Secret(json.dumps(value)), "work", boot, now)


def token_of(stored: StoredSession) -> AccessToken:
    assert isinstance(stored.state, Active)
    return stored.state.tokens[MAIN]


# ---- dump and load


@given(STORED_SESSIONS)
def test_a_stored_session_is_loaded_unchanged(stored: StoredSession) -> None:
    assert load(dump("work", stored, BOOT, MAX_LENGTH), "work", BOOT, NOW) == stored


def test_a_refresh_in_flight_is_not_stored() -> None:
    running = replace(STORED, state=ACTIVE.start(NOW))
    assert loaded(entry(running)) == replace(STORED, state=replace(ACTIVE, refresh=Idle()))


def test_a_refusal_that_is_believed_is_stored_and_tried_again_at_once() -> None:
    refused = Retrying(DoubtfulRefusal("go away"), 7, NOW, NOW.after(900), NOW, is_believed=True)
    expected = Retrying(DoubtfulRefusal("go away"), 1, NOW, NOW, NOW, is_believed=True)
    for state in (replace(ACTIVE, refresh=refused), replace(ACTIVE, refresh=refused).start(NOW)):
        value = entry(replace(STORED, state=state))
        assert loaded(value) == replace(STORED, state=replace(ACTIVE, refresh=expected))
        del value["refused"]  # an older agent rewrote it
        assert loaded(value) == STORED


@pytest.mark.parametrize("failure", [Unsent("no route"), DoubtfulRefusal("go away")])
def test_another_failure_of_a_refresh_is_not_stored(failure: Failure) -> None:
    assert entry(replace(STORED, state=replace(ACTIVE, refresh=Retrying(failure, 1, NOW, NOW, NOW)))) == entry()


@pytest.mark.parametrize("state", [LoggedOut(), Locked("x")])
def test_a_session_without_credentials_has_no_entry(state: State) -> None:
    with pytest.raises(TypeError):
        dump("work", replace(STORED, state=state), BOOT, MAX_LENGTH)


def test_unknown_keys_are_ignored() -> None:
    assert loaded({**entry(), "new": 1, "login": {**entry()["login"], "new": [2]}}) == STORED


def test_a_missing_optional_key_is_the_same_as_null() -> None:
    stored = loaded({"version": 1, "account": "work", "login": {"issuer": "i", "client_id": "c"}})
    assert stored == StoredSession(
        Active(Credentials("i", "c", None, None, None, None, None), MappingProxyType({})), 0, 0, None
    )


@pytest.mark.parametrize("machine", [None, ""])
def test_the_entries_of_before_name_no_machine(machine: str | None) -> None:
    unnamed = entry()
    del unnamed["machine"]
    if machine is not None:
        unnamed["machine"] = machine
    assert loaded(unnamed) == replace(STORED, machine="")


# ---- ends


def test_a_token_without_a_known_end_is_stored_so_that_an_older_agent_can_read_it() -> None:
    token = replace(TOKEN, lifetime=None, assumed=False)
    state = Active(replace(CREDENTIALS, refresh_token=None), MappingProxyType({MAIN: token}))
    endless = replace(STORED, state=state)
    value = entry(endless)
    assert (value["token"]["lifetime"], value["token"]["assumed"], value["token"]["endless"]) == (3600, True, True)
    assert loaded(value) == endless
    del value["token"]["endless"]  # an older agent rewrote it
    assert loaded(value) == endless


@pytest.mark.parametrize(("refresh_token", "assumed"), [("rt", True), ("rt", False), (None, False)])
def test_another_token_of_an_older_agent_has_its_end(refresh_token: str | None, *, assumed: bool) -> None:
    value = entry()
    del value["token"]["endless"]
    value["token"]["assumed"], value["login"]["refresh_token"] = assumed, refresh_token
    value["login"]["client_secret"] = None
    token = token_of(loaded(value))
    assert (token.lifetime, token.assumed) == (3600, assumed)


def older(**login: object) -> dict[str, Any]:
    """Return the entry of an older agent, which knew one end alone."""
    value = entry()
    del value["login"]["session_expiry"], value["login"]["refresh_token_end"]
    value["login"].update(login)
    return value


@pytest.mark.parametrize(
    ("claim", "ends_at", "ceiling", "refresh_token_end"),
    [
        (None, None, None, None),
        (None, 1_800_010_000.0, None, RefreshTokenEnd(1_800_010_000.0, None)),
        (1_800_010_000, 1_800_010_000.0, 1_800_010_000.0, None),
        (1_800_020_000, 1_800_010_000.0, 1_800_020_000.0, RefreshTokenEnd(1_800_010_000.0, None)),
        ("1800020000", 1_800_010_000.0, None, RefreshTokenEnd(1_800_010_000.0, None)),
    ],
)
def test_the_end_in_an_older_entry_is_the_ceiling_if_its_id_token_says_so(
    claim: object, ends_at: float | None, ceiling: float | None, refresh_token_end: RefreshTokenEnd | None
) -> None:
    credentials = loaded(older(ends_at=ends_at, id_token=jwt(session_expiry=claim).reveal())).state
    assert isinstance(credentials, Active)
    assert credentials.credentials.ceiling == ceiling
    assert credentials.credentials.refresh_token_end == refresh_token_end


@pytest.mark.parametrize("id_token", [None, "not a JWT"])
def test_an_older_entry_without_an_id_token_has_a_refresh_tokens_end(id_token: str | None) -> None:
    state = loaded(older(ends_at=1_800_010_000.0, id_token=id_token)).state
    assert isinstance(state, Active)
    assert state.credentials.ceiling is None
    assert state.credentials.ends_at == 1_800_010_000.0


def test_an_older_agent_finds_the_earlier_end() -> None:
    assert entry()["login"]["ends_at"] == 1_800_050_000.0


# ---- clocks


def test_an_unknown_grant_type_is_preserved_and_matches_no_account() -> None:
    newer = entry()
    newer["login"]["grant"] = "token_exchange"
    stored = loaded(newer)
    assert isinstance(stored.state, Active)
    assert stored.state.credentials.grant_type not in GRANT_TYPES.values()
    assert stored.state.credentials.refreshable
    assert entry(stored)["login"]["grant"] == "token_exchange"


def test_within_the_same_boot_both_clocks_determine_a_tokens_age() -> None:
    later = Moment(NOW.wall + 100, NOW.boot + 5_000)  # the wall clock was set back meanwhile
    token = token_of(loaded(entry(), now=later))
    assert token.sent == NOW
    assert token.remaining(later) == 0


@pytest.mark.parametrize("boot", ["another boot", ""])
def test_after_another_boot_the_wall_clock_alone_determines_it(boot: str) -> None:
    later = Moment(NOW.wall + 100, 7.0)
    token = token_of(loaded(entry(), boot=boot, now=later))
    assert token.sent == Moment(NOW.wall, 7.0 - 100)
    assert token.remaining(later) == 3600 - 1 - 100


def test_without_a_boot_id_every_start_counts_as_another_boot() -> None:
    stored = load(dump("work", STORED, "", MAX_LENGTH), "work", "", Moment(NOW.wall + 100, 7.0))
    assert token_of(stored).sent.boot == 7.0 - 100


# ---- invalid entries


@pytest.mark.parametrize(
    "string",
    [
        *("", "canary", "[]", "{}", "[" * 100_000),
        *('{"version": 0}', '{"version": "1"}', '{"version": 2}'),
        *('{"version": 1}', '{"version": 1, "account": "Work"}', '{"version": 1, "account": "work"}'),
    ],
)
def test_an_invalid_entry_is_an_error_without_its_content(string: str) -> None:
    with pytest.raises(EntryError) as raised:
        load(Secret(string), "work", BOOT, NOW)
    assert str(raised.value).startswith("the store's entry")
    assert "canary" not in str(raised.value)


WRONG: list[object] = [
    None, True, -1, 7, 1.5, 10**400, 1e300, float("nan"), float("inf"),
    "", "canary", "\ud800", [], ["canary"], {}, {"canary": 1},
]  # fmt: skip


def _paths(entry: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(entry, dict):
        for name, value in entry.items():  # pyright: ignore[reportUnknownVariableType] -- JSON's names are strings
            yield (*path, str(name))  # pyright: ignore[reportUnknownArgumentType] -- as above
            yield from _paths(value, (*path, str(name)))  # pyright: ignore[reportUnknownArgumentType] -- as above


def _with(entry: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    name, *rest = path
    return {**entry, name: _with(entry[name], tuple(rest), value) if rest else value}


def _without(entry: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    name, *rest = path
    if rest:
        return {**entry, name: _without(entry[name], tuple(rest))}
    return {key: value for key, value in entry.items() if key != name}


ENDED = replace(STORED, state=LoginRequired("invalid_grant", CREDENTIALS))
FIELDS = [*((STORED, path) for path in _paths(entry(STORED))), *((ENDED, path) for path in _paths(entry(ENDED)))]
every_field = pytest.mark.parametrize(("stored", "path"), FIELDS, ids=[".".join(path) for _, path in FIELDS])


def loaded_or_message(value: object) -> StoredSession | str:
    """Return the session of an entry, or the error's message; any other exception fails the test."""
    try:
        return loaded(value)
    except EntryError as error:
        return str(error)


@every_field
def test_a_wrong_value_is_tolerated_or_an_entry_error(stored: StoredSession, path: tuple[str, ...]) -> None:
    for wrong in WRONG:
        result = loaded_or_message(_with(entry(stored), path, wrong))
        if isinstance(result, str):
            assert "canary" not in result
            assert result.isprintable()
        else:  # it can be stored again, and its counts stay within value the protocol can carry
            assert loaded(entry(result)) == result
            assert 0 <= result.epoch < 2**63
            assert 0 <= result.refreshes < 2**63


@every_field
def test_a_missing_key_is_tolerated_or_an_entry_error(stored: StoredSession, path: tuple[str, ...]) -> None:
    result = loaded_or_message(_without(entry(stored), path))
    assert isinstance(result, StoredSession) or result.startswith("the store's entry")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | STRINGS, lambda inner: st.dictionaries(STRINGS, inner), max_leaves=5
)


@given(JSON)
def test_any_json_value_is_tolerated_or_an_entry_error(garbage: object) -> None:
    for name in ("login", "token", "ended", "epoch", "version", "account"):
        result = loaded_or_message({**entry(), name: garbage})
        assert isinstance(result, StoredSession) or result.startswith("the store's entry")


# ---- length


def with_tokens(id_token: int, access_token: int) -> StoredSession:
    """Return a session with tokens of these lengths."""
    credentials = replace(CREDENTIALS, id_token=Secret("i" * id_token))
    return replace(
        STORED, state=Active(credentials, MappingProxyType({MAIN: replace(TOKEN, value=Secret("a" * access_token))}))
    )


def test_a_long_entry_omits_profile_then_id_token_then_access_token() -> None:
    assert loaded(entry(with_tokens(5_000, 5_000))) == with_tokens(5_000, 5_000)
    long = replace(with_tokens(5_000, 5_000), profile=replace(PROFILE, claims={"sub": "x" * 5_000}))
    assert loaded(entry(long)) == replace(long, profile=None)
    without_id_token = loaded(entry(with_tokens(8_000, 5_000)))
    assert isinstance(without_id_token.state, Active)
    assert without_id_token.state.credentials == replace(CREDENTIALS, id_token=None)
    assert token_of(without_id_token).value == Secret("a" * 5_000)
    without_both = loaded(entry(with_tokens(8_000, 20_000)))
    assert without_both == replace(
        STORED, state=Active(replace(CREDENTIALS, id_token=None), MappingProxyType({})), profile=None
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *(7, [], {}, {"claims": []}, {"claims": {}, "fetched_at": 1}),
        {"claims": {}, "fetched_at": "x", "said": ""},
        {"claims": {"n": 1 << 70}, "fetched_at": 1, "said": ""},
    ],
)
def test_an_invalid_profile_is_ignored(wrong: object) -> None:
    assert loaded({**entry(), "profile": wrong}) == replace(STORED, profile=None)


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(1_100, 50_000))
def test_an_entry_fits_into_its_store_and_keeps_its_refresh_token(id_token: int, access: int, max_length: int) -> None:
    whole = dump("work", with_tokens(id_token, access), BOOT, 1 << 20).reveal()
    stored = dump("work", with_tokens(id_token, access), BOOT, max_length)
    assert len(stored.reveal()) <= max_length
    assert (stored.reveal() == whole) == (len(whole) <= max_length)
    state = load(stored, "work", BOOT, NOW).state
    assert isinstance(state, Active)
    assert state.credentials.refresh_token == Secret("rt")


# ---- secrecy


def test_the_repr_of_a_stored_session_contains_no_secret() -> None:
    canary = Secret("canary")
    credentials = replace(CREDENTIALS, refresh_token=canary, id_token=canary, client_secret=canary)
    stored = replace(STORED, state=Active(credentials, MappingProxyType({MAIN: replace(TOKEN, value=canary)})))
    string = dump("work", stored, BOOT, MAX_LENGTH)
    assert string.reveal().count("canary") == 4
    for output in (repr(stored), str(stored), repr(string), str(load(string, "work", BOOT, NOW))):
        assert "canary" not in output


def test_the_name_of_a_second_slot_is_not_an_account_name() -> None:
    # The second slot of an account is called `work/1`.
    assert not is_account_name("work/1")
