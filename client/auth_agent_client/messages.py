"""The vocabulary of the protocol: methods, their parameters and results, and how they are checked.

Written once, for both sides. Imported by programs that must start fast, so: no typing, no dataclasses, no re.
"""

from collections.abc import Callable, Iterable, Mapping

from .errors import InvalidRequest, UnknownMethod

PROTOCOL = 1

# A record's `state`, and its `renewal`.
READY, EXPIRED, LOGIN_REQUIRED, LOCKED, LOGGED_OUT = STATES = (
    "ready",
    "expired",
    "login_required",
    "locked",
    "logged_out",
)
IDLE, RUNNING, RETRYING, NO_RENEWAL = RENEWALS = ("idle", "running", "retrying", "none")

# The kinds of failure of an error or a session. Programs may depend on them; later versions may add some.
FAILURES = (
    "unreachable",  # the provider can't be reached, or its response was lost
    "busy",  # the provider has an outage, or was asked too often
    "refused",  # the provider, or an API, doesn't allow this
    "unmapped",  # the configuration has no account for that URL
    "misconfigured",  # the account, or the client at the provider, must be corrected
    "invalid_response",  # the provider sent a response that must not be used
    "reauthentication_required",  # a person has to log in again
    "session_expired",  # the session has reached its end
    "narrowed",  # the provider took scopes from the session
    "wrong_user",  # the session would be another user's
    "account_changed",  # the account was changed in the configuration since the login, or removed
    "clock",  # this machine's clock is wrong
    "locked",  # the store is locked, and waits for a person
    "store_failed",  # the store can't be read or written
    "file_failed",  # a file that the configuration names can't be written, or is not the agent's
    "cancelled",  # the caller cancelled it, something newer replaced it, or nobody logged in in time
    "unsupported",  # the agent or the provider doesn't support it
    "defect",  # a defect of the agent; its log says more
)

RECORD = (
    "account",
    "issuer",
    "subject",
    "name",
    "state",
    "renewal",
    "saved",
    "reason",
    "failure",
    "remedy",
    "expires_at",
    "lifetime_assumed",
    "refresh_at",
    "last_refresh_at",
    "refreshes",
    "missing",
    "acr",
    "session_ends_at",
    "session_end_moves",
    "refresh_ends_access_token",
    "epoch",
    "revision",
)

_NAME_LENGTH = 64
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def is_account_name(value: object) -> bool:
    """Return whether the value is a valid account name: `[A-Za-z0-9._-]{1,64}`."""
    return isinstance(value, str) and 0 < len(value) <= _NAME_LENGTH and _NAME_LETTERS.issuperset(value)


# A record's `missing`: what the provider did not give for the session.
ID_TOKEN, SUBJECT, REFRESH_TOKEN = MISSING = ("id_token", "subject", "refresh_token")

# The bounds of what a parameter may hold; docs/protocol.md lists them. The work for a request grows with its size.
# Characters. Longer than any server accepts: most stop at 8 KiB.
MAX_URL = 16_384
MAX_DIRECTORY = 4_096  # of a path, on Linux
MAX_AUDIENCE = 2_000
MAX_SCOPE = 4_096
# Servers accept headers of 8 to 16 KiB, so no usable access token is longer.
MAX_TOKEN = 65_536
MAX_CHALLENGE = 4096
MAX_PARAMETERS = 20
MAX_PARAMETER = 4_096
# Longer than anybody types.
MAX_PASSPHRASE = 256
# A name of a program, a login, a store or a member of the user.
MAX_NAME = 100
# Of a program's name for itself; of a longer one than people read, the beginning is shown.
MAX_CLIENT = 1_000
MAX_FIELDS = 100
MAX_ACCOUNTS = 1_000
# A JSON value, such as a user's metadata: levels (half of a message's), values, and bytes of UTF-8 (of a message's).
MAX_JSON_DEPTH = 16
MAX_JSON_VALUES = 10_000
MAX_JSON_SIZE = 1 << 19


