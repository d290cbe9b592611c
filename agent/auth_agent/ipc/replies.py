"""The packed replies to requests for tokens, kept for the same request again: nearly every request is one before.

Theory of operation. A request is the same if its bytes after the id are, and the reply is the same as long as the
session's record, the configuration and the token's term are. So a reply is kept with these, and each use of it looks
whether they still hold; otherwise the request is answered the whole way. The policy and the lock are asked before each
use, by `Handlers`, as they are for any request.

Nothing is served from here that the session would not serve. And nothing stays here that the session doesn't have any
more: the table notifies of each change of a record, at a refresh, a logout, a lock or a ceiling, and the account's
replies are overwritten then.
"""

from typing import Final, NamedTuple

from auth_agent.host.clock import Moment
from auth_agent.sessions.interest import Interest
from auth_agent.sessions.session import Session
from auth_agent.sessions.table import Table
from auth_agent.sessions.term import Term
from auth_agent_client.wire import REQUEST, RESPONSE, Request, head_length

# Bytes of a request that is remembered; a longer one is no plain request for a token.
MAX_REQUEST: Final = 512
# Bytes of memory that all requests and replies that are kept may take; beyond, the oldest go.
MAX_KEPT: Final = 1 << 20
# Those of the objects of each, besides what is sent.
_OBJECTS: Final = 512


class Repeatable(NamedTuple):
    """A result that the same request gets again within `term`, as long as the session's record stays as it is.

    `interest` notes each such request; None if they are not noted.
    """

    result: dict[str, object]
    session: Session
    term: Term
    interest: Interest | None


class Reply:
    """The packed reply to one request, after the id."""

    __slots__ = ("_interest", "_packed", "revision", "session", "term")

    def __init__(self, packed: bytes, basis: Repeatable) -> None:
        self.session = basis.session
        self.revision = basis.session.revision
        self.term = basis.term
        self._interest = basis.interest
        # Not bytes, which can't be overwritten.
        self._packed = bytearray(packed)

    @property
    def size(self) -> int:
        """How many bytes of memory it takes, besides its request."""
        return _OBJECTS + len(self._packed)

    def to(self, id_: bytes, now: Moment) -> bytes:
        """Return the response to the request with that encoded id, and note the request."""
        self.session.used_at = now.wall
        if self._interest is not None:
            self._interest.touch(now.boot)
        return b"".join((RESPONSE, id_, self._packed))

    def overwrite(self) -> None:
        """Overwrite the token."""
        self._packed[:] = bytes(len(self._packed))


class Replies:
    """The replies that are kept, of all accounts."""

    def __init__(self, table: Table) -> None:
        """Keep replies as long as the table's records stay as they are."""
        self._table = table
        self._config = table.config
        # By the bytes of the request after its id; and those of each session.
        self._replies: dict[bytes, Reply] = {}
        self._questions: dict[Session, list[bytes]] = {}
        self._size = 0
        table.watch(self)

    def find(self, question: bytes, now: Moment) -> Reply | None:
        """Return the reply to a request that has those bytes after its id, if the reply still holds; else None."""
        reply = self._replies.get(question)
        if reply is None:
            return None
        is_as_it_was = reply.revision == reply.session.revision and self._config is self._table.config
        return reply if is_as_it_was and reply.term.has(now) else None

    def keep(self, request: Request, response: bytes, basis: Repeatable) -> None:
        """Keep the response to that request, with its basis."""
        if self._table.config is not self._config:
            self._clear()
        start = head_length(request.body, REQUEST)
        if not 0 < start <= len(request.body) <= MAX_REQUEST:
            return
        question, reply = request.body[start:], Reply(response[head_length(response, RESPONSE) :], basis)
        self._drop(question)
        self._replies[question] = reply
        self._questions.setdefault(reply.session, []).append(question)
        self._size += len(question) + reply.size
        while self._size > MAX_KEPT:
            self._drop(next(iter(self._replies)))

    def changed(self, account: str) -> None:
        """Overwrite what is kept of that account: its record has changed."""
        if self._table.config is not self._config:
            self._clear()
        session = self._table.sessions.get(account)
        for question in tuple(self._questions.get(session, ())) if session is not None else ():
            self._drop(question)

    def _drop(self, question: bytes) -> None:
        reply = self._replies.pop(question, None)
        if reply is not None:
            self._size -= len(question) + reply.size
            of_session = self._questions[reply.session]
            of_session.remove(question)
            if not of_session:
                del self._questions[reply.session]
            reply.overwrite()

    def _clear(self) -> None:
        for question in tuple(self._replies):
            self._drop(question)
        self._config = self._table.config
