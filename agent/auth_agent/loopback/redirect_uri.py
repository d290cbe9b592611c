"""A login's redirect URI, where the provider sends the browser: a port of this machine (RFC 8252, section 7.3)."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from auth_agent.config import DEFAULT_REDIRECT_HOST, DEFAULT_REDIRECT_PATH

_HTTP_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class RedirectURI:
    """`http://HOST:PORT/PATH`, as the provider has it registered."""

    port: int
    host: str = DEFAULT_REDIRECT_HOST
    path: str = DEFAULT_REDIRECT_PATH

    def __str__(self) -> str:
        """Return it as the provider gets it."""
        return f"{self.origin}{self.path}"

    @property
    def origin(self) -> str:
        """The URL without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def netloc(self) -> str:
        """Host and port as browsers write them: without the port where that is the scheme's own."""
        return self.host if self.port == _HTTP_PORT else f"{self.host}:{self.port}"

    def has_path(self, path: str) -> bool:
        """Whether a request for that path is for this URI; a browser requests an empty path as `/`."""
        return path == (self.path or "/")

    def query_of(self, url: str) -> str | None:
        """Return the query of a whole URL, which a person pasted; None if it is not this URI with a query."""
        try:
            parts = urlsplit(url.strip())
            port = parts.port or _HTTP_PORT
        except ValueError:
            return None
        is_this = (
            parts.scheme == "http"
            and parts.hostname == self.host.strip("[]")
            and port == self.port
            and parts.username is None
            and self.has_path(parts.path or "/")
        )
        return parts.query if is_this else None
