"""The configuration: accounts from a TOML file, as frozen values.

A mistake is an error that names the file, the line and the nearest right word: an ignored `audience` would be
dangerous, an ignored `scope` a riddle.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import platformdirs

from auth_agent.errors import ConfigError
from auth_agent.oauth.discovery import DiscoveryError, check_issuer
from auth_agent_client.messages import is_account_name

DEFAULT_SCOPE: Final = "openid profile email offline_access"
# Three, since Auth0 wants each callback address registered, port and all, and one may be taken.
DEFAULT_REDIRECT_PORTS: Final = (48631, 48632, 48633)
_MAX_PORT: Final = 65_535


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Account:
    """One account: which provider, and as which client."""

    name: str
    issuer: str
    client_id: str
    default: bool = False
    audience: str | None = None
    scope: str = DEFAULT_SCOPE
    redirect_ports: tuple[int, ...] = DEFAULT_REDIRECT_PORTS
    proxy: str | None = field(default=None, repr=False)  # an address that may hold a password
    authorize: Mapping[str, str] = field(default_factory=_nothing)


def _no_accounts() -> Mapping[str, Account]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Config:
    """All accounts, by name in the file's order, and where they were read from."""

    path: Path
    accounts: Mapping[str, Account] = field(default_factory=_no_accounts)

    @property
    def default(self) -> Account | None:
        """The account that may be left out: the one marked so, or the only one."""
        if len(self.accounts) == 1:
            return next(iter(self.accounts.values()))
        return next((account for account in self.accounts.values() if account.default), None)


def config_path() -> Path:
    """`$AUTH_AGENT_CONFIG`, else `auth-agent/config.toml` where the platform keeps a user's configuration."""
    chosen = os.environ.get("AUTH_AGENT_CONFIG")
    return Path(chosen) if chosen else platformdirs.user_config_path("auth-agent") / "config.toml"


def load(path: Path) -> Config:
    """Read the file; one that isn't there has no accounts.

    Raises:
        ConfigError: the file can't be read, or something in it is wrong.

    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Config(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    return _Reader(path, text).config(tables)


class _Reader:
    """Turns TOML's tables into values, and mistakes into errors that say where."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def config(self, tables: Mapping[str, object]) -> Config:
        for key in tables:
            if key != "accounts":
                raise self._unknown((key,), ["accounts"])
        named = tables.get("accounts", {})
        accounts = {name: self._account(name, table) for name, table in self._table(("accounts",), named).items()}
        defaults = [name for name, account in accounts.items() if account.default]
        if len(defaults) > 1:
            raise self._wrong(
                ("accounts", defaults[1], "default"), f"{defaults[0]} is the default account already; there can be one"
            )
        return Config(self._path, MappingProxyType(accounts))

    def _account(self, name: str, value: object) -> Account:
        at = ("accounts", name)
        if not is_account_name(name):
            raise self._wrong(at, f"{name!r} can't be an account's name: 1 to 64 of A-Z a-z 0-9 . _ -")
        table = self._table(at, value)
        for key in table:
            if key not in _READERS:
                raise self._unknown((*at, key), list(_READERS))
        for key in ("issuer", "client_id"):
            if key not in table:
                raise self._wrong(at, f"{key} is missing")
        read: dict[str, object] = {}
        for key, item in table.items():
            try:
                read[key] = _READERS[key](item)
            except ValueError as error:
                raise self._wrong((*at, key), str(error)) from error
        return Account(name=name, **read)  # type: ignore[arg-type]  # each of _READERS returns its field's type

    def _table(self, at: tuple[str, ...], value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self._wrong(at, "must be a table")
        return value  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are texts

    def _unknown(self, at: tuple[str, ...], known: list[str]) -> ConfigError:
        near = difflib.get_close_matches(at[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"
        return self._wrong(at, f"unknown key; {hint}")

    def _wrong(self, at: tuple[str, ...], what: str) -> ConfigError:
        line = self._line(at)
        where = f"{self._path}:{line}" if line else str(self._path)
        return ConfigError(f"{where}: {'.'.join(at)}: {what}")

    def _line(self, at: tuple[str, ...]) -> int | None:
        """The line on which a key or a table stands, as people write them; tomllib doesn't tell.

        Looks for the longest beginning of the path that is a table's header, and below it for the rest.
        """
        found = None
        table: tuple[str, ...] = ()
        for number, line in enumerate(self._lines, 1):
            header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
            if header:
                table = _parts(header[1])
                if at[: len(table)] == table:
                    found = number
                if table == at:
                    return number
                continue
            key = re.match(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'|\s*\.\s*)+)\s*=", line)
            if key:
                full = (*table, *_parts(key[1]))
                if full == at or (full == at[: len(full)] and len(full) > len(table)):
                    return number  # the key itself, or the inline table that holds it
        return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(
        (quoted or single or bare).strip()
        for quoted, single, bare in re.findall(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)", dotted)
    )


# ---- one reader a key: the value, or a ValueError that says what it must be


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be a text that is not empty, without control characters")
    return value


def _issuer(value: object) -> str:
    try:
        issuer = _text(value)
        check_issuer(issuer)
    except DiscoveryError as error:
        raise ValueError(str(error)) from error
    return issuer


def _scope(value: object) -> str:
    return " ".join(_text(value).split())


def _default(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 -- a mistake in a file, which the caller turns into one error
    return value


def _redirect_ports(value: object) -> tuple[int, ...]:
    ports: list[object] = value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- TOML's
    numbers = tuple(port for port in ports if isinstance(port, int) and not isinstance(port, bool))
    if not numbers or len(numbers) != len(ports) or not all(0 <= port <= _MAX_PORT for port in numbers):
        raise ValueError("must be a list of ports, 0 to 65535, at least one; 0 stands for any that is free")
    return numbers


def _proxy(value: object) -> str:
    address = _text(value)
    if not address.startswith(("http://", "https://")):
        raise ValueError("must be a proxy's address, such as http://proxy.example:3128")
    return address


def _authorize(value: object) -> Mapping[str, str]:
    table: dict[str, object] = value if isinstance(value, dict) else {"": None}  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are texts
    texts = {name: text for name, text in table.items() if isinstance(text, str)}
    if len(texts) != len(table):
        raise ValueError('must be a table of texts, such as { prompt = "login" }')
    return MappingProxyType(texts)


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "issuer": _issuer,
    "client_id": _text,
    "default": _default,
    "audience": _text,
    "scope": _scope,
    "redirect_ports": _redirect_ports,
    "proxy": _proxy,
    "authorize": _authorize,
}
