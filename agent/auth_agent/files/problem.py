"""Why a file does not hold what it should."""

from typing import Final

from auth_agent_client.errors import AgentError
from auth_agent_client.remedy import Remedy

FILE_FAILED: Final = "file_failed"


class FileProblem(Exception):
    """The file can't be used, or the session has no token for it; the message is printable.

    Args:
        reason: what happened.
        remedy: what helps.
        failure: one of the protocol's `FAILURES`.

    """

    def __init__(self, reason: str, *remedy: Remedy, failure: str | None = FILE_FAILED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.failure = failure

    @classmethod
    def of(cls, error: AgentError) -> "FileProblem":
        """Return the problem of a file whose token could not be had."""
        return cls(error.message, *error.remedy, failure=error.failure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileProblem) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    @property
    def _fields(self) -> tuple[object, ...]:
        return self.reason, self.remedy, self.failure
