"""Writes accounts to the configuration file, and leaves its other text as it is."""

import fcntl
import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent import remedies, toml_text
from auth_agent.config import check, default_to_mark, parse, read_toml
from auth_agent.errors import ConfigError
from auth_agent.host.private_directory import make_directory
from auth_agent.host.replaced_file import replace_file
from auth_agent.printable import printable

_NEW_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing accounts.

    `added`: the new accounts. `keys`: the changed keys of each account. `default`: the account that was marked as the
    default so that it stays the default. `before` and `after`: the content of the file; None if there was no file.
    """

    added: tuple[str, ...]
    keys: Mapping[str, tuple[str, ...]]
    default: str | None
    before: str | None
    after: str

    @property
    def changed(self) -> bool:
        """Whether the content of the file changed."""
        return self.after != (self.before or "")


def put_accounts(path: Path, changes: Mapping[str, Mapping[str, object]]) -> Written:
    """Add accounts, or change those keys of existing ones; None removes a key. A table's own keys are merged.

    With `default` true, the previous default account loses its `default`. An account that was the default without it,
    as the only one, gets it if it would no longer be the default.

    Raises:
        ConfigError: the file or the keys are invalid, or it can't be written; it is unchanged.

    """
    with _locked(path) as target:
        before = _read(path, target)
        text = before or ""
        known = parse(path, text)
        tables = read_toml(path, text)
        changes = {name: {key: _plain(value) for key, value in keys.items()} for name, keys in changes.items()}
        if any(keys.get("default") is True for keys in changes.values()):
            losing = [name for name, account in known.accounts.items() if account.default]
            changes |= {name: {"default": False, **changes.get(name, {})} for name in losing}
        news = {name: _put(tables, name, keys) for name, keys in changes.items()}
        default = default_to_mark(known, check(path, tables))
        if default is not None:
            news[default] = {**news.get(default, {}), **_put(tables, default, {"default": True})}
            check(path, tables)
        for name, keys in news.items():
            text = toml_text.put(text, ("accounts", name), keys)
        if text != (before or ""):
            _replace(path, target, text, tables)
        added = tuple(name for name in changes if name not in known.accounts)
        return Written(added, {name: tuple(keys) for name, keys in news.items()}, default, before, text)


def _put(tables: dict[str, object], name: str, keys: Mapping[str, object]) -> dict[str, object]:
    """Put keys of an account into the tables, and return those that changed."""
    table = _table(_table(tables, "accounts"), name)
    keys = {key: _merged(table.get(key), value) for key, value in keys.items()}
    changed = {key: value for key, value in keys.items() if table.get(key) != value}
    table.update(changed)
    for key in [key for key, value in table.items() if value is None]:
        del table[key]
    return changed


def _merged(before: object, value: object) -> object:
    """Return a table with what is added to it; any other value replaces the one before."""
    return {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType] -- TOML's values


def rename_account(path: Path, old: str, new: str) -> None:
    """Rename an account, also where hosts, files and other accounts name it.

    Raises:
        ConfigError: the file or the new name is invalid, the file has no account of the old name, or already one of the
            new name, or can't be written; it is unchanged.

    """
    with _locked(path) as target:
        text = _read(path, target) or ""
        known = parse(path, text)
        if old not in known.accounts:
            raise ConfigError(f"{path}: there is no account {printable(old)}")
        if new in known.accounts:
            raise ConfigError(f"{path}: there is an account {new} already")
        tables = read_toml(path, text)
        accounts = _table(tables, "accounts")
        accounts[new] = accounts.pop(old)
        naming: list[tuple[toml_text.Path, str]] = [(("hosts", rule.key), "account") for rule in known.hosts_of(old)]
        naming += [(("files", file.key), "account") for file in known.files_of(old)]
        for name, account in known.accounts.items():
            if account.management_account == old:
                naming.append((("accounts", new if name == old else name), "management_account"))
        text = toml_text.rename(text, ("accounts", old), new)
        for table, key in naming:
            for one in _tables(_table(tables, table[0])[table[1]]):
                if one.get(key) == old:
                    one[key] = new
            text = toml_text.substitute(text, (*table, key), old, new)
        check(path, tables)
        _replace(path, target, text, tables)


def remove_account(path: Path, name: str) -> bool:
    """Remove an account; return whether there was one.

    Raises:
        ConfigError: the file is invalid, a host or a file names that account, or it can't be written; it is unchanged.

    """
    if not path.exists():
        return False
    with _locked(path) as target:
        text = _read(path, target) or ""
        if name not in parse(path, text).accounts:
            return False
        tables = read_toml(path, text)
        del _table(tables, "accounts")[name]
        check(path, tables)
        _replace(path, target, toml_text.remove(text, ("accounts", name)), tables)
        return True


def restore(path: Path, written: Written) -> bool:
    """Restore the previous content, unless the file has changed since; return whether it is restored.

    Raises:
        ConfigError: it can't be written.

    """
    if not written.changed:
        return True
    with _locked(path) as target:
        if _read(path, target) != written.after:
            return False
        try:
            if written.before is None:
                target.unlink()
            else:
                replace_file(target, written.before.encode(), _NEW_MODE)
        except OSError as error:
            raise _unwritable(path, error) from error
        return True


def _plain(value: object) -> object:
    """Return the value as TOML would return it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any map
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any tuple


def _table(tables: dict[str, object], name: str) -> dict[str, object]:
    """Return the table of that name; create it if there is none."""
    table = tables.setdefault(name, {})
    assert isinstance(table, dict)  # noqa: S101 -- for the type checker: the configuration was read
    return table  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are strings


def _tables(value: object) -> list[dict[str, object]]:
    """Return a table, or several of one name, as a list."""
    tables: list[object] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType] -- TOML's
    return [table for table in tables if isinstance(table, dict)]


@contextmanager
def _locked(path: Path) -> Generator[Path, None, None]:
    """Yield the file that the path resolves to, its directory locked, so that commands write one after the other."""
    try:
        target = path.resolve()
        make_directory(target.parent)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unwritable(path, error) from error
    except RuntimeError as error:
        raise ConfigError(f"{path} can't be written: its links lead in a circle") from error
    try:
        with suppress(OSError):  # a file system without locks: write without one
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield target
    finally:
        os.close(directory)


def _read(path: Path, target: Path) -> str | None:
    """Return the content of the file with its line ends; None if there is no file."""
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise ConfigError(f"{path} is not a regular file; accounts can't be written to it")
        return target.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", *remedies.for_file(error, path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} can't be read: it is not UTF-8") from error


def _replace(path: Path, target: Path, text: str, tables: Mapping[str, object]) -> None:
    """Write the text if it means exactly those tables; raise `ConfigError` otherwise."""
    try:
        # The table of accounts may be removed with the last account.
        says_so = {"accounts": {}, **read_toml(path, text)} == tables
        data = text.encode()
    except (ConfigError, UnicodeEncodeError):
        says_so, data = False, b""
    if not says_so:
        raise ConfigError(f"{path} is written in a form that can't be edited here; change it in an editor")
    try:
        replace_file(target, data, _NEW_MODE)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} can't be written: {error.strerror}", *remedies.for_file(error, path))