class Kind:
    """The kind of values that a parameter takes: a predicate, and the words for it in an error."""

    __slots__ = ("accepts", "words")

    def __init__(self, words: str, accepts: Callable[[object], bool]) -> None:
        self.words = words
        self.accepts = accepts


# Longer than any useful timeout or lifetime, and short enough for every clock's arithmetic.
_CENTURY = 3_155_760_000.0


def _is_seconds(value: object) -> bool:
    # Exact types: a bool is an int to `isinstance`. A NaN fails the comparison.
    return (type(value) is int or type(value) is float) and 0 <= value <= _CENTURY


def _string(longest: int, shortest: int = 1) -> Kind:
    return Kind(
        f"a string of {shortest} to {longest:,} characters",
        lambda value: type(value) is str and shortest <= len(value) <= longest,
    )


def _string_list(longest: int) -> Kind:
    return Kind(
        f"a list of at most {longest:,} strings of at most {MAX_NAME} characters",
        lambda value: isinstance(value, list) and len(value) <= longest and all(map(_is_short, value)),  # pyright: ignore[reportUnknownArgumentType] -- the items' type is being checked
    )


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


_INTEGERS = range(-(2**63), 2**64)  # MessagePack's


def is_json(value: object) -> bool:
    """Return whether a message can carry a JSON value: its numbers and strings can be encoded, and it is in bounds.

    Both sides ask this, so that neither sends what the other refuses.
    """
    values = size = 0
    level: list[object] = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        values += len(level)
        size += sum(map(_json_size, level))
        if values > MAX_JSON_VALUES or size > MAX_JSON_SIZE:
            return False
        level = [part for item in level for part in _parts(item)]
        if not level:
            return True
    return False


_TOO_LARGE = MAX_JSON_SIZE + 1


def _json_size(value: object) -> int:
    """Return the bytes of a string, or of a map's names; 0 for another JSON value; too many if it can't be encoded."""
    if isinstance(value, str):
        try:
            return len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError:  # half of a surrogate pair
            return _TOO_LARGE
    if isinstance(value, dict):
        return sum(_json_size(name) if isinstance(name, str) else _TOO_LARGE for name in value)  # pyright: ignore[reportUnknownVariableType] -- the type is asked
    if isinstance(value, int):
        return 0 if value in _INTEGERS else _TOO_LARGE
    if isinstance(value, float):
        return 0 if value - value == 0 else _TOO_LARGE  # it is not zero for an infinity or a NaN
    return 0 if value is None or isinstance(value, (list, tuple)) else _TOO_LARGE


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()  # pyright: ignore[reportUnknownVariableType] -- any values
    return value if isinstance(value, (list, tuple)) else ()  # pyright: ignore[reportUnknownVariableType] -- any items


ACCOUNT = Kind("an account's name, 1 to 64 of A-Z a-z 0-9 . _ -", is_account_name)
NAME = _string(MAX_NAME)
AUDIENCE = _string(MAX_AUDIENCE)
SCOPE = _string(MAX_SCOPE, 0)
TOKEN = _string(MAX_TOKEN)
CHALLENGE = _string(MAX_CHALLENGE)
PASSPHRASE = _string(MAX_PASSPHRASE)
DIRECTORY = Kind(
    f"an absolute path of at most {MAX_DIRECTORY:,} characters",
    lambda value: type(value) is str and value.startswith("/") and len(value) <= MAX_DIRECTORY and "\0" not in value,
)
URL = Kind("a URL of at most 16 KiB", lambda value: type(value) is str and 0 < len(value) <= MAX_URL)
SECONDS = Kind("a number of seconds, 0 or more", _is_seconds)
FLAG = Kind("true or false", lambda value: type(value) is bool)
FIELDS = _string_list(MAX_FIELDS)
ACCOUNTS = _string_list(MAX_ACCOUNTS)
JSON_MAP = Kind(
    f"a map of JSON values, at most {MAX_JSON_DEPTH} levels, {MAX_JSON_VALUES:,} values, {MAX_JSON_SIZE >> 10} KiB",
    lambda value: isinstance(value, dict) and is_json(value),  # pyright: ignore[reportUnknownArgumentType] -- of any names and values
)


