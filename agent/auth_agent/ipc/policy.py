"""Decides which program may call which method of which session; no other module does."""

from auth_agent.ipc.connection import Caller
from auth_agent.sessions.session import Session


class Policy:
    """Allows everything to every program of this user; programs of other users can't connect."""

    def check(self, caller: Caller, method: str, session: Session) -> None:
        """Return if this caller may call that method of that session; raise `Denied` if not.

        `Handlers` asks once for each request about a session, before the method runs, also while the session is
        locked. This must not wait: a valid token is served in the callback that read the request.
        """
