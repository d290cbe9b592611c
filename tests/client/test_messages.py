"""The vocabulary: which methods there are, and which parameters they take."""

import pytest
from hypothesis import given, strategies as st

from auth_agent_client.errors import InvalidRequest, UnknownMethod
from auth_agent_client.messages import METHODS, PROTOCOL, RECORD, RENEWALS, STATES, check, is_account_name, is_json
from auth_agent_client.wire import MAX_REQUEST_VALUES, Connection, Request, Response

# Those of docs/protocol.md; "!" marks a required parameter.
PARAMETERS = {
    "hello": "client",
    "token": "account url directory audience scope only min_ttl force timeout",
    "id_token": "account url directory min_ttl timeout",
    "rejected": "account url directory audience scope only access_token! challenge timeout",
    "has_valid": "account audience scope only min_ttl",
    "profile": "account max_age timeout",
    "user": "account fields timeout",
    "user_metadata": "account timeout",
    "update_user_metadata": "account user_metadata! clear timeout",
    "status": "account clients",
    "login": "account flow! switch_user client_secret parameters",
    "login_redirect": "login_id! url!",
    "login_result": "login_id! timeout",
    "login_cancel": "login_id!",
    "import": "account refresh_token! switch_user client_secret",
    "logout": "account revoke revoke_shared",
    "refresh": "account timeout",
    "rename": "account name!",
    "lock": "passphrase keep_alive",
    "unlock": "passphrase",
    "change_passphrase": "passphrase! new_passphrase!",
    "move_store": "store! passphrase",
    "adopt": "",
    "reload": "",
    "watch": "accounts",
}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

ANY_VALUE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.lists(st.text(max_size=3) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=3)
)


def error_for(method: str, **parameters: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        check(method, parameters)
    return raised.value


def nested(levels: int) -> dict[str, object]:
    """Return a map within a list within a map, of that depth."""
    value: object = "text"
    for level in range(levels):
        value = {"x": value} if level % 2 else [value]
    return {"x": value}


# ---- the vocabulary


def test_the_methods_and_parameters_of_the_protocol() -> None:
    described = {
        name: {parameter + "!" * (parameter in method.required) for parameter in method.parameters}
        for name, method in METHODS.items()
    }
    assert described == {name: set(parameters.split()) for name, parameters in PARAMETERS.items()}


def test_the_result_of_a_token_request() -> None:
    token = ("account", "access_token", "token_type", "expires_at", "scope", "audience", "audience_verified")
    assert [METHODS[name].result for name in ("token", "rejected", "refresh")] == [token] * 3


def test_the_result_of_a_login_or_import_is_a_record() -> None:
    assert [METHODS[name].result for name in ("login_result", "import")] == [RECORD, RECORD]


def test_the_fields_states_and_renewals_of_a_record() -> None:
    assert PROTOCOL == 1
    assert " ".join(RECORD) == (
        "account issuer subject name state renewal saved reason failure remedy expires_at lifetime_assumed "
        "refresh_at last_refresh_at refreshes missing acr session_ends_at session_end_moves "
        "refresh_ends_access_token epoch revision"
    )
    assert STATES == ("ready", "expired", "login_required", "locked", "logged_out")
    assert RENEWALS == ("idle", "running", "retrying", "none")


def test_the_default_timeouts() -> None:
    waits = {name: method.timeout for name, method in METHODS.items() if "timeout" in method.parameters}
    assert waits.pop("login_result") == 600
    assert set(waits.values()) == {15}


def test_a_method_without_the_parameter_timeout_has_none() -> None:
    assert [
        name for name, method in METHODS.items() if (method.timeout is None) == ("timeout" in method.parameters)
    ] == []


def test_methods_that_change_something_are_not_repeatable() -> None:
    assert {name for name, method in METHODS.items() if not method.repeatable} == {
        "change_passphrase",
        "import",
        "lock",
        "login",
        "login_cancel",
        "login_redirect",
        "login_result",
        "logout",
        "move_store",
        "rename",
        "update_user_metadata",
    }


# ---- checking


@pytest.mark.parametrize("method", METHODS)
def test_a_method_with_its_required_parameters_is_valid(method: str) -> None:
    values: dict[str, object] = {
        "access_token": "at",
        "user_metadata": {},
        "flow": "browser",
        "login_id": "1",
        "url": "http://127.0.0.1/",
        "refresh_token": "rt",
        "name": "acme",
        "store": "file",
        "passphrase": "old",
        "new_passphrase": "new",
    }
    params = {name: values[name] for name in METHODS[method].required}
    assert check(method, params) is METHODS[method]


@pytest.mark.parametrize("method", ["", "Token", "tokens", "__class__", "locked", "x" * 1000])
def test_a_method_that_does_not_exist_is_unknown(method: str) -> None:
    with pytest.raises(UnknownMethod) as raised:
        check(method, {})
    assert repr(method[:64]) in raised.value.message


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_parameter_is_an_error_that_names_it(method: str) -> None:
    error = error_for(method, audiance="x")
    assert error.parameter == "audiance"


def test_the_error_for_an_unknown_parameter_lists_the_known_ones() -> None:
    assert error_for("refresh", audience="x").message.endswith("account, timeout")


def test_the_name_of_an_unknown_parameter_is_cut() -> None:
    assert error_for("reload", **{"x" * 1000: 1}).parameter == "x" * 64


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method, spec in METHODS.items() for name in spec.required],
)
def test_a_missing_parameter_is_named(method: str, name: str) -> None:
    values: dict[str, object] = {
        "access_token": "at",
        "flow": "device",
        "login_id": "1",
        "url": "u",
        "user_metadata": {},
        "passphrase": "old",
        "new_passphrase": "new",
    }
    others = {other: values[other] for other in METHODS[method].required if other != name}
    assert error_for(method, **others).parameter == name


