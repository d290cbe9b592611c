"""The configuration: accounts, the hosts and files that their tokens are for, from a TOML file, as frozen values.

A mistake is an error that names the file, the line and the nearest valid key: a misspelled `audience` that was ignored
would be dangerous, a misspelled `scope` hard to find.
"""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import urlsplit

from auth_agent import remedies
from auth_agent.added_parameters import problem_of_authorize, problem_of_headers, problem_of_token_request
from auth_agent.config_path import config_path as config_path  # noqa: PLC0414 -- named again: for who imports it from here
from auth_agent.errors import ConfigError
from auth_agent.grant_type import AUTHORIZATION_CODE, GRANT_TYPES, GrantType
from auth_agent.hosts import HostError, HostRule, Place, read_key
from auth_agent.printable import printable
from auth_agent.proxies import ProxyError, parse_proxy
from auth_agent.signing_algorithms import SIGNING_ALGORITHMS
from auth_agent.token_files import ACCESS, ID, KINDS, OWNER_ONLY, TokenFile, read_mode, read_path
from auth_agent.token_type import is_scheme
from auth_agent.urls import check_issuer, check_url
from auth_agent_client.messages import is_account_name

# Three, since Auth0 requires each callback URL to be registered with its port, and one may be in use.
DEFAULT_REDIRECT_PORTS: Final = (48631, 48632, 48633)
DEFAULT_REDIRECT_HOST: Final = "127.0.0.1"
DEFAULT_REDIRECT_PATH: Final = "/callback"
# Where a browser finds this machine (RFC 8252, section 7.3); some providers register only the second one (section 8.3).
REDIRECT_HOSTS: Final = (DEFAULT_REDIRECT_HOST, "localhost", "[::1]")
# Client authentication at the token endpoint: OpenID Connect Core 1.0, section 9.
_BY_CERTIFICATE: Final = ("tls_client_auth", "self_signed_tls_client_auth")  # RFC 8705, section 2
TOKEN_ENDPOINT_AUTH_METHODS: Final = ("none", "client_secret_basic", "client_secret_post", *_BY_CERTIFICATE)
# Refreshes for other scopes or APIs than the session's: see sessions/side_requests.py.
ALLOW: Final = "allow"
SIDE_REQUESTS: Final = (ALLOW, "refuse")
# The endpoints that an account may name, by their names in a provider's metadata. The first three receive the client's
# secret and the refresh token.
_SECRET_ENDPOINTS: Final = ("token_endpoint", "revocation_endpoint", "device_authorization_endpoint")
_ENDPOINTS: Final = ("authorization_endpoint", *_SECRET_ENDPOINTS, "userinfo_endpoint", "jwks_uri")
_MAX_PORT: Final = 65_535
_Value = TypeVar("_Value")


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Account:
    """One account: a provider, and a client there.

    `token_endpoint_auth_method` is one of TOKEN_ENDPOINT_AUTH_METHODS; None: by the provider's metadata.
    The endpoints and `jwks_uri` come before those of the provider's metadata. `id_token_signed_response_alg` is the one
    algorithm that signs this client's ID tokens; None: one of the provider's keys signs them.
    `side_requests` is one of SIDE_REQUESTS, whether the refresh token may get tokens for other scopes or APIs than the
    session's; None: where the provider is known, or shown, to keep the refresh token as it is.
    `refresh_ends_access_token`: whether a refresh ends the access token from before; None: if the provider is known, or
    proven, to do that.
    `ca_file` has certificates that this account's provider may have, too. `client_certificate` and `client_key` are the
    client's own. All three are absolute paths of PEM files.
    `token_parameters` and `token_headers` are added to token requests.
    `require_claims` are those that each ID token must have.
    `token_type` is the provider's word for its access tokens, with which APIs take them; None: Bearer.
    `management_account` names the account whose tokens are for the provider's Management API; None: this one.
    `management_audience` is that API's audience, needed if the issuer is a custom domain.
    """

    name: str
    issuer: str
    client_id: str
    default: bool = False
    audience: str | None = None
    scope: str = AUTHORIZATION_CODE.default_scope
    redirect_ports: tuple[int, ...] = DEFAULT_REDIRECT_PORTS
    redirect_host: str = DEFAULT_REDIRECT_HOST
    redirect_path: str = DEFAULT_REDIRECT_PATH
    proxy: str | None = field(default=None, repr=False)  # a URL that may contain a password
    authorize: Mapping[str, str] = field(default_factory=_nothing)
    token_parameters: Mapping[str, str] = field(default_factory=_nothing)
    token_headers: Mapping[str, str] = field(default_factory=_nothing)
    grant_type: GrantType = field(default=AUTHORIZATION_CODE, metadata={"key": "grant"})
    token_endpoint_auth_method: str | None = None
    management_account: str | None = None
    management_audience: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    id_token_signed_response_alg: str | None = None
    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    side_requests: str | None = None
    token_type: str | None = None
    require_claims: Mapping[str, str | int | bool] = field(default_factory=dict[str, str | int | bool])
    refresh_ends_access_token: bool | None = None
    # Whether the file has `scope`; it is not a key itself.
    names_scope: bool = field(default=False, repr=False, metadata={"key": None})

    @property
    def endpoints(self) -> dict[str, str]:
        """The endpoints that the account names, by their names in a provider's metadata."""
        named = ((name, getattr(self, name)) for name in _ENDPOINTS)
        return {name: url for name, url in named if url is not None}

    @property
    def has_id_tokens(self) -> bool:
        """Whether the provider may issue ID tokens; by hand, nothing but its keys says so."""
        return self.token_endpoint is None or self.jwks_uri is not None or self.id_token_signed_response_alg is not None

    @property
    def has_default_scope(self) -> bool:
        """Whether the scope is the default one because the file has none."""
        return not self.names_scope and self.scope == self.grant_type.default_scope

    @property
    def host(self) -> str:
        """The host of the provider, with its port if it has one."""
        return urlsplit(self.issuer).netloc


