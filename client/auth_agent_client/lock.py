"""The results of locking and unlocking the agent."""

from .values import integer, mappings, number, string, strings


class SessionEnd(dict[str, object]):
    """A session whose end is known: a map as it was sent, read by properties."""

    __slots__ = ()

    @property
    def account(self) -> str | None:
        """The account's name."""
        return string(self.get("account"))

    @property
    def at(self) -> float | None:
        """When it ends, as Unix time in seconds."""
        return number(self.get("at"))


class Lock(dict[str, object]):
    """The agent was locked."""

    __slots__ = ()

    @property
    def pending(self) -> tuple[str, ...]:
        """The accounts whose secrets are still in memory, until the store has their sessions."""
        return strings(self.get("pending"))

    @property
    def ends(self) -> tuple[SessionEnd, ...]:
        """The sessions that end by themselves, and when: they can't be refreshed, or the provider has set their end."""
        return tuple(map(SessionEnd, mappings(self.get("ends"))))


class Unlock(dict[str, object]):
    """The agent, or its store, was unlocked."""

    __slots__ = ()

    @property
    def created(self) -> bool:
        """Whether this passphrase made the store."""
        return self.get("created") is True

    @property
    def memory(self) -> int | None:
        """How many MiB each guess of the passphrase takes; 0 if there is none."""
        return integer(self.get("memory"))

    @property
    def weak(self) -> bool:
        """Whether that is less than it should be, because the machine had too little memory."""
        return self.get("weak") is True