def _is_parameter(name: object, value: object) -> bool:
    return NAME.accepts(name) and type(value) is str and len(value) <= MAX_PARAMETER


def _are_parameters(value: object) -> bool:
    if not isinstance(value, dict) or len(value) > MAX_PARAMETERS:  # pyright: ignore[reportUnknownArgumentType] -- any map
        return False
    return all(_is_parameter(name, text) for name, text in value.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- the items' types are being checked


PARAMETERS = Kind(
    f"a map of at most {MAX_PARAMETERS} parameters, to at most {MAX_PARAMETER:,} characters each", _are_parameters
)
FLOW = Kind('"browser" or "device"', lambda value: value in ("browser", "device"))

REFRESH_TIMEOUT = 15.0
LOGIN_TIMEOUT = 600.0
PROFILE_MAX_AGE = 300.0


class Method:
    """One method: its parameters, which of them are required, its result, and how a client may call it.

    `result`: the fields that the result always has; a test checks the agent's results. None: the result is `true`.
    `timeout`: how long the agent waits by default, in seconds.
    `longest`: for a method without a timeout, how long a response may take, in seconds.
    `repeatable`: whether the method is idempotent, so that a client may repeat it after the connection broke.
    """

    __slots__ = ("longest", "parameters", "repeatable", "required", "result", "timeout")

    def __init__(
        self,
        parameters: Mapping[str, Kind],
        *,
        result: tuple[str, ...] | None,
        required: tuple[str, ...] = (),
        timeout: float | None = None,
        longest: float = 10.0,
        repeatable: bool = True,
    ) -> None:
        self.parameters = dict(parameters) if timeout is None else {**parameters, "timeout": SECONDS}
        self.result = result
        self.required = required
        self.timeout = timeout
        self.longest = longest
        self.repeatable = repeatable


_ACCOUNT = {"account": ACCOUNT}
_ACCESS_TOKEN = {**_ACCOUNT, "audience": AUDIENCE, "scope": SCOPE, "only": FLAG}
_TOKEN = ("account", "access_token", "token_type", "expires_at", "scope", "audience", "audience_verified")

# The URL that is called, and the directory where the program runs that calls it.
_PLACE = {"url": URL, "directory": DIRECTORY}

METHODS: dict[str, Method] = {
    "hello": Method({"client": _string(MAX_CLIENT, 0)}, result=("protocol", "version", "features", "pid", "agent_id")),
    "token": Method(
        {**_ACCESS_TOKEN, **_PLACE, "min_ttl": SECONDS, "force": FLAG}, result=_TOKEN, timeout=REFRESH_TIMEOUT
    ),
    "id_token": Method(
        {**_ACCOUNT, **_PLACE, "min_ttl": SECONDS},
        result=("account", "id_token", "expires_at"),
        timeout=REFRESH_TIMEOUT,
    ),
    "rejected": Method(
        {**_ACCESS_TOKEN, **_PLACE, "access_token": TOKEN, "challenge": CHALLENGE},
        required=("access_token",),
        result=_TOKEN,
        timeout=REFRESH_TIMEOUT,
    ),
    "has_valid": Method({**_ACCESS_TOKEN, "min_ttl": SECONDS}, result=("valid", "renewable")),
    "profile": Method(
        {**_ACCOUNT, "max_age": SECONDS},
        result=("account", "claims", "fetched_at", "stale"),
        timeout=REFRESH_TIMEOUT,
    ),
    "user": Method({**_ACCOUNT, "fields": FIELDS}, result=("user",), timeout=REFRESH_TIMEOUT),
    "user_metadata": Method(_ACCOUNT, result=("user_metadata",), timeout=REFRESH_TIMEOUT),
    "update_user_metadata": Method(
        {**_ACCOUNT, "user_metadata": JSON_MAP, "clear": FLAG},
        required=("user_metadata",),
        result=("user_metadata",),
        timeout=REFRESH_TIMEOUT,
        repeatable=False,
    ),
    "status": Method({**_ACCOUNT, "clients": FLAG}, result=("agent", "accounts")),
    "login": Method(
        {**_ACCOUNT, "flow": FLOW, "switch_user": FLAG, "client_secret": TOKEN, "parameters": PARAMETERS},
        required=("flow",),
        result=("login_id", "expires_at"),
        repeatable=False,
        # Requests for the provider's metadata and for a device code, 30 s each.
        longest=70.0,
    ),
    "login_redirect": Method(
        {"login_id": NAME, "url": URL},
        required=("login_id", "url"),
        result=None,
        repeatable=False,
    ),
    "login_result": Method(
        {"login_id": NAME},
        required=("login_id",),
        result=RECORD,
        timeout=LOGIN_TIMEOUT,
        repeatable=False,
    ),
    "login_cancel": Method({"login_id": NAME}, required=("login_id",), result=None, repeatable=False),
    "import": Method(
        {**_ACCOUNT, "refresh_token": TOKEN, "switch_user": FLAG, "client_secret": TOKEN},
        required=("refresh_token",),
        result=RECORD,
        # It uses up the refresh token: a second call would send the same one again.
        repeatable=False,
        # Three attempts of 30 s each, and some.
        longest=120.0,
    ),
    "logout": Method(
        {**_ACCOUNT, "revoke": FLAG, "revoke_shared": FLAG}, result=("revoked",), repeatable=False, longest=60.0
    ),
    "refresh": Method(_ACCOUNT, result=_TOKEN, timeout=REFRESH_TIMEOUT),
    "rename": Method({**_ACCOUNT, "name": ACCOUNT}, required=("name",), result=None, repeatable=False),
    "lock": Method(
        {"passphrase": PASSPHRASE, "keep_alive": FLAG}, result=("pending", "ends"), repeatable=False, longest=120.0
    ),
    # A key derivation, which takes a while on a small machine, after those of others.
    "unlock": Method({"passphrase": PASSPHRASE}, result=("created", "memory", "weak"), longest=120.0),
    "change_passphrase": Method(
        {"passphrase": PASSPHRASE, "new_passphrase": PASSPHRASE},
        required=("passphrase", "new_passphrase"),
        result=("memory", "weak"),
        repeatable=False,
        longest=180.0,
    ),
    "move_store": Method(
        {"store": NAME, "passphrase": PASSPHRASE},
        required=("store",),
        result=("accounts", "left", "deleted"),
        repeatable=False,
        longest=240.0,
    ),
    "adopt": Method({}, result=("accounts",), longest=30.0),
    "reload": Method({}, result=("added", "changed", "removed")),
    "watch": Method({"accounts": ACCOUNTS}, result=("agent_id", "accounts")),
}


def challenge_of(*values: str) -> str | None:
    """Return the values of a WWW-Authenticate as one `challenge`; None if there are none, or it is too long."""
    challenge = ", ".join(values)
    return challenge if CHALLENGE.accepts(challenge) else None


def check(method: str, parameters: Mapping[str, object]) -> Method:
    """Return the method of that name if it accepts the parameters.

    An unknown parameter is an error: if an agent ignored `audience`, the token would be for another API.

    Raises:
        UnknownMethod: there is no such method.
        InvalidRequest: a parameter is unknown, missing or of the wrong kind; the error's `parameter` names it.

    """
    spec = METHODS.get(method)
    if spec is None:
        raise UnknownMethod(f"there is no method {method[:64]!r}")
    for name, value in parameters.items():
        kind = spec.parameters.get(name)
        if kind is None:
            known = ", ".join(spec.parameters) or "none"
            raise InvalidRequest(f"{method} takes no parameter {name[:64]!r}; it takes: {known}", parameter=name[:64])
        if not kind.accepts(value):
            raise InvalidRequest(f"{method}: {name} must be {kind.words}", parameter=name)
    for name in spec.required:
        if name not in parameters:
            raise InvalidRequest(f"{method} needs the parameter {name}", parameter=name)
    return spec