@dataclass(frozen=True, slots=True)
class Notify:
    """How a person is notified that an account needs a login.

    `command`: the user's own command and its arguments, in place of the desktop's notification; empty: there is none.
    `desktop`: whether the desktop shows a notification.
    """

    desktop: bool = True
    command: tuple[str, ...] = ()


_TABLES: Final = ("accounts", "hosts", "files", "notify")
_NOTIFY_KEYS: Final = ("command", "desktop")
_HOST_KEYS: Final = ("account", "audience", "scope", "username", "directory")
_FILE_KEYS: Final = ("account", "kind", "audience", "scope", "mode", "command")
_OF_ACCESS_TOKENS: Final = ("audience", "scope")
# The keys of an account's table.
ACCOUNT_KEYS: Final[tuple[str, ...]] = tuple(
    key for one in fields(Account) if (key := one.metadata.get("key", one.name)) not in (None, "name")
)


def _no_accounts() -> Mapping[str, Account]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Config:
    """All accounts, by name in the file's order, the rules for hosts and files, how to notify, and where they are from.

    `digest` is the SHA-256 of the file's content, in hexadecimal; "" if it is missing, or not read from a file.
    """

    path: Path
    accounts: Mapping[str, Account] = field(default_factory=_no_accounts)
    hosts: tuple[HostRule, ...] = ()
    files: tuple[TokenFile, ...] = ()
    notify: Notify = Notify()
    digest: str = field(default="", compare=False)

    def hosts_of(self, account: str) -> tuple[HostRule, ...]:
        """Return the rules that name that account."""
        return tuple(rule for rule in self.hosts if rule.account == account)

    def files_of(self, account: str) -> tuple[TokenFile, ...]:
        """Return the files that hold a token of that account."""
        return self._files_by_account.get(account, ())

    def file_at(self, path: str) -> TokenFile | None:
        """Return what the file at that absolute path is to hold; None if it is not the agent's."""
        return self._files_by_path.get(path)

    @cached_property
    def _files_by_account(self) -> Mapping[str, tuple[TokenFile, ...]]:
        files: dict[str, tuple[TokenFile, ...]] = {}
        for file in self.files:
            files[file.account] = (*files.get(file.account, ()), file)
        return files

    @cached_property
    def _files_by_path(self) -> Mapping[str, TokenFile]:
        return {file.path: file for file in reversed(self.files)}

    @cached_property
    def default(self) -> Account | None:
        """The account used if none is named: the one with `default`, or the only one; else None.

        An account that serves as another's `management_account` doesn't count as a second one.
        """
        accounts = self.accounts.values()
        marked = next((account for account in accounts if account.default), None)
        if marked is not None:
            return marked
        serving = {account.management_account for account in accounts if account.management_account != account.name}
        others = [account for account in accounts if account.name not in serving]
        return others[0] if len(others) == 1 else None

    def managed_by(self, account: str) -> tuple[str, ...]:
        """Return the names of the other accounts whose `management_account` is that one."""
        return tuple(
            other.name
            for other in self.accounts.values()
            if other.management_account == account and other.name != account
        )

    @property
    def which_account(self) -> str:
        """What an error says if no account is named and there is no default."""
        return f"which account? there is no default among: {', '.join(self.accounts)}"

    @property
    def first(self) -> str:
        """The name of the first account, to be proposed as the default; "" if there is none."""
        return next(iter(self.accounts), "")


