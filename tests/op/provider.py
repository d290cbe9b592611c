"""Runs the provider of server.mjs, and talks to it: `with OpenIDProvider() as provider: ...`."""

import hashlib
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, quote_plus, urlencode, urlsplit

import httpx

from tests.op.browser import Browser
from tests.op.install import is_installed, node_command
from tests.op.login import REDIRECT_URI, approve_device, cancel, deny_device, walk

SERVER = Path(__file__).with_name("server.mjs")
START_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0
REQUEST_TIMEOUT = 45.0  # the page of a login waits half a minute for the keys

Flavor = Literal["auth0", "plain"]

# So many requests of a user at once, then so many a minute.
RateLimit = tuple[int, int]

# What Auth0 allows at UserInfo.
AUTH0_USERINFO_LIMIT: RateLimit = (10, 5)

# The scopes of Auth0's Management API that a user's own token may have.
MANAGEMENT_SCOPE = "read:current_user update:current_user_metadata"

FaultMode = Literal[
    "status",
    "delay",
    "drop-before",
    "drop-after",
    "delay-after",
    "garbage",
    "echo",
    "half",
    "drip",
    "huge",
    "merge",
]

# Milliseconds for which a fault holds a request until the test releases it: less than the agent waits for a response.
HELD = 25_000

# Stands for the provider's token path where a route is expected; a real path begins with a slash.
TOKEN_ROUTE = "token"


@dataclass(frozen=True)
class Credentials:
    """How a client shows that it is itself (OpenID Connect Core, section 9)."""

    method: Literal["client_secret_basic", "client_secret_post"]
    secret: str = field(repr=False)


# The clients that have a secret, as clients.mjs registers them.
CREDENTIALS = {
    "basic-app": Credentials("client_secret_basic", "basic-secret"),
    "post-app": Credentials("client_secret_post", "post-secret"),
    "mac-app": Credentials("client_secret_basic", "mac-secret-of-32-characters-----"),
    "odd-app": Credentials("client_secret_basic", 'b:s+ %/&="~'),
    "service-app": Credentials("client_secret_post", "service-secret"),
    "service-basic": Credentials("client_secret_basic", "service-secret"),
    "rs": Credentials("client_secret_basic", "rs-secret"),
}


class ProviderError(Exception):
    """The provider can't be started, or is not running."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a token response."""

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int
    refresh_token: str | None = field(repr=False)
    id_token: str | None = field(repr=False)
    scope: str | None


@dataclass(frozen=True)
class Presented:
    """How often a refresh token came to the token endpoint, and how often new tokens went out for it.

    A response counts as succeeded when the provider granted it and all of it was sent; not when a fault made it
    up, withheld it or cut it short. `answered_at` is when the first of them had been sent, `repeated_at` when the
    token came although one had been; these times, which nobody can foresee, don't count in a comparison.
    """

    presented: int
    succeeded: int
    answered_at: float | None = field(default=None, compare=False)
    repeated_at: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class LoggedRequest:
    """A request as the provider saw it; `status` is None until its response has been sent completely."""

    at: float
    method: str
    path: str
    grant_type: str | None
    client_id: str | None
    audience: str | None
    status: int | None


def fingerprint(token: str) -> str:
    """Return the key of that token in the ledger."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class _Running:
    """The provider's process, and the client that talks to it."""

    process: "subprocess.Popen[str]"
    http: httpx.Client
    issuer: str
    port: int
    paths: dict[str, str]
    management_audience: str | None


