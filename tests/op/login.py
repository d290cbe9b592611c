"""Logging in without a person: authorization code with PKCE, through the provider's own forms."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

# Nobody listens there: the redirect is read, and not followed.
REDIRECT_URI = "http://127.0.0.1:1/callback"

# Login and consent take about ten requests; a provider that goes in circles must not hang a test.
MAX_HOPS = 25


class LoginError(Exception):
    """The provider did not let the user in."""


@dataclass(frozen=True)
class Code:
    """An authorization code, and what is needed to exchange it."""

    value: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass
class Form:
    """An HTML form, with the values that are filled in already."""

    action: str = ""
    inputs: dict[str, str] = field(default_factory=dict[str, str])


class _FormParser(HTMLParser):
    """Finds the first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None:
            self.form = Form(action=attributes.get("action", ""))
            self._inside = True
        elif tag == "input" and self._inside and self.form and "name" in attributes:
            self.form.inputs[attributes["name"]] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def authorize(
    http: httpx.Client, endpoint: str, *, user: str, client_id: str, scope: str, audience: str | None
) -> Code:
    """Let `user` log in and consent; `http` holds the cookies, so it is to be a fresh one."""
    verifier = secrets.token_urlsafe(48)
    state = secrets.token_urlsafe(8)
    request = {
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": scope,
        "state": state,
        "nonce": secrets.token_urlsafe(8),
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
        "prompt": "consent",  # without it offline_access is dropped
    }
    if audience is not None:
        request["audience"] = audience
    callback = _walk(http, http.get(endpoint, params=request), user)
    answer = {name: values[0] for name, values in parse_qs(urlsplit(callback).query).items()}
    if answer.get("state") != state or "code" not in answer:
        message = f"the provider came back without a code: {answer.get('error')}"
        raise LoginError(message)
    return Code(answer["code"], verifier)


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _walk(http: httpx.Client, response: httpx.Response, user: str) -> str:
    """Follow redirects and submit forms until the provider redirects to REDIRECT_URI; return that address."""
    for _ in range(MAX_HOPS):
        if response.is_redirect:
            target = urljoin(str(response.url), response.headers["location"])
            if target.startswith(REDIRECT_URI):
                return target
            response = http.get(target)
        else:
            response = _submit(http, response, user)
    message = f"no end after {MAX_HOPS} requests"
    raise LoginError(message)


def _submit(http: httpx.Client, page: httpx.Response, user: str) -> httpx.Response:
    parser = _FormParser()
    parser.feed(page.text)
    parser.close()
    form = parser.form
    if form is None:
        message = f"{page.url.path} answered {page.status_code}, and no form: {page.text[:200]!r}"
        raise LoginError(message)
    if "login" in form.inputs:
        form.inputs |= {"login": user, "password": "any will do"}
    return http.post(urljoin(str(page.url), form.action), data=form.inputs)