def default_to_mark(before: Config, after: Config) -> str | None:
    """Return the account to mark with `default`, so that a change of the file doesn't take it away silently.

    It is the account that was the default without being marked, if the change leaves none or implies another. None: the
    default stays the same, or the change itself marks one or removes the account.
    """
    default = before.default
    if default is None or default.default or default.name not in after.accounts:
        return None
    if any(account.default for account in after.accounts.values()):
        return None
    return None if after.default is not None and after.default.name == default.name else default.name


def load(path: Path) -> Config:
    """Read the file; a missing file has no accounts.

    Raises:
        ConfigError: the file can't be read, or is invalid.

    """
    try:
        # Reading a pipe would block the agent.
        if stat.S_ISFIFO(path.stat().st_mode):
            raise ConfigError(f"{path} is a pipe; write the configuration in a file")
        content = path.read_bytes()  # not `read_text`, which would convert line ends
        text = content.decode()
    except FileNotFoundError:
        return Config(path)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", *remedies.for_file(error, path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} can't be read: it is not UTF-8") from error
    return replace(parse(path, text), digest=sha256(content).hexdigest())


def parse(path: Path, text: str) -> Config:
    """Parse the text of that file.

    Raises:
        ConfigError: the text is invalid.

    """
    return _Reader(path, text).config(read_toml(path, text))