class OpenIDProvider(AbstractContextManager["OpenIDProvider"]):
    """A certified OpenID Provider in a process of its own, on a port of 127.0.0.1.

    `overlap` is the time in seconds for which a refresh token may be used again after it was replaced, 0 for
    none; `clock_offset` is how many seconds its clock is ahead of the machine's, or behind when negative; `tls`
    is the files of a certificate and its key, and `ca` the file of the authority that this object's own requests
    trust for it. `origin` is what it is called in place of its address, such as https://op.example, and `proxy` the
    address of the one that leads this object's own requests from there to its `port`.

    `multi_resource` lets a refresh name another audience than the login did; `other_audience` is what comes of one
    that it may not name, as the Management API's never may. `management_audience` is what that API is called where
    the issuer is a custom domain, `management_refresh_token` whether a login for it gets a refresh token.
    """

    def __init__(
        self,
        *,
        flavor: Flavor = "auth0",
        access_token_lifetime: int = 5,
        id_token_lifetime: int = 3600,
        refresh_token_lifetime: int = 14 * 24 * 3600,
        device_code_lifetime: int = 600,
        device_interval: int = 5,
        rotate: bool = True,
        overlap: int = 0,
        audience_fallback: bool = False,
        multi_resource: bool = True,
        other_audience: Literal["refused", "ignored"] = "refused",
        management_audience: str = "",
        management_refresh_token: bool = True,
        management_limit: RateLimit | None = None,
        userinfo_limit: RateLimit | None = None,
        clock_offset: int = 0,
        tls: tuple[Path, Path] | None = None,
        ca: Path | None = None,
        port: int = 0,
        origin: str = "",
        proxy: str | None = None,
    ) -> None:
        certificate, key = tls or ("", "")
        self._options = {
            "PORT": str(port),
            "FLAVOR": flavor,
            "AT_TTL": str(access_token_lifetime),
            "ID_TTL": str(id_token_lifetime),
            "RT_TTL": str(refresh_token_lifetime),
            "DEVICE_TTL": str(device_code_lifetime),
            "INTERVAL": str(device_interval),
            "ROTATE": str(int(rotate)),
            "REUSE_LEEWAY": str(overlap),
            "AUDIENCE_FALLBACK": str(int(audience_fallback)),
            "MULTI_RESOURCE": str(int(multi_resource)),
            "OTHER_AUDIENCE": other_audience,
            "MANAGEMENT_AUDIENCE": management_audience,
            "MANAGEMENT_REFRESH": str(int(management_refresh_token)),
            "MANAGEMENT_LIMIT": _limit(management_limit),
            "USERINFO_LIMIT": _limit(userinfo_limit),
            "CLOCK_OFFSET": str(clock_offset),
            "ORIGIN": origin,
            "TLS_CERT": str(certificate),
            "TLS_KEY": str(key),
        }
        self._proxy = proxy
        self._trust = ssl.create_default_context(cafile=ca)
        self._resources = ExitStack()
        self._state: _Running | None = None

    def __enter__(self) -> Self:
        """Start the process and wait until it responds."""
        if not is_installed():
            message = "the provider's packages are missing or old: run `python tests/op/install.py`"
            raise ProviderError(message)
        with ExitStack() as resources:
            self._state = self._start(resources)
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process."""
        self._state = None
        self._resources.close()

    @property
    def issuer(self) -> str:
        """The issuer, which for flavor auth0 ends in a slash."""
        return self._running.issuer

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._running.port

    @property
    def url(self) -> str:
        """The URL of the provider, without a slash at the end."""
        return self._running.issuer.rstrip("/")

    @property
    def paths(self) -> dict[str, str]:
        """The path of each endpoint, by the names that paths.mjs gives them."""
        return dict(self._running.paths)

    @property
    def token_path(self) -> str:
        """The path of the token endpoint."""
        return self._running.paths["token"]

    @property
    def management_audience(self) -> str:
        """The audience of the Management API, which only flavor auth0 has."""
        audience = self._running.management_audience
        if audience is None:
            message = "only flavor auth0 has a Management API"
            raise ProviderError(message)
        return audience

    def user_path(self, user: str) -> str:
        """Return the path of that user in the Management API."""
        return self._running.paths["management"] + quote(user, safe="")

    def login(
        self,
        user: str = "auth0|alice",
        *,
        client_id: str = "native-app",
        scope: str = "openid profile email offline_access",
        audience: str | None = None,
        resources: Sequence[str] = (),
        browser: Browser | None = None,
    ) -> Tokens:
        """Log `user` in by authorization code with PKCE, through the provider's own pages.

        `audience` is Auth0's name for an API, `resources` are RFC 8707's. The logins of a user in one `browser` share
        one grant; without it, each has a browser and a grant of its own.
        """
        with self.browser() if browser is None else nullcontext(browser) as one:
            code = one.authorize(user, client_id=client_id, scope=scope, audience=audience, resources=resources)
        form = {
            "grant_type": "authorization_code",
            "redirect_uri": REDIRECT_URI,
            "code": code.value,
            "code_verifier": code.verifier,
        }
        return _tokens(self._post_token(client_id, form).raise_for_status().json())

    def refresh(self, refresh_token: str, *, client_id: str = "native-app", **form: str) -> httpx.Response:
        """Present a refresh token, as any client might."""
        return self._post_token(client_id, {"grant_type": "refresh_token", "refresh_token": refresh_token} | form)

    def client_credentials(self, client_id: str = "service-app", **form: str) -> httpx.Response:
        """Ask for a token that is the client's own, without a user."""
        return self._post_token(client_id, {"grant_type": "client_credentials"} | form)

    def visit(self, authorization_url: str, user: str = "auth0|alice") -> str:
        """Log in and consent from an address on that a client made; where the browser is sent in the end.

        Nobody goes there: that is the caller's, or `enter`'s.
        """
        with self._new_client() as browser:
            return walk(browser, authorization_url, user, _redirect_uri(authorization_url))

    def enter(self, authorization_url: str, user: str = "auth0|alice") -> httpx.Response:
        """Log in and consent, and follow the last redirect; return the response."""
        return self._go(self.visit(authorization_url, user))

    def cancel(self, authorization_url: str) -> str:
        """Cancel the login on the provider's page; where the browser is sent, which is not visited."""
        with self._new_client() as browser:
            return cancel(browser, authorization_url, _redirect_uri(authorization_url))

    def approve(self, verification_uri: str, user: str = "auth0|alice", *, user_code: str | None = None) -> None:
        """Log in at the address that a device shows, and let it in; `user_code` where that is to be typed."""
        with self._new_client() as browser:
            approve_device(browser, verification_uri, user, user_code)

    def deny(self, verification_uri: str, *, user_code: str | None = None) -> None:
        """Deny the device that shows this URL."""
        with self._new_client() as browser:
            deny_device(browser, verification_uri, user_code)

    @contextmanager
    def browser(self) -> Generator[Browser]:
        """A browser that stays the same from one visit to the next, and nobody is logged in with yet."""
        with self._new_client() as http:
            yield Browser(http, self.url + self._running.paths["authorization"])

    def end_session_url(self, **parameters: str) -> str:
        """Return the URL of a logout by the browser (OpenID Connect RP-Initiated Logout)."""
        return f"{self.url}{self._running.paths['end_session']}?{urlencode(parameters)}"

    def logout_url(self, **parameters: str) -> str:
        """Return the URL of the older logout that only flavor auth0 has; it takes `client_id` and `returnTo`."""
        return f"{self.url}{self._running.paths['logout']}?{urlencode(parameters)}"

    def revoke(self, token: str, *, client_id: str = "native-app") -> httpx.Response:
        """Revoke a token of a client without a secret (RFC 7009)."""
        form = {"token": token, "client_id": client_id}
        return self._running.http.post(self._running.paths["revocation"], data=form)

    def user(self, user: str) -> dict[str, Any] | None:
        """Return all that the Management API has of that user; None if it was removed."""
        fields: dict[str, Any] | None = self._know(user)["user"]
        return fields

    def claims(self, user: str) -> dict[str, Any] | None:
        """Return all claims that UserInfo has of that user, for all scopes; None if it was removed."""
        fields: dict[str, Any] | None = self._know(user)["claims"]
        return fields

    def change_user(
        self,
        user: str,
        *,
        claims: Mapping[str, object] | None = None,
        user_metadata: Mapping[str, object] | None = None,
        app_metadata: Mapping[str, object] | None = None,
        **attributes: object,
    ) -> None:
        """Change what is known of that user, until a reset.

        `claims` are merged over those of UserInfo and ID tokens, `attributes` over the Management API's user, and a
        value of None takes one away; metadata are replaced.
        """
        changes = {"claims": claims, "user_metadata": user_metadata, "app_metadata": app_metadata}
        replaced = {name: value for name, value in changes.items() if value is not None}
        self._order({"change_user": {"id": user} | replaced | attributes})

    def remove_user(self, user: str) -> None:
        """Take that user's account away, until a reset."""
        self._order({"remove_user": user})

    def read_user(self, access_token: str, user: str = "auth0|alice", **query: str) -> httpx.Response:
        """Ask the Management API for a user, as any client might."""
        headers = {"Authorization": f"Bearer {access_token}"}
        return self._running.http.get(self.user_path(user), params=query, headers=headers)

    def patch_user(self, access_token: str, body: object, user: str = "auth0|alice") -> httpx.Response:
        """Change a user by the Management API, as any client might."""
        headers = {"Authorization": f"Bearer {access_token}"}
        return self._running.http.patch(self.user_path(user), json=body, headers=headers)

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of its signatures."""
        keys: dict[str, Any] = self._running.http.get(self._running.paths["jwks"]).raise_for_status().json()
        return keys

    def userinfo(self, access_token: str) -> httpx.Response:
        """Ask who the user of that access token is."""
        path = self._running.paths["userinfo"]
        return self._running.http.get(path, headers={"Authorization": f"Bearer {access_token}"})

    def fault(
        self,
        mode: FaultMode,
        *,
        route: str | None = TOKEN_ROUTE,
        times: int | None = 1,
        method: str | None = None,
        client_id: str | None = None,
        grant_type: str | None = None,
        audience: str | None = None,
        **more: object,
    ) -> None:
        """Order a fault; README.md lists the modes and what `more` each of them takes.

        A `route` of None means any path, `times` of None means until the faults are cleared.
        """
        fault = {
            "mode": mode,
            "route": self.token_path if route == TOKEN_ROUTE else route,
            "times": times,
            "method": method,
            "client_id": client_id,
            "grant_type": grant_type,
            "audience": audience,
        }
        self._order({"fault": fault | more})

    def release(self) -> None:
        """Let go of the requests and responses that are held by the faults ordered so far."""
        self._order({"release": True})

    def clear_faults(self) -> None:
        """Take all faults back."""
        self._order({"clear": True})

    def reset(self) -> None:
        """Take all faults back, and forget counts, log, ledger and what was changed of users; grants stay."""
        self._order({"reset": True})

    def set_clock(self, offset: float) -> None:
        """Set its clock while it runs: so many seconds ahead of the machine's, or behind when negative."""
        self._order({"clock": offset})

    def ledger(self) -> dict[str, Presented]:
        """Return the uses of each refresh token that was presented, by its `fingerprint`."""
        rows: dict[str, dict[str, Any]] = self._snapshot()["ledger"]
        return {key: _presented(**row) for key, row in rows.items()}

    def happened(self) -> dict[str, int]:
        """Return how many requests met a fault, by its mode; `status 503` and the like by their numbers."""
        happened: dict[str, int] = self._snapshot()["happened"]
        return happened

    def requests(self, path: str | None = None, grant_type: str | None = None) -> list[LoggedRequest]:
        """Return the requests in order of arrival: all of them, or those of a path or a grant type."""
        lines: list[dict[str, Any]] = self._snapshot()["log"]
        return [
            request
            for request in (LoggedRequest(**line) for line in lines)
            if path in (None, request.path) and grant_type in (None, request.grant_type)
        ]

    def secrets(self) -> dict[str, list[str]]:
        """Return the secrets that it granted or received, by kind: `access_token`, `code_verifier`, `state`, ..."""
        result: dict[str, list[str]] = self._running.http.get("/__control?secrets").raise_for_status().json()
        return result

    def count(self, path: str) -> int:
        """Return how many requests came for that path."""
        counts: dict[str, int] = self._snapshot()["counts"]
        return counts.get(path, 0)

    @property
    def _running(self) -> _Running:
        if self._state is None:
            message = "the provider is not running: use it in a with statement"
            raise ProviderError(message)
        return self._state

    def _start(self, resources: ExitStack) -> _Running:
        # A file takes any amount of stderr without somebody reading along; `resources` closes it.
        errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        resources.callback(errors.close)
        process = subprocess.Popen(
            [*node_command(), str(SERVER)],
            env=os.environ | self._options,
            stdin=subprocess.PIPE,  # at its end, the provider ends too
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            process_group=0,  # Ctrl-C is for the caller, who ends it
        )
        resources.callback(_stop, process)
        line, stuck_in = _first_line(process)
        if not line:
            process.wait()
            errors.seek(0)
            message = f"the provider did not start:\n{errors.read()}{stuck_in}"
            raise ProviderError(message)
        ready: dict[str, Any] = json.loads(line)
        issuer: str = ready["issuer"]
        http = resources.enter_context(self._new_client(issuer))
        return _Running(process, http, issuer, ready["port"], ready["paths"], ready["management_audience"])

    def _new_client(self, base_url: str = "") -> httpx.Client:
        # The environment's proxies are not for loopback.
        return httpx.Client(
            base_url=base_url, proxy=self._proxy, verify=self._trust, trust_env=False, timeout=REQUEST_TIMEOUT
        )

    def _go(self, address: str) -> httpx.Response:
        with self._new_client() as browser:
            return browser.get(address)

    def _post_token(self, client_id: str, form: dict[str, str]) -> httpx.Response:
        credentials = CREDENTIALS.get(client_id)
        if credentials is None:
            return self._running.http.post(self.token_path, data=form | {"client_id": client_id})
        if credentials.method == "client_secret_post":
            proof = {"client_id": client_id, "client_secret": credentials.secret}
            return self._running.http.post(self.token_path, data=form | proof)
        # RFC 6749, section 2.3.1: both are form-encoded first.
        basic = httpx.BasicAuth(quote_plus(client_id), quote_plus(credentials.secret))
        return self._running.http.post(self.token_path, data=form, auth=basic)

    def _order(self, order: dict[str, Any]) -> None:
        self._running.http.post("/__control", json=order).raise_for_status()

    def _know(self, user: str) -> dict[str, Any]:
        known: dict[str, Any] = self._running.http.get("/__control", params={"user": user}).raise_for_status().json()
        return known

    def _snapshot(self) -> dict[str, Any]:
        snapshot: dict[str, Any] = self._running.http.get("/__control").raise_for_status().json()
        return snapshot


