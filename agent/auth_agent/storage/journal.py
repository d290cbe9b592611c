"""What is noted of each account beside the store: which refresh tokens are out, or dead; never a token.

A note is on the disk before what it warns of happens, so an agent that starts after a crash knows what the one before
it was doing.
"""

import json
import logging
import threading
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from auth_agent.json_object import parse_object
from auth_agent.storage.state_directory import read_note, write_note

_log = logging.getLogger(__name__)

# A year of hourly refreshes would be 9,000; an entry that old is nobody's last copy.
_MOST_REPLACED: Final = 200
# As many as may go out between two saves, while a keyring hangs.
_MOST_SENT: Final = 20
# A disk that takes longer, in seconds, doesn't hold a refresh up.
_PATIENCE: Final = 2.0


@dataclass(slots=True)
class Note:
    """What is noted of one account; refresh tokens by their fingerprints, the oldest first.

    `sent`: presented, and no save since: their replies may have been lost. `has`: what the store had by then.
    `replaced`: their successors are in the store. `tombstone`: the name of a logout; what the store has is dead, unless
    it names that logout as the one it came after. `used_at`: when a client last asked, in Unix time.
    """

    sent: list[str] = field(default_factory=list[str])
    replaced: list[str] = field(default_factory=list[str])
    tombstone: str | None = None
    used_at: float = 0.0
    has: str | None = None


class Journal:
    """The notes of all accounts: a file each, in the state directory."""

    def __init__(self, directory: Path | None) -> None:
        """Keep them there; None: in memory, for a store that keeps nothing either."""
        self._directory = directory
        self._notes: dict[str, Note] = {}
        # What is to be on the disk, and whose turn it is to put it there.
        self._texts: dict[str, str] = {}
        self._turns: dict[str, threading.Lock] = {}

    def note(self, account: str) -> Note:
        """The note of that account; what can't be read is as if it were not there."""
        if account not in self._notes:
            self._notes[account] = self._read(account)
        return self._notes[account]

    async def read(self, accounts: Iterable[str]) -> None:
        """Read the notes of those accounts in one go, without holding anything else up."""
        new = [account for account in accounts if account not in self._notes]
        if new and self._directory is not None:
            try:
                found = await anyio.to_thread.run_sync(lambda: [self._read(account) for account in new])
            except RuntimeError:
                return  # no thread can be started: they are read when they are asked for
            for account, note in zip(new, found, strict=True):
                self._notes.setdefault(account, note)

    async def record_sent(self, account: str, fingerprint: str, used_at: float, has: str | None = None) -> None:
        """A refresh token is about to be presented; noted when this comes back, or a warning is logged.

        Args:
            account: whose.
            fingerprint: the refresh token's.
            used_at: when a client last asked, in Unix time.
            has: the fingerprint of the one that the store has now.

        """
        note = self.note(account)
        note.has = has
        note.sent = [*(one for one in note.sent if one != fingerprint), fingerprint][-_MOST_SENT:]
        note.used_at = used_at
        await self._write(account)

    async def saved(
        self, account: str, fingerprint: str | None, tombstone: str | None, answered: Collection[str]
    ) -> None:
        """The store has what holds that refresh token: what was sent before it is dead.

        Args:
            account: whose.
            fingerprint: the refresh token's; None when the store has none of the account any more.
            tombstone: the logout that is done with thereby; a later one stays noted.
            answered: what was sent before it, by fingerprints; what was sent since is still out.

        """
        note = self.note(account)
        settled = tombstone is not None and note.tombstone == tombstone
        answered = [one for one in note.sent if one in answered]
        if not answered and not settled and fingerprint not in note.replaced:
            return
        # What was deleted replaced nothing.
        dead = [one for one in answered if one != fingerprint and fingerprint is not None]
        kept = [one for one in note.replaced if one != fingerprint and one not in dead]
        note.replaced = [*kept, *dead][-_MOST_REPLACED:]
        note.sent = [one for one in note.sent if one not in answered]
        note.tombstone = None if settled else note.tombstone
        if not await self._write(account) and settled and note.tombstone is None:
            note.tombstone = tombstone  # the disk has it still: later entries have to name it, too

    async def mark_deleted(self, account: str, tombstone: str) -> None:
        """What the store has of the account is dead from now on."""
        note = self.note(account)
        note.tombstone = tombstone
        await self._write(account)

    async def _write(self, account: str) -> bool:
        """Whether the note is on the disk; a warning is logged where it isn't."""
        if self._directory is None:
            return True
        self._texts[account] = json.dumps({"version": 1, "account": account, **asdict(self.note(account))})
        with anyio.move_on_after(_PATIENCE) as limit:
            try:
                await anyio.to_thread.run_sync(self._put, account, self._path(account), abandon_on_cancel=True)
            except (OSError, RuntimeError) as error:  # the latter where no thread can be started
                _log.warning("journal account=%s error=%r", account, str(error))
            else:
                return True
        if limit.cancelled_caught:
            _log.warning("journal account=%s error='the disk takes too long'", account)
        return False

    def _put(self, account: str, path: Path) -> None:
        # Nobody may wait for this any more; still in turn, since an older note must not come last.
        with self._turns.setdefault(account, threading.Lock()):
            write_note(path, self._texts[account])

    def _read(self, account: str) -> Note:
        if self._directory is None:
            return Note()
        try:
            text = read_note(self._path(account))
            return Note() if text is None else _parsed(text)
        except (OSError, ValueError, OverflowError) as error:
            _log.warning("journal account=%s error='its note can not be read: %s'", account, type(error).__name__)
            return Note()

    def _path(self, account: str) -> Path:
        assert self._directory is not None  # noqa: S101 -- for the type checker: the callers asked
        # macOS' file names are the same in capitals; the digest's aren't.
        return self._directory / f"{account}.{sha256(account.encode()).hexdigest()[:8]}.json"


def _parsed(text: str) -> Note:
    found = parse_object(text)
    tombstone, used_at, has = found.get("tombstone"), found.get("used_at"), found.get("has")
    return Note(
        sent=_texts(found.get("sent")),
        replaced=_texts(found.get("replaced")),
        tombstone=tombstone if isinstance(tombstone, str) else None,
        used_at=float(used_at) if isinstance(used_at, (int, float)) else 0.0,
        has=has if isinstance(has, str) else None,
    )


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- made texts, whatever they are
