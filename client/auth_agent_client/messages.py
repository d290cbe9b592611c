"""The vocabulary of the protocol: methods, their parameters and results, and how they are checked.

Written once, for both sides. Imported by programs that must start fast, so: no typing, no dataclasses, no re.
"""

from collections.abc import Callable, Mapping

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

# What kind of failure an error, or a session's trouble, is. Programs may decide by it; more words may come.
FAILURES = (
    "unreachable",  # the provider can't be reached, or its reply was lost
    "busy",  # the provider has trouble, or was asked too often
    "refused",  # the provider, or an API, doesn't allow this
    "misconfigured",  # the account, or the client at the provider, must be corrected
    "invalid_response",  # the provider sent what must not be used
    "reauthentication_required",  # a person has to log in again
    "session_expired",  # the session has reached its end
    "narrowed",  # the provider took scopes from the session
    "wrong_user",  # it is another user's
    "account_changed",  # the configuration says otherwise since the login, or has no such account any more
    "clock",  # this machine's clock is wrong
    "locked",  # the store waits for a person
    "store_failed",  # the store can't be read or written
    "cancelled",  # whoever asked called it off, something newer took its place, or nobody logged in in time
    "unsupported",  # this agent, or this provider, doesn't do that
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
    "session_ends_at",
    "epoch",
    "revision",
)

_NAME_LENGTH = 64
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def is_account_name(value: object) -> bool:
    """Whether a value may be an account's name: `[A-Za-z0-9._-]{1,64}`."""
    return isinstance(value, str) and 0 < len(value) <= _NAME_LENGTH and _NAME_LETTERS.issuperset(value)


# Longer than any that a server takes: most stop at 8 KiB.
_URL_LENGTH = 16_384


class Kind:
    """What values a parameter takes: a test, and the words for it."""

    __slots__ = ("accepts", "words")

    def __init__(self, words: str, accepts: Callable[[object], bool]) -> None:
        self.words = words
        self.accepts = accepts


# Longer than any timeout or lifetime that means something, and short enough for every clock's arithmetic.
_CENTURY = 3_155_760_000.0


def _is_seconds(value: object) -> bool:
    # Exact types: a bool is an int to `isinstance`. A NaN fails the comparison.
    return (type(value) is int or type(value) is float) and 0 <= value <= _CENTURY


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)  # pyright: ignore[reportUnknownVariableType] -- an item's type is what is asked


# Deep enough for what applications keep, and half of what a message may be.
_DEEPEST = 16
_INTEGERS = range(-(2**63), 2**64)  # MessagePack's


def _is_json(value: object, levels: int = _DEEPEST) -> bool:
    """Whether JSON and the wire both have it: no NaN, no bytes, no key but a text."""
    if value is None or isinstance(value, (str, bool)):
        return True
    if isinstance(value, int):
        return value in _INTEGERS
    if isinstance(value, float):
        return value - value == 0  # of an infinity, or of what is no number, that is no number
    if isinstance(value, (list, tuple)):
        return levels > 0 and all(_is_json(item, levels - 1) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- an item's type is what is asked
    return levels > 0 and _is_json_map(value, levels)


def _is_json_map(value: object, levels: int = _DEEPEST) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and _is_json(item, levels - 1)  # pyright: ignore[reportUnknownArgumentType] -- as above
        for name, item in value.items()  # pyright: ignore[reportUnknownVariableType] -- as above
    )


ACCOUNT = Kind("an account's name, 1 to 64 of A-Z a-z 0-9 . _ -", is_account_name)
TEXT = Kind("a text", lambda value: type(value) is str)
FULL_TEXT = Kind("a text that is not empty", lambda value: type(value) is str and value != "")
URL = Kind("a URL of at most 16 KiB", lambda value: type(value) is str and 0 < len(value) <= _URL_LENGTH)
SECONDS = Kind("a number of seconds, 0 or more", _is_seconds)
FLAG = Kind("true or false", lambda value: type(value) is bool)
TEXTS = Kind("a list of texts", _is_texts)
JSON_MAP = Kind("a map of texts to what JSON can hold, nested 16 deep at most", _is_json_map)
FLOW = Kind('"browser" or "device"', lambda value: value in ("browser", "device"))