def _limit(limit: RateLimit | None) -> str:
    return "/".join(map(str, limit or ()))


def _redirect_uri(authorization_url: str) -> str:
    """Return the redirect_uri of a URL (RFC 6749, section 4.1.1)."""
    return parse_qs(urlsplit(authorization_url).query)["redirect_uri"][0]


def _tokens(granted: dict[str, Any]) -> Tokens:
    return Tokens(
        access_token=granted["access_token"],
        token_type=granted["token_type"],
        expires_in=granted["expires_in"],
        refresh_token=granted.get("refresh_token"),
        id_token=granted.get("id_token"),
        scope=granted.get("scope"),
    )


def _presented(*, repeated_at: list[float], **row: Any) -> Presented:
    return Presented(repeated_at=tuple(repeated_at), **row)


def _first_line(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Return the process's first line, or "" if it ends without one; it is ended if it takes too long.

    Return also, for the error, where its threads were in that case.
    """
    assert process.stdout is not None
    stuck_in: list[str] = []

    def give_up() -> None:
        stuck_in.append(f"after {START_TIMEOUT:g} s it was ended; its threads were in:\n{_threads(process.pid)}")
        process.kill()

    timer = Timer(START_TIMEOUT, give_up)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
        timer.join()
    return line, "".join(stuck_in)


def _threads(pid: int) -> str:
    """Return what each thread of a process waits for, from /proc."""
    lines: list[str] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        fields = [(task / name).read_text().strip() for name in ("comm", "wchan", "syscall", "schedstat")]
        lines.append(" ".join(fields))
    return "\n".join(lines)


def _stop(process: "subprocess.Popen[str]") -> None:
    with process:  # closes the pipes
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