@pytest.mark.parametrize("value", [0, 0.0, 1, 60, 0.5, 3_155_760_000])
def test_seconds_are_a_number_up_to_a_century(value: float) -> None:
    assert check("token", {"min_ttl": value, "timeout": value}) is METHODS["token"]


def test_metadata_may_be_any_json() -> None:
    values: list[object] = [
        "",
        "ä",
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        True,
        False,
        None,
        [],
        (1, ["a"]),
        {"": {}},
        nested(14),
    ]
    metadata = {str(number): value for number, value in enumerate(values)}
    assert check("update_user_metadata", {"user_metadata": metadata}) is METHODS["update_user_metadata"]
    assert check("update_user_metadata", {"user_metadata": nested(15)}) is METHODS["update_user_metadata"]


def test_metadata_that_contains_itself_is_invalid() -> None:
    cyclic: dict[str, object] = {}
    cyclic["x"] = cyclic
    assert error_for("update_user_metadata", user_metadata=cyclic).parameter == "user_metadata"


def test_the_deepest_metadata_fit_in_a_message() -> None:
    client, agent = Connection(), Connection()
    agent.receive_data(client.request("update_user_metadata", {"user_metadata": nested(15)})[1])
    assert isinstance(agent.next_message(), Request)


WRONG: list[tuple[str, str, list[object]]] = [
    ("token", "min_ttl", [-1, -0.5, float("nan"), float("inf"), 2**64, 3_155_760_001, True, "60", None, [60], b"60"]),
    ("token", "timeout", [-1, float("nan"), True, "15", None]),
    ("profile", "max_age", [-1, "300", False]),
    ("token", "account", ["", "a b", "a/b", "ä", "a\n", "x" * 65, None, 7, b"work", ["work"]]),
    ("token", "audience", ["", None, 7, ["api"], b"api", True]),
    ("token", "url", ["", None, 7, b"https://a", ["https://a"], "x" * 16_385]),
    ("token", "directory", ["", "src", "~/src", "/a\0b", None, 7, b"/src", ["/src"], "/" * 4_097]),
    ("token", "scope", [None, 7, ["openid"], b"openid"]),
    ("token", "force", [0, 1, "true", None]),
    ("logout", "revoke", [0, 1, "false", None]),
    ("logout", "revoke_shared", [0, 1, "true", None]),
    ("rejected", "challenge", [1, None, "x" * 4097]),
    ("login", "flow", ["", "Browser", "code", None, 7, ["browser"], {}, True]),
    ("user", "fields", ["name", None, [1], ["name", None], {"name": 1}]),
    ("watch", "accounts", ["work", None, [1], {"work": 1}]),
    (
        "update_user_metadata",
        "user_metadata",
        [
            *(None, [], "{}", 7, {1: "x"}, {"x": b"x"}, {"x": {1}}, {"x": object()}, {"x": {None: 1}}),
            *({"x": float("nan")}, {"x": [float("-inf")]}, {"x": 2**64}, {"x": -(2**63) - 1}, nested(16)),
        ],
    ),
    ("import", "refresh_token", ["", None, 7, b"rt"]),
    ("hello", "client", [None, 7, b"x"]),
]


@pytest.mark.parametrize(("method", "name", "values"), WRONG)
def test_a_parameter_of_a_wrong_type_is_named(method: str, name: str, values: list[object]) -> None:
    for value in values:
        assert error_for(method, **{name: value}).parameter == name, value


@given(
    st.sampled_from(sorted(METHODS)),
    st.dictionaries(
        st.text(max_size=70) | st.sampled_from(sorted({name for spec in METHODS.values() for name in spec.parameters})),
        ANY_VALUE,
        max_size=4,
    ),
)
def test_any_request_is_valid_or_one_of_its_parameters_is_named(method: str, parameters: dict[str, object]) -> None:
    candidates = {name[:64] for name in parameters} | (set(METHODS[method].required) - set(parameters))
    try:
        spec = check(method, parameters)
    except InvalidRequest as error:
        named = {error.parameter}
    else:
        named = set[str | None]()
        assert set(spec.required) <= set(parameters) <= set(spec.parameters)
    assert named <= candidates


