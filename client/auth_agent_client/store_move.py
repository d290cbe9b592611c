"""The result of moving the sessions to another store."""

from .values import strings


class StoreMove(dict[str, object]):
    """The sessions were moved: a map as it was sent, read by properties."""

    __slots__ = ()

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts whose sessions moved."""
        return strings(self.get("accounts"))

    @property
    def deleted(self) -> tuple[str, ...]:
        """The accounts that are logged out, and whose sessions from an earlier use of the store were deleted."""
        return strings(self.get("deleted"))

    @property
    def left(self) -> tuple[str, ...]:
        """The accounts whose old entries could not be deleted from the store that they were in."""
        return strings(self.get("left"))
