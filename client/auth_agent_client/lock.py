"""The result of unlocking the agent's store."""

from .values import integer


class Unlock(dict[str, object]):
    """A store was unlocked: a map as it was sent, read by properties."""

    __slots__ = ()

    @property
    def created(self) -> bool:
        """Whether this passphrase made the store."""
        return self.get("created") is True

    @property
    def memory(self) -> int | None:
        """How many MiB each guess of the passphrase takes; None where that is not known."""
        return integer(self.get("memory"))

    @property
    def weak(self) -> bool:
        """Whether that is less than it should be, because the machine had too little memory."""
        return self.get("weak") is True
