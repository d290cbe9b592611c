"""The live sessions, one per account of the configuration, and their watchers."""

import difflib
import random
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final, Protocol

from auth_agent import remedies
from auth_agent.config import Account, Config
from auth_agent.host.clock import Clock, Moment
from auth_agent.secret import Secret
from auth_agent.sessions.advice import agent_locked
from auth_agent.sessions.record import record, state_name
from auth_agent.sessions.revocation import Arrival, may_end_with
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Credentials, Locked
from auth_agent_client import errors

_MAX_COMPARED: Final = 20  # accounts that are compared with a misspelled name: difflib is slow


class Watcher(Protocol):
    """Is notified when a record changes."""

    def changed(self, account: str) -> None:
        """The account's record changed. Must not raise or block."""
        ...


class Table:
    """The live sessions by account name, in the configuration's order."""

    def __init__(
        self, config: Config, clock: Clock, chance: Callable[[], float] = random.random, *, unread: str | None = None
    ) -> None:
        """Create the sessions of a configuration.

        Args:
            config: the configuration.
            clock: the clock.
            chance: returns a random number in [0, 1), which spreads refreshes over time.
            unread: why new sessions are locked, if a store must be read first; None: they are logged out.

        """
        self.unread = unread
        self.clock = clock
        self.config = config
        self.sessions: dict[str, Session] = {}
        self._chance = chance
        self._watchers: dict[Watcher, None] = {}  # for its order
        self._published_states: dict[str, str] = {}
        # Sessions whose account vanished from the configuration: it may come back.
        self._removed: dict[str, Session] = {}
        # The accounts' names before they were renamed, by the new names, until the next configuration has them.
        self.renames: dict[str, str] = {}
        # Called with a session that was renamed, and its name before.
        self.on_renamed: Callable[[Session, str], None] = lambda _session, _name: None
        # Logins and imports that may become sessions.
        self.arrivals: set[Arrival] = set()
        # Why the whole agent is locked; None if it isn't.
        self.lock: Locked | None = None
        self.configure(config)

    # ---- finding

    def session(self, name: str | None) -> Session:
        """Return the session of that account, or of the default account.

        Raises:
            UnknownAccount: the configuration has no such account.
            InvalidRequest: no account was named, and none is the default.

        """
        if name is None:
            default = self.config.default
            if default is not None:
                return self.sessions[default.name]
            if not self.sessions:
                raise errors.UnknownAccount(
                    f"there are no accounts yet in {self.config.path}", remedy=(remedies.begin(),)
                )
            raise errors.InvalidRequest(
                self.config.which_account, remedy=(remedies.choose_default(self.config.first),), parameter="account"
            )
        session = self.sessions.get(name)
        if session is not None:
            return session
        matches = difflib.get_close_matches(name, self.sessions, n=1) if len(self.sessions) <= _MAX_COMPARED else []
        if matches:
            raise errors.UnknownAccount(f"there is no account {name}; did you mean {matches[0]}?")
        raise errors.UnknownAccount(f"there is no account {name} in {self.config.path}", remedy=(remedies.begin(),))

    def records(self, names: Iterable[str] | None = None) -> list[dict[str, object]]:
        """Return the records of the named accounts that exist, or of all."""
        now = self.clock.now()
        names_found = (
            self.sessions if names is None else [name for name in dict.fromkeys(names) if name in self.sessions]
        )
        return [self._record(self.sessions[name], now) for name in names_found]

    def record(self, name: str) -> dict[str, object] | None:
        """Return the record of an account, or of one that was just removed from the configuration."""
        session = self.sessions.get(name) or self._removed.get(name)
        return None if session is None else self._record(session, self.clock.now())

    def _record(self, session: Session, now: Moment) -> dict[str, object]:
        session.look(now)
        return record(session, now, self.lock)

    def all(self) -> list[tuple[str, Session]]:
        """Return all sessions with their accounts' names, also those of removed accounts."""
        return [*self.sessions.items(), *self._removed.items()]

    def is_free(self, name: str) -> bool:
        """Return whether an account may be renamed to that: there is none, nor a session of one that was removed."""
        left = self._removed.get(name)
        return name not in self.sessions and (left is None or (left.credentials is None and not left.is_locked))

    def holder(self, refresh_token: Secret) -> str | None:
        """Return the account whose session has that refresh token, also a removed one; else None."""
        for name, session in self.all():
            if session.credentials is not None and session.credentials.refresh_token == refresh_token:
                return name
        return None

    def may_end_with(self, credentials: Credentials) -> tuple[str, ...]:
        """Return the accounts, also removed ones, whose sessions may end when those credentials are revoked."""
        staying = [name for name, session in self.all() if may_end_with(session, credentials)]
        coming = [arrival.session.account.name for arrival in self.arrivals if arrival.may_end_with(credentials)]
        return tuple(dict.fromkeys([*staying, *sorted(coming)]))

    # ---- changing

    def configure(self, config: Config) -> dict[str, list[str]]:
        """Apply a new configuration; return the accounts `added`, `changed` and `removed`."""
        renamed = self._renamed(config)
        before = {renamed.get(name, name): session for name, session in self.sessions.items()}
        is_routed_alike = (config.hosts, _name(config.default)) == (self.config.hosts, _name(self.config.default))
        self.config = config
        sessions: dict[str, Session] = {}
        added: list[str] = []
        changed: list[str] = []
        for name, account in config.accounts.items():
            session = before.get(name)
            if session is None or session.account != account:
                (added if session is None else changed).append(name)
                session = session or self._removed.pop(name, None) or self._new(account)
                session.configure(account)
                session.forget_failures()
            sessions[name] = session
        removed = [name for name in before if name not in sessions]
        for name in removed:
            before[name].configure(None)
            self._removed[name] = before[name]
        self.sessions = sessions
        for old, new in renamed.items():
            self._removed.pop(new, None)
            self.on_renamed(sessions[new], old)
        # Where another account may be meant by a URL, or by no name, watchers must ask anew.
        for name in (*(added + changed if is_routed_alike else sessions), *removed):
            self.publish(name)
        return {"added": added, "changed": changed, "removed": removed}

    def _renamed(self, config: Config) -> dict[str, str]:
        """Return the new names, by the old ones, of the announced renames that the configuration has."""
        renames, self.renames = self.renames, {}
        return {
            old: new
            for new, old in renames.items()
            if new in config.accounts and old not in config.accounts and old in self.sessions
        }

    def set_lock(self, lock: Locked | None) -> None:
        """Show in every record that the agent is locked, and why; or, None, that it isn't."""
        self.lock = lock
        for name, session in self.sessions.items():
            session.revision += 1
            self.publish(name)

    def check_lock(self) -> None:
        """Raise `Locked` if the agent is locked."""
        if self.lock is not None:
            raise agent_locked(self.lock.reason, self.lock.remedy)

    @contextmanager
    def expecting(self, arrival: Arrival) -> Generator[None, None, None]:
        """Register a login or import as something that a revocation may end."""
        self.arrivals.add(arrival)
        try:
            yield
        finally:
            self.arrivals.discard(arrival)

    def locked(self) -> list[Session]:
        """Return the sessions that have not been read from the store yet."""
        return [session for session in self.sessions.values() if session.is_locked]

    def _new(self, account: Account) -> Session:
        session = Session(account, self._chance())
        if self.unread is not None:
            session.state = Locked(self.unread)
        return session

    # ---- watching

    def watch(self, watcher: Watcher) -> None:
        """Notify the watcher of all changes from now on."""
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        """Stop notifying the watcher."""
        self._watchers.pop(watcher, None)

    def publish(self, name: str) -> None:
        """Notify the watchers that the account's record changed."""
        session = self.sessions.get(name)
        if session is not None:
            self._published_states[name] = state_name(session, self.clock.now())
        for watcher in tuple(self._watchers):
            watcher.changed(name)

    def look(self, session: Session, now: Moment) -> None:
        """Publish the session if its state has changed because time passed."""
        name = session.account.name
        if session.look(now) or self._published_states.get(name) != state_name(session, now):
            session.revision += 1
            self.publish(name)


def _name(account: Account | None) -> str | None:
    return None if account is None else account.name