REFRESH_TIMEOUT = 15.0
LOGIN_TIMEOUT = 600.0
PROFILE_MAX_AGE = 300.0


class Method:
    """One method: its parameters, which of them it needs, what its result always has, and how it may be called.

    `result`: names of fields, for whoever reads this; a test holds the agent to it. None: it answers `true`.
    `timeout`: how long it waits by default, in seconds, when the request doesn't say.
    `longest`: for a method without a timeout, how long an answer may take, in seconds.
    `repeatable`: whether asking a second time does no more than asking once, so that a client may repeat it
    when the connection broke.
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


_WHO = {"account": ACCOUNT}
_WHAT = {**_WHO, "audience": FULL_TEXT, "scope": TEXT}
_TOKEN = ("account", "access_token", "token_type", "expires_at", "scope", "audience")

METHODS: dict[str, Method] = {
    "hello": Method({"client": TEXT}, result=("protocol", "version", "features", "pid", "agent_id")),
    "token": Method({**_WHAT, "url": URL, "min_ttl": SECONDS, "force": FLAG}, result=_TOKEN, timeout=REFRESH_TIMEOUT),
    "id_token": Method(
        {**_WHO, "min_ttl": SECONDS}, result=("account", "id_token", "expires_at"), timeout=REFRESH_TIMEOUT
    ),
    "rejected": Method(
        {**_WHAT, "access_token": FULL_TEXT},
        required=("access_token",),
        result=_TOKEN,
        timeout=REFRESH_TIMEOUT,
    ),
    "has_valid": Method({**_WHAT, "min_ttl": SECONDS}, result=("valid", "renewable")),
    "profile": Method(
        {**_WHO, "max_age": SECONDS},
        result=("account", "claims", "fetched_at", "stale"),
        timeout=REFRESH_TIMEOUT,
    ),
    "user": Method({**_WHO, "fields": TEXTS}, result=("user",), timeout=REFRESH_TIMEOUT),
    "user_metadata": Method(_WHO, result=("user_metadata",), timeout=REFRESH_TIMEOUT),
    "update_user_metadata": Method(
        {**_WHO, "user_metadata": JSON_MAP, "clear": FLAG},
        required=("user_metadata",),
        result=("user_metadata",),
        timeout=REFRESH_TIMEOUT,
        repeatable=False,
    ),
    "status": Method({**_WHO, "clients": FLAG}, result=("agent", "accounts")),
    "login": Method(
        {**_WHO, "flow": FLOW, "switch_user": FLAG, "client_secret": FULL_TEXT},
        required=("flow",),
        result=("login_id", "expires_at"),
        repeatable=False,
        # The provider's metadata and a device's code, 30 s each.
        longest=70.0,
    ),
    "login_redirect": Method(
        {"login_id": FULL_TEXT, "url": FULL_TEXT}, required=("login_id", "url"), result=None, repeatable=False
    ),
    "login_result": Method(
        {"login_id": FULL_TEXT},
        required=("login_id",),
        result=RECORD,
        timeout=LOGIN_TIMEOUT,
        repeatable=False,
    ),
    "login_cancel": Method({"login_id": FULL_TEXT}, required=("login_id",), result=None, repeatable=False),
    "import": Method(
        {**_WHO, "refresh_token": FULL_TEXT, "switch_user": FLAG, "client_secret": FULL_TEXT},
        required=("refresh_token",),
        result=RECORD,
        # A refresh token is used up by it: asked twice, it would present the same one twice.
        repeatable=False,
        # Three attempts of the provider's 30 s, and some.
        longest=120.0,
    ),
    "logout": Method(
        {**_WHO, "revoke": FLAG, "revoke_shared": FLAG}, result=("revoked",), repeatable=False, longest=60.0
    ),
    "refresh": Method(_WHO, result=_TOKEN, timeout=REFRESH_TIMEOUT),
    "reload": Method({}, result=("added", "changed", "removed")),
    "watch": Method({"accounts": TEXTS}, result=("agent_id", "accounts")),
}


def check(method: str, parameters: Mapping[str, object]) -> Method:
    """The method of that name, when the parameters are what it takes.

    An unknown parameter is an error: a request whose `audience` was ignored would be answered wrongly.

    Raises:
        UnknownMethod: there is no such method.
        InvalidRequest: a parameter is unknown, missing or of the wrong kind; the error names it.

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
