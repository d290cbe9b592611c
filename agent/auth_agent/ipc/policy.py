"""Which program may have what of which session: the one place that decides it."""

from auth_agent.ipc.connection import Caller
from auth_agent.sessions.session import Session


class Policy:
    """Says yes to every program of this user, the only ones that are served at all."""

    def check(self, caller: Caller, method: str, session: Session) -> None:
        """Return if this caller may call that method of that session; raise `Denied` if not.

        `Handlers` asks once for each request about a session, before the method runs, also while the session is
        locked. This must not wait: a token at hand is served within the callback that brought the request. Where a
        person has to consent first, return a `Later` that `Handlers` awaits as it awaits a locked session.
        """
