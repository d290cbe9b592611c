"""The journal: for each account, the fingerprints of refresh tokens that were sent or replaced. It holds no token.

Theory of operation. The agent can be killed between sending a refresh token and saving its successor, and an old copy
of a store's entry can come back. To send a replaced refresh token may end the session at the provider. So the note is
on disk before the token is sent: after a crash, the next agent knows which tokens may be used up.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from auth_agent.json_object import parse_object
from auth_agent.storage.state_directory import read_note, write_note
from auth_agent_client.messages import is_account_name

_log = logging.getLogger(__name__)

# A year of hourly refreshes would be 9,000; nobody restores an entry that is 200 refreshes old.
_MOST_REPLACED: Final = 200
# Refresh tokens that may be sent between two saves, while a keyring hangs.
_MOST_SENT: Final = 20
# Seconds; a refresh does not wait longer for the disk.
_PATIENCE: Final = 2.0


@dataclass(slots=True)
class Note:
    """The note of one account. Refresh tokens are listed by fingerprint, oldest first.

    `sent`: tokens sent since the last save; their responses may have been lost. `has`: the token in the store then.
    `replaced`: tokens whose successors are in the store. `tombstone`: the random id of a logout; an entry in the store
    is dead unless its `after` names that logout. `used_at`: when a client last asked for a token, in Unix time.
    `moved_from`: the account's name before it was renamed, while the entry under that name may still be the session's.
    `held`: whether the store had an entry of the account, and nobody logged out since: if it has none, it is another
    store, such as another keyring. `lost`: whether an entry that was logged out or replaced was not found then, and may
    come back: the tombstone stays.
    """

    sent: list[str] = field(default_factory=list[str])
    replaced: list[str] = field(default_factory=list[str])
    tombstone: str | None = None
    used_at: float = 0.0
    has: str | None = None
    moved_from: str | None = None
    held: bool = False
    lost: bool = False


class Journal:
    """The notes of all accounts, one file each in the state directory."""

    def __init__(self, directory: Path | None) -> None:
        """Keep notes in that directory; with None, in memory, for a store that is not persistent."""
        self._directory = directory
        self._notes: dict[str, Note] = {}
        # The newest content of each file, and the locks that order its writes.
        self._contents: dict[str, str] = {}
        self._turns: dict[str, threading.Lock] = {}
        # Accounts whose note could not be written.
        self._unwritten: set[str] = set()
        # When the directory had last changed, in ns, at each of the last two looks at which all notes were there.
        self._complete_at: list[int] = []

    def note(self, account: str) -> Note:
        """Return the account's note; an unreadable note counts as missing."""
        if account not in self._notes:
            self._notes[account] = self._read(account)
        return self._notes[account]

    async def read(self, accounts: Iterable[str]) -> None:
        """Read the notes of those accounts in one thread, without blocking the event loop."""
        new = [account for account in accounts if account not in self._notes]
        if new and self._directory is not None:
            try:
                notes = await anyio.to_thread.run_sync(lambda: [self._read(account) for account in new])
            except RuntimeError:
                return  # no thread can be started: `note` reads them later
            for account, note in zip(new, notes, strict=True):
                self._notes.setdefault(account, note)

    async def look(self) -> None:
        """Write again the notes of this agent that could not be written, or whose files were removed."""
        if self._directory is None:
            return
        accounts = tuple(self._contents)
        with contextlib.suppress(OSError, RuntimeError):  # it can't be read, or no thread can be started
            gone = await anyio.to_thread.run_sync(self._without_file, accounts, abandon_on_cancel=True)
            for account in (*gone, *self._unwritten.difference(gone)):
                await self._write(account)

    async def record_sent(self, account: str, fingerprint: str, used_at: float, has: str | None = None) -> None:
        """Write on disk that a refresh token is about to be sent; log a warning if that fails.

        Args:
            account: the account's name.
            fingerprint: of the refresh token.
            used_at: when a client last asked for a token, in Unix time.
            has: the fingerprint of the refresh token that is in the store now.

        """
        note = self.note(account)
        note.has = has
        note.sent = [*(sent for sent in note.sent if sent != fingerprint), fingerprint][-_MOST_SENT:]
        note.used_at = used_at
        await self._write(account)

    async def saved(
        self,
        account: str,
        fingerprint: str | None,
        tombstone: str | None,
        answered: Collection[str],
        *,
        held: bool | None = None,
    ) -> None:
        """Record that the store has an entry with that refresh token: tokens sent before it are dead.

        Args:
            account: the account's name.
            fingerprint: of the refresh token; None if the account's entry was deleted.
            tombstone: the logout that this save completes; a later logout stays in the note.
            answered: the fingerprints that were sent before this entry was made; later ones stay in `sent`.
            held: whether the store has an entry; None: as before.

        """
        note = self.note(account)
        settled = tombstone is not None and note.tombstone == tombstone and not note.lost
        answered = [sent for sent in note.sent if sent in answered]
        is_as_before = held is None or held == note.held
        if not answered and not settled and fingerprint not in note.replaced and is_as_before:
            return
        note.held = note.held if held is None else held
        # A deleted entry replaced no token.
        dead = [sent for sent in answered if sent != fingerprint and fingerprint is not None]
        replaced = [sent for sent in note.replaced if sent != fingerprint and sent not in dead]
        note.replaced = [*replaced, *dead][-_MOST_REPLACED:]
        note.sent = [sent for sent in note.sent if sent not in answered]
        note.tombstone = None if settled else note.tombstone
        if not await self._write(account) and settled and note.tombstone is None:
            note.tombstone = tombstone  # it is still on disk: later entries must name it, too

    async def mark_deleted(self, account: str, tombstone: str, *, lost: bool = False) -> None:
        """Mark the account's entry in the store as dead; with `lost`, also if it comes back after the next login."""
        note = self.note(account)
        note.tombstone, note.held, note.lost = tombstone, False, note.lost or lost
        await self._write(account)

    async def lose(self, account: str, before: str | None, tombstone: str | None) -> bool:
        """Mark an entry that the store does not have as dead, should it come back, unless a logout did since.

        Return whether that is on disk. If not, an earlier tombstone stays: the file has it.

        Args:
            account: the account's name.
            before: the tombstone when the new entry was written.
            tombstone: the one that the new entry names.

        """
        note = self.note(account)
        note.lost = True
        if note.tombstone == before:
            note.tombstone = tombstone
        if await self._write(account):
            return True
        if before is not None and note.tombstone == tombstone:
            note.tombstone = before
            await self._write(account)  # a thread that the disk delays may write the new one still
        return False

    async def hold(self, account: str) -> None:
        """Record that the store has an entry of the account."""
        note = self.note(account)
        if not note.held:
            note.held = True
            await self._write(account)

    def is_held(self, account: str) -> bool:
        """Return whether the store had an entry of the account, and nobody logged out since."""
        note = self.note(account)
        return note.held if note.moved_from is None else self.note(note.moved_from).held

    async def announce_move(self, account: str, moved_from: str, tombstone: str) -> bool:
        """Write on disk that the account may get the session of the account `moved_from`; return whether it is there.

        An entry that the store has under the new name is marked as dead.
        """
        before = self.note(account)
        self._notes[account] = Note(
            replaced=before.replaced, tombstone=tombstone, moved_from=moved_from, lost=before.lost
        )
        return await self._write(account)

    def adopt(self, account: str) -> None:
        """Add the fingerprints in the note of the account that this one was, in memory."""
        note = self.note(account)
        if note.moved_from is not None:
            old = self.note(note.moved_from)
            note.sent = [*dict.fromkeys([*old.sent, *note.sent])][-_MOST_SENT:]
            note.replaced = [*dict.fromkeys([*note.replaced, *old.replaced])][-_MOST_REPLACED:]
            note.has = note.has or old.has
            note.lost = note.lost or old.lost
            note.used_at = max(note.used_at, old.used_at)

    async def end_move(self, account: str) -> None:
        """Record that the move is over, or came to nothing."""
        self.note(account).moved_from = None
        await self._write(account)

    async def _write(self, account: str) -> bool:
        """Write the note. Return whether it is on disk; log a warning if not."""
        if self._directory is None:
            return True
        self._contents[account] = json.dumps({"version": 1, "account": account, **asdict(self.note(account))})
        with anyio.move_on_after(_PATIENCE) as scope:
            try:
                await anyio.to_thread.run_sync(self._put, account, self._path(account), abandon_on_cancel=True)
            except (OSError, RuntimeError) as error:  # the latter where no thread can be started
                if account not in self._unwritten:
                    _log.warning("journal account=%s error=%r", account, str(error))
                self._unwritten.add(account)
            else:
                self._unwritten.discard(account)
                return True
        if scope.cancelled_caught:  # the thread writes it nevertheless, or fails: then the file may be missing
            self._complete_at = []
            _log.warning("journal account=%s error='the disk takes too long'", account)
        return False

    def _without_file(self, accounts: Iterable[str]) -> list[str]:
        """Return those whose note is gone. One listing: a look at each of a thousand files takes milliseconds.

        None is needed if all were there at the last two looks, and the directory has not changed since the first of
        them. One is not enough: a change in the same tick of the file system's clock, up to two seconds, doesn't show.
        """
        assert self._directory is not None  # noqa: S101 -- for the type checker: `look` asked
        try:
            changed = self._directory.stat().st_mtime_ns
            if self._complete_at == [changed, changed]:
                return []
            there = set(os.listdir(self._directory))  # noqa: PTH208 -- names suffice, and a Path takes a microsecond
        except (FileNotFoundError, NotADirectoryError):
            changed, there = 0, set[str]()
        gone = [account for account in accounts if _file_name(account) not in there]
        self._complete_at = [] if gone else [*self._complete_at[-1:], changed]
        return gone

    def _put(self, account: str, path: Path) -> None:
        # In order, even when nobody waits for it any more: an older note must not be written last.
        with self._turns.setdefault(account, threading.Lock()):
            write_note(path, self._contents[account])

    def _read(self, account: str) -> Note:
        if self._directory is None:
            return Note()
        try:
            content = read_note(self._path(account))
            return Note() if content is None else _parsed(content)
        except (OSError, ValueError, OverflowError) as error:
            _log.warning("journal account=%s error='its note can not be read: %s'", account, type(error).__name__)
            return Note()

    def _path(self, account: str) -> Path:
        assert self._directory is not None  # noqa: S101 -- for the type checker: the callers asked
        return self._directory / _file_name(account)


@cache  # for each of a thousand accounts, at each look
def _file_name(account: str) -> str:
    # File names on macOS ignore case; the digest tells accounts apart that differ only in case.
    return f"{account}.{sha256(account.encode()).hexdigest()[:8]}.json"


def _parsed(content: str) -> Note:
    fields = parse_object(content)
    tombstone, used_at, has = fields.get("tombstone"), fields.get("used_at"), fields.get("has")
    moved_from = fields.get("moved_from")
    return Note(
        sent=_strings(fields.get("sent")),
        replaced=_strings(fields.get("replaced")),
        tombstone=tombstone if isinstance(tombstone, str) else None,
        used_at=float(used_at) if isinstance(used_at, (int, float)) else 0.0,
        has=has if isinstance(has, str) else None,
        moved_from=str(moved_from) if is_account_name(moved_from) else None,
        held=fields.get("held") is True,
        lost=fields.get("lost") is True,
    )


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- converted to strings, whatever they are
