"""One HTTP request of a browser and the response to it, without I/O."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from auth_agent.loopback.page import CONTENT_SECURITY_POLICY, Page, error_page, not_found
from auth_agent.loopback.redirect_uri import RedirectURI
from auth_agent.loopback.start_page import DIRECTORY
from auth_agent.secret import Secret

# Bytes. A redirect has a few hundred, but cookies that other programs set for this host can add many times that.
MAX_REQUEST: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect that a browser followed; `query` may be forged until its state has been checked."""

    query: Secret


@dataclass(frozen=True, slots=True)
class Start:
    """A visit to the page where a login begins; `path` may be guessed until it has been compared."""

    path: str


class HTTPRequest:
    """One request and its response; the connection ends with it."""

    def __init__(self, redirect_uri: RedirectURI) -> None:
        """Expect a request to the host and port of that URI."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST)
        self._received = 0
        self._bodiless = False
        self._redirect_uri = redirect_uri

    @property
    def begun(self) -> bool:
        """Whether any byte of a request has been received."""
        return self._received > 0

    def receive(self, data: bytes) -> Redirect | Start | Page | None:
        """Take more of the request. Return what it is, or an error page, once that is clear; None if more must follow.

        Args:
            data: the bytes received; empty at the end of the stream.

        """
        self._received += len(data)
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return self._decide(event)
        except h11.RemoteProtocolError as error:
            # h11's message is not shown: it quotes the request, which may contain the code.
            if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                return too_large()
            return error_page(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP")
        # The request may fill the limit with headers alone; there is no room for more.
        return too_large() if self._received >= MAX_REQUEST else None

    @property
    def room(self) -> int:
        """How many more bytes the request may have."""
        return MAX_REQUEST - self._received

    def _decide(self, request: h11.Request) -> Redirect | Start | Page:
        self._bodiless = request.method == b"HEAD"
        hosts = [value for name, value in request.headers if name == b"host"]
        if hosts != [self._redirect_uri.netloc.encode()]:
            # A request for another host name may be DNS rebinding by a website.
            return error_page(HTTPStatus.MISDIRECTED_REQUEST, "This request is meant for another host")
        if request.method != b"GET":
            return error_page(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here")
        if not request.target.startswith(b"/"):
            return error_page(HTTPStatus.BAD_REQUEST, "This server is not a proxy")
        path, _, query = request.target.partition(b"?")
        is_redirect = self._redirect_uri.has_path(path.decode("latin-1"))
        if not is_redirect and not path.startswith(DIRECTORY.encode()):
            return not_found()
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            return error_page(HTTPStatus.BAD_REQUEST, "A redirect has no body")
        if is_redirect:
            return Redirect(Secret(query.decode("latin-1")))
        return Start(path.decode("latin-1"))

    def answer(self, page: Page) -> bytes:
        """Return the bytes of the whole response."""
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(page.body)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Connection": "close",
        }
        if page.location is not None:
            headers["Location"] = page.location
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"  # RFC 9110, section 15.5.6
        reason = HTTPStatus(page.status).phrase
        response = h11.Response(status_code=page.status, headers=list(headers.items()), reason=reason)
        sent = self._http.send(response)
        if not self._bodiless:
            sent += self._http.send(h11.Data(data=page.body))
        return sent + self._http.send(h11.EndOfMessage())


def too_large() -> Page:
    """Return the error page for a request that is too large."""
    return error_page(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large")
