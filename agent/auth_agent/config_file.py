"""Accounts written into the configuration file, whose other text stays as its author wrote it."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent import toml_text
from auth_agent.config import check, parse, read_toml
from auth_agent.errors import ConfigError

_NEW_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Written:
    """What writing an account did.

    `added` says whether there was none of that name, `keys` which of its keys were changed; `before` and `after` are
    the file's texts, None: there was no file.
    """

    added: bool
    keys: tuple[str, ...]
    before: str | None
    after: str

    @property
    def changed(self) -> bool:
        """Whether the file says anything else than before."""
        return self.after != (self.before or "")


def put_account(path: Path, name: str, keys: Mapping[str, object]) -> Written:
    """Add an account, or change those keys of the one there; None takes a key out.

    With `default` true, the account that was the default is no more.

    Raises:
        ConfigError: the file or the keys are wrong, or it can't be written; it is as it was.

    """
    wanted = {name: {key: _plain(value) for key, value in keys.items()}}
    with _held(path) as target:
        before = _read(path, target)
        text = before or ""
        known = parse(path, text).accounts
        if keys.get("default") is True:
            wanted |= {
                other.name: {"default": False} for other in known.values() if other.default and other.name != name
            }
        tables = read_toml(path, text)
        news: dict[str, Mapping[str, object]] = {}
        for account, given in wanted.items():
            there = _table(_table(tables, "accounts"), account)
            news[account] = {key: value for key, value in given.items() if there.get(key) != value}
            there.update(news[account])
            for key in [key for key, value in there.items() if value is None]:
                del there[key]
        check(path, tables)
        for account, changes in news.items():
            text = toml_text.put(text, ("accounts", account), changes)
        if text != (before or ""):
            _replace(path, target, text, tables)
        return Written(name not in known, tuple(news[name]), before, text)


def remove_account(path: Path, name: str) -> bool:
    """Take an account out; whether there was one.

    Raises:
        ConfigError: the file is wrong, or a host names that account, or it can't be written; it is as it was.

    """
    if not path.exists():
        return False
    with _held(path) as target:
        text = _read(path, target) or ""
        if name not in parse(path, text).accounts:
            return False
        tables = read_toml(path, text)
        del _table(tables, "accounts")[name]
        check(path, tables)
        _replace(path, target, toml_text.remove(text, ("accounts", name)), tables)
        return True


def restore(path: Path, written: Written) -> bool:
    """Put the file back as it was before, unless somebody has changed it since; whether it is.

    Raises:
        ConfigError: it can't be written.

    """
    if not written.changed:
        return True
    with _held(path) as target:
        if _read(path, target) != written.after:
            return False
        try:
            if written.before is None:
                target.unlink()
            else:
                _write(target, written.before.encode())
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}") from error
        return True


def _plain(value: object) -> object:
    """The value as TOML gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any map
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any tuple


def _table(tables: dict[str, object], name: str) -> dict[str, object]:
    """The table of that name, made where there is none."""
    table = tables.setdefault(name, {})
    assert isinstance(table, dict)  # noqa: S101 -- for the type checker: the configuration was read
    return table  # pyright: ignore[reportUnknownVariableType] -- TOML's keys are texts


@contextmanager
def _held(path: Path) -> Generator[Path, None, None]:
    """Where the file really is, its directory made and held, lest two commands write over each other."""
    try:
        target = path.resolve()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, RuntimeError) as error:  # the latter of links in a circle
        reason = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
        raise ConfigError(f"{path} can't be written: {reason}") from error
    try:
        with suppress(OSError):  # where a file system has no locks, none is better than nothing written
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield target
    finally:
        os.close(directory)


def _read(path: Path, target: Path) -> str | None:
    """The file's text, line ends and all; None: there is none."""
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise ConfigError(f"{path} is no regular file; accounts can't be written there")
        return target.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error


def _replace(path: Path, target: Path, text: str, tables: Mapping[str, object]) -> None:
    """Write the text, if it says what it has to, and nothing else."""
    try:
        # The table of accounts may go with the last of them.
        says_so = {"accounts": {}, **read_toml(path, text)} == tables
        data = text.encode()
    except (ConfigError, UnicodeEncodeError):
        says_so, data = False, b""
    if not says_so:
        raise ConfigError(f"{path} is written in a way that can't be changed from here; please change it in an editor")
    try:
        _write(target, data)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from error


def _write(target: Path, data: bytes) -> None:
    """Put the data in the file's place in one step, that a crash leaves the one or the other."""
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mode = _NEW_MODE
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
