"""What a person does in a browser, by script: walks through the provider's own pages, from any URL on.

Each walk takes an HTTP client that holds the browser's cookies: a fresh one is a browser that nobody is logged in with.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

# Nobody listens there: the redirect is read, and not followed.
REDIRECT_URI = "http://127.0.0.1:1/callback"

# Login and consent take about ten requests; a provider that goes in circles must not hang a test.
MAX_HOPS = 25

# What the provider's pages say, by which one knows them.
_DEVICE_APPROVED = "Sign-in Success"
_DEVICE_DENIED = "The Sign-in request was interrupted"


class LoginError(Exception):
    """The login or logout at the provider failed."""


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


@dataclass
class Page:
    """The first form of a page, and the URLs of its links."""

    form: Form | None = None
    links: list[str] = field(default_factory=list[str])


class _PageParser(HTMLParser):
    """Finds what there is to do on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        form = self.page.form
        if tag == "form" and form is None:
            self.page.form = Form(action=attributes.get("action", ""))
            self._inside = True
        elif tag == "input" and self._inside and form and "name" in attributes:
            form.inputs[attributes["name"]] = attributes.get("value", "")
        elif tag == "a" and "href" in attributes:
            self.page.links.append(attributes["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def authorize(
    http: httpx.Client,
    endpoint: str,
    *,
    user: str,
    client_id: str,
    scope: str,
    audience: str | None,
    resources: Sequence[str],
) -> Code:
    """Let `user` log in and consent; `http` holds the cookies, so it is to be a fresh one."""
    verifier = secrets.token_urlsafe(48)
    state = secrets.token_urlsafe(8)
    request: dict[str, str | Sequence[str]] = {
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": scope,
        "state": state,
        "nonce": secrets.token_urlsafe(8),
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
        "prompt": "consent",  # without it offline_access is dropped
        "resource": resources,
    }
    if audience is not None:
        request["audience"] = audience
    callback = walk(http, f"{endpoint}?{urlencode(request, doseq=True)}", user, REDIRECT_URI)
    response = {name: values[0] for name, values in parse_qs(urlsplit(callback).query).items()}
    if response.get("state") != state or "code" not in response:
        message = f"the provider came back without a code: {response.get('error')}"
        raise LoginError(message)
    return Code(response["code"], verifier)


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def provider_url(start_url: str) -> str:
    """Return the authorization URL to which a client's own page redirects the browser at first."""
    return httpx.get(start_url, trust_env=False).headers["location"]


def walk(http: httpx.Client, authorization_url: str, user: str, stop: str) -> str:
    """Log in and consent from that address on, until the provider redirects to `stop`; that address, not visited."""
    response = http.get(authorization_url)
    for _ in range(MAX_HOPS):
        if not response.is_redirect:
            response = _submit(http, response, user)
        elif (target := _target(response)).startswith(stop):
            return target
        else:
            response = http.get(target)
    message = f"no end after {MAX_HOPS} requests"
    raise LoginError(message)


def cancel(http: httpx.Client, authorization_url: str, stop: str) -> str:
    """Take the way out that the provider's first page offers; the address it redirects to, not visited."""
    page = _land(http, http.get(authorization_url))
    ways_out = [link for link in _read(page).links if link.endswith("/abort")]
    if not ways_out:
        raise LoginError(_missing("way out", page))
    return walk(http, urljoin(str(page.url), ways_out[0]), "", stop)


def log_out(http: httpx.Client, address: str) -> str:
    """Say yes on a logout page; where the browser ends, which is not visited when it is not the provider's."""
    response = http.get(address)
    for _ in range(MAX_HOPS):
        if response.is_redirect:
            target = _target(response)
            if urlsplit(target).netloc != urlsplit(address).netloc:
                return target
            response = http.get(target)
        elif response.is_error:
            raise LoginError(_missing("logout", response))
        elif (form := _read(response).form) is None:
            return str(response.url)
        else:
            sure = form.inputs | {"logout": "yes"}
            response = http.post(urljoin(str(response.url), form.action), data=sure)
    message = f"no end after {MAX_HOPS} requests"
    raise LoginError(message)


def approve_device(http: httpx.Client, url: str, user: str, user_code: str | None = None) -> None:
    """Approve the device that shows this URL; `user_code` is entered if the page needs it."""
    page = _device_question(http, url, user_code)
    for _ in range(MAX_HOPS):
        if _DEVICE_APPROVED in page.text:
            return
        page = _land(http, _submit(http, page, user))
    message = f"no end after {MAX_HOPS} requests"
    raise LoginError(message)


def deny_device(http: httpx.Client, url: str, user_code: str | None = None) -> None:
    """Deny the device that shows this URL."""
    page = _device_question(http, url, user_code)
    form = _form(page)
    response = http.post(urljoin(str(page.url), form.action), data=form.inputs | {"abort": "yes"})
    if _DEVICE_DENIED not in response.text:
        raise LoginError(_missing("denial", response))


def _device_question(http: httpx.Client, url: str, user_code: str | None) -> httpx.Response:
    """Return the page that asks the user to confirm the device."""
    page = _land(http, http.get(url))
    form = _form(page)
    if user_code is not None:
        form.inputs["user_code"] = user_code
    question = _land(http, http.post(urljoin(str(page.url), form.action), data=form.inputs))
    if "confirm" not in _form(question).inputs:
        raise LoginError(_missing("question whether to confirm", question))
    return question


def _land(http: httpx.Client, response: httpx.Response) -> httpx.Response:
    """Follow redirects to the next page."""
    for _ in range(MAX_HOPS):
        if not response.is_redirect:
            return response
        response = http.get(_target(response))
    message = f"no page after {MAX_HOPS} redirects"
    raise LoginError(message)


def _submit(http: httpx.Client, page: httpx.Response, user: str) -> httpx.Response:
    form = _form(page)
    for name in form.inputs.keys() & {"login", "username"}:
        form.inputs |= {name: user, "password": "any will do"}
    return http.post(urljoin(str(page.url), form.action), data=form.inputs)


def _form(page: httpx.Response) -> Form:
    form = _read(page).form
    if form is None:
        raise LoginError(_missing("form", page))
    return form


def _read(page: httpx.Response) -> Page:
    parser = _PageParser()
    parser.feed(page.text)
    parser.close()
    return parser.page


def _target(redirect: httpx.Response) -> str:
    return urljoin(str(redirect.url), redirect.headers["location"])


def _missing(what: str, page: httpx.Response) -> str:
    """Return the message that a page lacks something, and what it says instead."""
    says = " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.text, flags=re.DOTALL).split())
    return f"{page.url.path} answered {page.status_code}, and no {what}: {says[:300]!r}"