def read_toml(path: Path, text: str) -> dict[str, object]:
    """Parse the text of that file as TOML, without checking the values.

    Raises:
        ConfigError: it is not valid TOML.

    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for a number or a nesting beyond Python's limits
        raise ConfigError(f"{path}: {error}") from error


def check(path: Path, tables: Mapping[str, object]) -> Config:
    """Check the tables that are to be written to that file; an error names no line.

    Raises:
        ConfigError: a value is invalid.

    """
    return _Reader(path, "").config(tables)


class _Reader:
    """Turns TOML's tables into a `Config`, and mistakes into errors that name the line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.split("\n")  # TOML's line end; `splitlines` splits at others too

    def config(self, tables: Mapping[str, object]) -> Config:
        for key in tables:
            if key not in _TABLES:
                raise self._unknown((key,), list(_TABLES))
        accounts_table = tables.get("accounts", {})
        accounts = {
            name: self._account(name, table) for name, table in self._table(("accounts",), accounts_table).items()
        }
        defaults = [name for name, account in accounts.items() if account.default]
        if len(defaults) > 1:
            raise self._wrong(
                ("accounts", defaults[1], "default"), f"{defaults[0]} is the default account already; there can be one"
            )
        hosts, files = self._hosts(tables.get("hosts", {}), accounts), self._files(tables.get("files", {}), accounts)
        return Config(self._path, MappingProxyType(accounts), hosts, files, self._notify(tables.get("notify", {})))

    def _account(self, name: str, value: object) -> Account:
        at = ("accounts", name)
        if not is_account_name(name):
            raise self._wrong(at, f"{name!r} can't be an account's name: 1 to 64 of A-Z a-z 0-9 . _ -")
        table = self._table(at, value)
        for key in table:
            if key not in ACCOUNT_KEYS:
                raise self._unknown((*at, key), list(ACCOUNT_KEYS))
        for key in ("issuer", "client_id"):
            if key not in table:
                raise self._wrong(at, f"{key} is missing")

        def read(key: str, reader: Callable[[object], _Value], default: _Value) -> _Value:
            return self._read(at, table, key, reader, default)

        grant_type = GRANT_TYPES[read("grant", _one_of(*GRANT_TYPES), AUTHORIZATION_CODE.name)]
        method = read("token_endpoint_auth_method", _one_of(*TOKEN_ENDPOINT_AUTH_METHODS), None)
        self._check_grant(at, table, grant_type)
        certificate, client_key = read("client_certificate", self._file, None), read("client_key", self._file, None)
        for key, needs in (
            ("client_key", client_key is not None),
            ("token_endpoint_auth_method", method in _BY_CERTIFICATE),
        ):
            if needs and certificate is None:
                raise self._wrong((*at, key), "needs a client_certificate, which is missing")
        issuer = read("issuer", _issuer, "")
        endpoints = {key: read(key, _endpoint(issuer, own_host=key in _SECRET_ENDPOINTS), None) for key in _ENDPOINTS}
        return Account(
            name=name,
            issuer=issuer,
            client_id=read("client_id", _string, ""),
            default=read("default", _boolean, False),
            audience=read("audience", _optional_string, None),
            scope=read("scope", _scope, grant_type.default_scope),
            redirect_ports=read("redirect_ports", _redirect_ports, DEFAULT_REDIRECT_PORTS),
            redirect_host=read("redirect_host", _one_of(*REDIRECT_HOSTS), DEFAULT_REDIRECT_HOST),
            redirect_path=read("redirect_path", _redirect_path, DEFAULT_REDIRECT_PATH),
            proxy=read("proxy", _proxy, None),
            authorize=read("authorize", _strings(problem_of_authorize), _nothing()),
            token_parameters=read("token_parameters", _strings(problem_of_token_request), _nothing()),
            token_headers=read("token_headers", _strings(problem_of_headers), _nothing()),
            grant_type=grant_type,
            token_endpoint_auth_method=method,
            management_account=read("management_account", _account_name, None),
            management_audience=read("management_audience", _api_url, None),
            **endpoints,
            id_token_signed_response_alg=read("id_token_signed_response_alg", _one_of(*SIGNING_ALGORITHMS), None),
            token_type=read("token_type", _scheme, None),
            require_claims=read("require_claims", _claims, {}),
            side_requests=read("side_requests", _one_of(*SIDE_REQUESTS), None),
            refresh_ends_access_token=read("refresh_ends_access_token", _optional_boolean, None),
            ca_file=read("ca_file", self._file, None),
            client_certificate=certificate,
            client_key=client_key,
            names_scope="scope" in table,
        )

    def _file(self, value: object) -> str:
        """Return an absolute path; a relative one is beside this file."""
        return str(self._path.absolute().parent / _expanded(value))

    def _check_grant(self, at: tuple[str, ...], table: Mapping[str, object], grant_type: GrantType) -> None:
        """Raise a `ConfigError` if a key doesn't go with the grant."""
        problems = {
            "token_endpoint_auth_method": "can't be none with grant = {}, where the client has a secret"
            if grant_type.needs_secret and table.get("token_endpoint_auth_method") == "none"
            else None,
            "require_claims": "can't be with grant = {}, which has no ID token" if not grant_type.has_user else None,
        }
        for key, problem in problems.items():
            if key in table and problem is not None:
                raise self._wrong((*at, key), problem.format(grant_type.name))

    def _notify(self, value: object) -> Notify:
        at = ("notify",)
        table = self._table(at, value)
        for key in table:
            if key not in _NOTIFY_KEYS:
                raise self._unknown((*at, key), list(_NOTIFY_KEYS))
        return Notify(
            desktop=self._read(at, table, "desktop", _boolean, True),
            command=self._read(at, table, "command", _command, ()),
        )

    def _read(
        self,
        at: tuple[str, ...],
        table: Mapping[str, object],
        key: str,
        reader: Callable[[object], _Value],
        default: _Value,
    ) -> _Value:
        try:
            return reader(table[key]) if key in table else default
        except ValueError as error:
            raise self._wrong((*at, key), str(error)) from error

    def _hosts(self, value: object, accounts: Mapping[str, Account]) -> tuple[HostRule, ...]:
        rules: dict[tuple[Place, str | None], HostRule] = {}
        for key, one in self._table(("hosts",), value).items():
            # Several rules for one host: [[hosts."git.example.com"]].
            tables: list[object] = one if isinstance(one, list) else [one]  # pyright: ignore[reportUnknownVariableType] -- TOML's
            for table in tables:
                rule = self._host_rule(key, table, accounts)
                other = rules.setdefault((rule.place, rule.directory), rule)
                if other is not rule:
                    where = "the same URLs" if rule.directory is None else "the same URLs in the same directory"
                    raise self._wrong(("hosts", key), f"is for {where} as {printable(other.key)}; there can be one")
        return tuple(rules.values())

    def _host_rule(self, name: str, value: object, accounts: Mapping[str, Account]) -> HostRule:
        at = ("hosts", name)
        try:
            place = read_key(name)
        except HostError as error:
            raise self._wrong(at, f"can't be a host, with a port and a path where they matter: {error}") from error
        table = self._table(at, value)
        for key, one in table.items():
            if key not in _HOST_KEYS and isinstance(one, dict):
                raise self._wrong(at, f'a host must be in quotes: [hosts."{printable(name)}.{printable(key)}"]')
            if key not in _HOST_KEYS:
                raise self._unknown((*at, key), list(_HOST_KEYS))
        if "account" not in table:
            raise self._wrong(at, "account is missing")
        strings: dict[str, str] = {}
        for key, one in table.items():
            try:
                strings[key] = _HOST_READERS.get(key, _string)(one)
            except ValueError as error:
                raise self._wrong((*at, key), str(error)) from error
        if strings["account"] not in accounts:
            raise self._wrong((*at, "account"), f"there is no account {strings['account']} in this file")
        return HostRule(name, place, **strings)

    def _files(self, value: object, accounts: Mapping[str, Account]) -> tuple[TokenFile, ...]:
        files: dict[str, TokenFile] = {}
        for key, table in self._table(("files",), value).items():
            file = self._token_file(key, table, accounts)
            other = files.setdefault(file.path, file)
            if other is not file:
                raise self._wrong(("files", key), f"is the same file as {printable(other.key)}; there can be one")
        return tuple(files.values())

    def _token_file(self, name: str, value: object, accounts: Mapping[str, Account]) -> TokenFile:
        at = ("files", name)
        try:
            path = read_path(name)
        except ValueError as error:
            raise self._wrong(at, str(error)) from error
        table = self._table(at, value)
        for key, one in table.items():
            if key not in _FILE_KEYS and isinstance(one, dict):
                raise self._wrong(at, f'a path must be in quotes: [files."{printable(name)}.{printable(key)}"]')
            if key not in _FILE_KEYS:
                raise self._unknown((*at, key), list(_FILE_KEYS))
        if "account" not in table:
            raise self._wrong(at, "account is missing")

        def read(key: str, reader: Callable[[object], _Value], default: _Value) -> _Value:
            return self._read(at, table, key, reader, default)

        account, kind = read("account", _string, ""), read("kind", _one_of(*KINDS), ACCESS)
        if account not in accounts:
            raise self._wrong((*at, "account"), f"there is no account {account} in this file")
        for key in _OF_ACCESS_TOKENS:
            if kind == ID and key in table:
                raise self._wrong((*at, key), f'can\'t be with kind = "{ID}": it is of access tokens')
        return TokenFile(
            key=name,
            path=path,
            account=account,
            kind=kind,
            audience=read("audience", _optional_string, None),
            scope=read("scope", _scope, None),
            mode=read("mode", read_mode, OWNER_ONLY),
            command=read("command", _command, ()),
        )

    def _table(self, at: tuple[str, ...], value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self._wrong(at, "must be a table")
        return value  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are strings

    def _unknown(self, at: tuple[str, ...], known: list[str]) -> ConfigError:
        if at[-1] == "client_secret":
            return self._wrong(at, "a client secret must not be in this file: the agent stores it; remove it here")
        near = difflib.get_close_matches(at[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"
        return self._wrong(at, f"unknown key; {hint}")

    def _wrong(self, at: tuple[str, ...], what: str) -> ConfigError:
        line = self._line(at)
        where = f"{self._path}:{line}" if line else str(self._path)
        return ConfigError(f"{where}: {printable('.'.join(at))}: {what}")

    def _line(self, at: tuple[str, ...]) -> int | None:
        """Return the line of a key or a table, which tomllib doesn't tell; None if it is written in a rare form.

        It is the first line whose header or key has the longest common beginning with the path.
        """
        best, depth = None, 0
        table: tuple[str, ...] = ()
        for number, line in enumerate(self._lines, 1):
            if header := _HEADER.match(line):
                table = named = _parts(header[1])
            elif key := _KEY.match(line):
                named = (*table, *_parts(key[1]))
            else:
                continue
            same = [one == other for one, other in zip(named, at, strict=False)]
            shared = [*same, False].index(False)
            if shared > depth:
                best, depth = number, shared
        return best


# Each pattern matches a piece of a key in one way only, so that another line is rejected in one pass.
_PIECE = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_PIECE}(?:\s*\.\s*{_PIECE})*"
_HEADER = re.compile(rf"\s*\[+\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


# The characters of a path (RFC 3986, section 3.3).
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*){1,50}")


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(piece.strip("\"'") for piece in re.findall(_PIECE, dotted))


# ---- one reader per key: returns the value, or raises a ValueError that says what it must be


def _string(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("must be a non-empty string without control characters")
    return value


def _optional_string(value: object) -> str | None:
    return _string(value)


def _issuer(value: object) -> str:
    issuer = _string(value)
    check_issuer(issuer)
    return issuer


def _endpoint(issuer: str, *, own_host: bool) -> Callable[[object], str]:
    """Return the reader of an endpoint; `own_host`: it must be at the issuer's host.

    A session belongs to its issuer. If its refresh token could be sent to another host by a change of the configuration
    alone, whoever may write the file could have it.
    """

    def read(value: object) -> str:
        url = _string(value)
        parts = check_url(url, issuer)
        if parts.fragment:
            raise ValueError("must be a URL without a fragment")
        if own_host and parts.netloc.lower() != urlsplit(issuer).netloc.lower():
            raise ValueError(f"must be at the issuer's host, {urlsplit(issuer).netloc}, to which the session belongs")
        return url

    return read


def _account_name(value: object) -> str:
    if not is_account_name(value):
        raise ValueError("must be the name of an account")
    return str(value)


def _api_url(value: object) -> str:
    url = _string(value)
    parts = check_url(url)
    if parts.query or parts.fragment or not parts.path.endswith("/"):
        raise ValueError("must be the API's URL with a slash at its end, such as https://acme.eu.auth0.com/api/v2/")
    return url


def _scope(value: object) -> str:
    return " ".join(_string(value).split())


def _scheme(value: object) -> str:
    if not is_scheme(value):
        raise ValueError("must be a word such as Bearer")
    return value


def _one_of(*known: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in known:
            raise ValueError(f"must be one of: {', '.join(known)}")
        return str(value)

    return read


def _username(value: object) -> str:
    name = _string(value)
    if ":" in name:
        raise ValueError("can't have a colon, which ends the user name in HTTP Basic authentication")
    return name


def _expanded(value: object) -> Path:
    """Return a path with the home directory in place of a `~`."""
    try:
        return Path(_string(value)).expanduser()
    except RuntimeError as error:
        raise ValueError("begins with the home directory of an unknown user") from error


def _directory(value: object) -> str:
    """Return the real path of a directory, whose programs tell theirs without links as well."""
    path = _expanded(value)
    if not path.is_absolute():
        raise ValueError("must be the absolute path of a directory, or begin with ~/")
    return os.path.realpath(path)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 -- a mistake in a file, which the caller turns into one error
    return value


def _optional_boolean(value: object) -> bool | None:
    return _boolean(value)


def _command(value: object) -> tuple[str, ...]:
    words: list[object] = value if isinstance(value, list) else [None]  # pyright: ignore[reportUnknownVariableType] -- TOML's
    strings = tuple(word for word in words if isinstance(word, str) and "\0" not in word)
    if len(strings) != len(words) or not strings or not strings[0]:
        raise ValueError('must be a list of strings, the program first, such as ["notify-me", "--urgent"]')
    return strings


def _redirect_ports(value: object) -> tuple[int, ...]:
    ports: list[object] = value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- TOML's
    numbers = tuple(port for port in ports if isinstance(port, int) and not isinstance(port, bool))
    if not numbers or len(numbers) != len(ports) or not all(0 <= port <= _MAX_PORT for port in numbers):
        raise ValueError("must be a list of ports, 0 to 65535, at least one; 0 stands for any that is free")
    return numbers


def _redirect_path(value: object) -> str:
    path = value if isinstance(value, str) else "."
    if path and (not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/"))):  # a browser removes the dots
        raise ValueError('must be the path of the redirect URI, such as /callback, or "" if it has none')
    return path


def _proxy(value: object) -> str | None:
    url = _string(value)
    try:
        parse_proxy(url)
    except ProxyError:
        url = ""
    if "://" not in url:  # in a variable the scheme may be left out; here it may be a word such as "none"
        raise ValueError(
            "must be the URL of an http, https, socks5 or socks5h proxy, such as http://proxy.example:3128"
        )
    return url


def _claims(value: object) -> Mapping[str, str | int | bool]:
    table: dict[str, object] = value if isinstance(value, dict) else {"": None}  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are strings
    claims = {name: item for name, item in table.items() if isinstance(item, str | int)}
    if len(claims) != len(table):
        raise ValueError('must be a table of strings, whole numbers, true or false, such as { org_id = "org_1" }')
    return MappingProxyType(claims)


def _strings(problem_of: Callable[[Mapping[str, str]], str | None]) -> Callable[[object], Mapping[str, str]]:
    def read(value: object) -> Mapping[str, str]:
        table: dict[str, object] = value if isinstance(value, dict) else {"": None}  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are strings
        strings = {name: item for name, item in table.items() if isinstance(item, str)}
        if len(strings) != len(table):
            raise ValueError('must be a table of strings, such as { prompt = "login" }')
        problem = problem_of(strings)
        if problem is not None:
            raise ValueError(problem)
        return MappingProxyType(strings)

    return read


_HOST_READERS: Final[Mapping[str, Callable[[object], str]]] = {
    "scope": _scope,
    "username": _username,
    "directory": _directory,
}
