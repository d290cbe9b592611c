"""Where a login's browser begins: a short URL of this machine, which redirects to the provider.

The arguments of the program that opens a browser can be read by all users, and the authorization URL has the login's
state. The short URL has only a name that nobody can guess, and is served to connections of this user alone.
"""

import hmac
import secrets
from typing import Final

from auth_agent.loopback.page import Page, not_found, to_provider, used_already

DIRECTORY: Final = "/login/"
# Seconds after the first visit: some browsers and scanners request a URL twice.
_VALID_FOR: Final = 10.0


class StartPage:
    """Redirects to a URL when it is visited, and again for a few seconds."""

    def __init__(self, url: str) -> None:
        """Redirect to that URL."""
        self.path = f"{DIRECTORY}{secrets.token_urlsafe(16)}"
        self._url = url
        self._valid_until: float | None = None

    def visit(self, path: str, now: float) -> Page:
        """Return the response to a visit.

        Args:
            path: the path that was requested.
            now: a monotonic time, in seconds.

        """
        if not hmac.compare_digest(path.encode(), self.path.encode()):
            return not_found()
        if self._valid_until is None:
            self._valid_until = now + _VALID_FOR
        return to_provider(self._url) if now < self._valid_until else used_already()