# ---- bounds

# The largest value of each parameter that has a size; docs/protocol.md lists them.
LARGEST: dict[str, str | list[str]] = {
    "client": "x" * 1_000,
    "url": "x" * 16_384,
    "directory": "/" + "x" * 4_095,
    "audience": "x" * 2_000,
    "scope": "x" * 4_096,
    "access_token": "x" * 65_536,
    "challenge": "x" * 4_096,
    "refresh_token": "x" * 65_536,
    "client_secret": "x" * 65_536,
    "login_id": "x" * 100,
    "store": "x" * 100,
    "passphrase": "x" * 256,
    "new_passphrase": "x" * 256,
    "account": "x" * 64,
    "name": "x" * 64,
    "fields": ["x" * 100] * 100,
    "accounts": ["x" * 100] * 1_000,
}
OF_FEW_VALUES = {"min_ttl", "max_age", "timeout", "force", "clear", "clients", "keep_alive", "flow"} | {
    *("switch_user", "revoke", "revoke_shared", "only")
}
EVERY_PARAMETER = [(method, name) for method, spec in METHODS.items() for name in spec.parameters]


def larger(value: str | list[str]) -> object:
    """Return the string or list with one more character or item."""
    return value + "x" if isinstance(value, str) else [*value, "x"]


@pytest.mark.parametrize(("method", "name"), EVERY_PARAMETER)
def test_every_parameter_is_bounded(method: str, name: str) -> None:
    if name in OF_FEW_VALUES or name in ("user_metadata", "parameters"):
        return
    kind = METHODS[method].parameters[name]
    assert kind.accepts(LARGEST[name])
    assert not kind.accepts(larger(LARGEST[name]))


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ([0] * 9_999, True),
        ([0] * 10_000, False),  # the list is a value, too
        ([[0] * 99] * 99, True),
        ([[0] * 100] * 100, False),
        ({str(number): 0 for number in range(9_999)}, True),
        ({str(number): 0 for number in range(10_000)}, False),
        ("x" * (1 << 19), True),
        ("ä" * (1 << 19), False),
        (["x" * (1 << 18)] * 3, False),
        ({"x" * ((1 << 19) + 1): 0}, False),
        ("\ud800", False),
        ({"\ud800": 0}, False),
    ],
)
def test_a_json_value_is_bounded(value: object, fits: bool) -> None:
    assert is_json(value) is fits


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=5),
)


@given(JSON)
def test_what_the_agent_accepts_its_client_can_read(value: object) -> None:
    client, agent = Connection(), Connection()
    agent.receive_data(client.request("profile", {})[1])
    request = agent.next_message()
    assert isinstance(request, Request)
    if is_json(value):
        client.receive_data(agent.respond(request, {"claims": value}))
        response = client.next_message()
        assert isinstance(response, Response)
        assert response.result == {"claims": value}


@pytest.mark.parametrize(
    "value", [[0] * 9_999, ["x" * 52] * 9_999, {f"{n:048}": 1.5 for n in range(9_999)}, [2**64 - 1] * 9_999]
)
def test_the_largest_that_the_agent_accepts_is_read_and_written(value: object) -> None:
    assert is_json(value)
    client, agent = Connection(), Connection(MAX_REQUEST_VALUES)
    agent.receive_data(client.request("update_user_metadata", {"user_metadata": {"x": value}})[1])
    request = agent.next_message()
    assert isinstance(request, Request)
    client.receive_data(agent.respond(request, {"user_metadata": value}))
    response = client.next_message()
    assert isinstance(response, Response)
    assert response.result == {"user_metadata": value}


# ---- accounts' names


@given(st.text(alphabet=LETTERS, min_size=1, max_size=64))
def test_an_account_name_has_letters_digits_and_three_marks(name: str) -> None:
    assert is_account_name(name) is True


@given(st.text(alphabet=LETTERS, max_size=30), st.characters(exclude_characters=LETTERS), st.text(alphabet=LETTERS))
def test_any_other_character_is_invalid_in_an_account_name(before: str, other: str, after: str) -> None:
    assert is_account_name(before + other + after) is False


@pytest.mark.parametrize("value", ["", "x" * 65, None, 7, True, b"work", ["w"], ("w",)])
def test_an_empty_overlong_or_non_string_value_is_not_an_account_name(value: object) -> None:
    assert is_account_name(value) is False


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({}, True),
        ({"prompt": "login", "acr_values": ""}, True),
        ({str(number): "x" * 4_096 for number in range(20)}, True),
        ({str(number): "x" for number in range(21)}, False),
        ({"prompt": "x" * 4_097}, False),
        ({"x" * 101: "x"}, False),
        ({"": "x"}, False),
        ({"max_age": 0}, False),
        ({7: "x"}, False),
        ([("prompt", "login")], False),
    ],
)
def test_the_parameters_of_a_login_are_few_and_short(value: object, *, fits: bool) -> None:
    assert METHODS["login"].parameters["parameters"].accepts(value) is fits
