"""Parses token responses, and makes the forms of the device and revocation endpoints, without I/O.

An error is classified by its `error`, not by the HTTP status: providers send `invalid_grant` with 400, 401 and 403.
"""

import email.utils
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Final
from urllib.parse import parse_qs

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth.lifetimes import access_token_lifetime, lifetime_by_claim, refresh_token_lifetime
from auth_agent.oauth.outcome import (
    Busy,
    DoubtfulRefusal,
    Failure,
    InteractionRequired,
    InvalidClient,
    InvalidGrant,
    Lost,
    Misconfigured,
    Overloaded,
    Refusal,
    RefusedForNow,
    ScopeRefusal,
    TargetRefusal,
    TokenResponse,
    Unsupported,
    Unusable,
)
from auth_agent.oauth.quotation import redact
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.token_type import BEARER, is_scheme, is_single_use
from auth_agent_client.messages import MAX_SCOPE, MAX_TOKEN

# Seconds. A provider may ask the agent to wait, but no longer than a person would.
MAX_RETRY_AFTER: Final = 600.0

SUCCESS: Final = range(200, 300)  # 200 by the RFC; a token that came with another 2xx counts too
_REDIRECTS = range(300, 400)
_REFUSED = (400, 401, 403)
# RFC 6585, section 4, and RFC 9110, section 15.6.4: the request was not processed.
_OVERLOADED = (429, 503)
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
# A gateway's error: the provider behind it may have processed the request.
_GATEWAYS = (502, 504)

# RFC 6749's two, of which some providers use the second for a client whose secret they can't read, and GitHub's.
_CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client", "incorrect_client_credentials"})
# RFC 9449: the provider wants a proof with each request, or a nonce in it.
_DPOP = frozenset({"use_dpop_nonce", "invalid_dpop_proof"})
# Of errors that pass by themselves, at whatever status: `server_error` and `temporarily_unavailable` (RFC 6749, section
# 4.1.2.1), `slow_down` (RFC 8628, section 3.5), and what providers call the same, without `_`, `-` and case.
_PASSING = (
    *("servererror", "internalerror", "backenderror", "unavailable", "overload", "busy", "maintenance"),
    *("slowdown", "ratelimit", "toomanyrequests", "throttl", "timeout", "timedout", "tryagain"),
)
# `invalid_scope` (RFC 6749, section 5.2), and what providers call the same, likewise.
_SCOPE_WORDS = frozenset({"invalidscope", "invalidscopes", "unknownscope", "unsupportedscope", "scopenotallowed"})
# Sub-codes of `invalid_grant` that confirm it. Entra's others (MSAL's `suberror`), and Google's (Google Workspace,
# "Session control for Google Cloud"), say "not from here, not now".
_CONFIRMED = frozenset({"bad_token", "token_expired"})
_NOT_NOW = frozenset({"invalid_rapt", "rapt_required"})
# Whoever answers with a page is not the token endpoint, whatever the page says (RFC 6749, section 5.2).
_PAGES: Final = ("text/html", "application/xhtml+xml")
_FORM: Final = "application/x-www-form-urlencoded"
# Bytes, and members, of a response that is a form: enough for the longest tokens, and more members than any has.
_MAX_FORM: Final = 4 * MAX_TOKEN
_MAX_FIELDS: Final = 50
# The account's keys for client authentication.
_CLIENT_KEYS: Final = ("client_id", "token_endpoint_auth_method")
_CLASSES: Final[Mapping[str, type[Failure]]] = {
    "invalid_grant": InvalidGrant,
    "unsupported_grant_type": Misconfigured,
    "invalid_request": Misconfigured,
    "invalid_scope": ScopeRefusal,
    "invalid_target": TargetRefusal,
    "access_denied": Refusal,
    # OpenID Connect Core 1.0, section 3.1.2.6, and Auth0's `mfa_required`.
    "interaction_required": InteractionRequired,
    "login_required": InteractionRequired,
    "consent_required": InteractionRequired,
    "account_selection_required": InteractionRequired,
    "mfa_required": InteractionRequired,
}
_KNOWN = frozenset(_CLASSES) | _CLIENT_ERRORS | _DPOP | {"server_error", "temporarily_unavailable", "slow_down"}


# ---- requests; `Client.authenticate` adds the client's parameters


def device_form(scope: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the form of a device authorization request (RFC 8628, section 3.1), with these parameters."""
    return {"scope": scope, **parameters} if scope else dict(parameters)


def revocation_form(refresh_token: Secret) -> dict[str, str]:
    """Return the form of a revocation request (RFC 7009, section 2.1)."""
    return {"token": refresh_token.reveal(), "token_type_hint": "refresh_token"}


# ---- responses


def parse_token_response(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: tuple[Secret, ...] = ()
) -> TokenResponse | Failure:
    """Parse the response of a token endpoint.

    A new refresh token in it is returned whatever else it says: the provider may have replaced the one that was sent.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds; dates in the response are relative to it if the response has no `Date`.
        presented: the secrets that were sent; they are removed from messages that quote them.

    """
    fields = error_fields(body) or _form_fields(headers, body)
    refresh_token = read_token(fields.get("refresh_token"))
    if refresh_token is None:
        return _parse(status, headers, fields, now, presented, is_empty=not body.strip())
    response = _parse(status, headers, fields, now, (*presented, refresh_token))
    if isinstance(response, Failure) and refresh_token in presented:
        return response  # it quotes the request
    return replace(response, refresh_token=refresh_token)


def _parse(
    status: int,
    headers: Mapping[str, str],
    fields: Mapping[str, object],
    now: float,
    secrets: tuple[Secret, ...],
    *,
    is_empty: bool = False,
) -> TokenResponse | Failure:
    """Parse a response but for its refresh token; `secrets` are removed from messages that quote them.

    `is_empty`: it has no body. A page without an error is of whoever is between, and so it says nothing.
    """
    error = fields.get("error")
    if isinstance(error, str) and error and not _is_page(headers):
        if error == "invalid_grant" and _may_pass(fields):
            return RefusedForNow(_reason(error, fields.get("error_description"), secrets))
        return failure_of_error(error, fields.get("error_description"), status, retry_after(headers, now), secrets)
    if status in SUCCESS:
        if _is_too_long(fields.get("access_token")):
            return Unusable(f"the provider's access token is longer than {MAX_TOKEN:,} characters")
        date = unix_time(headers.get("date", ""))
        response = _token_response(fields, now if date is None else date)
        return response if response is not None else Lost("the provider's response can't be read")
    if status in _GATEWAYS:
        return Lost(f"a gateway answered for the provider (HTTP {status})")
    if status in _REFUSED and is_empty:
        return DoubtfulRefusal(f"the provider refused and did not say why (HTTP {status})")
    if status in _REDIRECTS:
        return Busy(f"the provider answered with a redirect (HTTP {status}), which the agent does not follow")
    kind = Overloaded if status in _OVERLOADED else Busy
    return kind(f"the provider answered HTTP {status}", retry_after(headers, now))


def error_fields(body: bytes) -> dict[str, object]:
    """Return the members of a response; none if it is not a JSON object."""
    try:
        return read_object(body)
    except JsonObjectError:
        return {}


def _form_fields(headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    """Return the members of a response that is a form, as Stack Exchange and others still send one; else none."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM or len(body) > _MAX_FORM:
        return {}
    try:
        fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items() if len(values) == 1}


def says_error(body: bytes) -> bool:
    """Return whether a response is an error, whatever its status: by `error`, or by `ok` as Slack has it."""
    fields = error_fields(body)
    return bool(fields.get("error")) or fields.get("ok") is False


def failure_of_error(
    error: str,
    description: object = None,
    status: int = 400,
    wait: float | None = None,
    presented: tuple[Secret, ...] = (),
) -> Failure:
    """Return the failure that a provider's `error` stands for.

    Args:
        error: the error code.
        description: `error_description`, of any type.
        status: the HTTP status; 400 for an error in a redirect.
        wait: its `Retry-After` in seconds, if any.
        presented: the secrets that were sent; they are removed from messages that quote them.

    """
    reason = _reason(error, description, presented)
    if status == _TOO_MANY_REQUESTS:
        return Overloaded(reason, wait)
    if error == "invalid_client":
        return InvalidClient(reason, keys=_CLIENT_KEYS)
    if error in _CLIENT_ERRORS:
        return InvalidClient(reason)
    if error in _DPOP:
        return Unsupported(f"the provider requires proofs of possession (DPoP), which the agent can't make: {reason}")
    if _plain(error) in _SCOPE_WORDS:
        return ScopeRefusal(reason)
    if error in _CLASSES:
        return _CLASSES[error](reason)
    if status in _GATEWAYS:
        return Lost(reason)
    if _is_definite(status) and not _passes(error):
        return DoubtfulRefusal(reason)
    return Overloaded(reason, wait) if status in _OVERLOADED else Busy(reason, wait)


def _is_definite(status: int) -> bool:
    return status in _REFUSED or status in SUCCESS


def _passes(error: str) -> bool:
    word = _plain(error)
    return any(part in word for part in _PASSING)


def _plain(error: str) -> str:
    return error.lower().replace("_", "").replace("-", "").replace(" ", "")


def _reason(error: str, description: object, presented: tuple[Secret, ...]) -> str:
    """Return an error and its description as one line, safe to print."""
    code = error if error in _KNOWN else printable(redact(error, presented), 64)
    message = printable(redact(description, presented))
    return f"{code}: {message}" if message else code


def _is_page(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() in _PAGES


def _may_pass(fields: Mapping[str, object]) -> bool:
    """Whether the sub-code of an `invalid_grant` says that the refresh token may work again."""
    suberror, subtype = fields.get("suberror"), fields.get("error_subtype")
    may_pass = isinstance(suberror, str) and bool(suberror) and suberror not in _CONFIRMED
    return may_pass or (isinstance(subtype, str) and subtype in _NOT_NOW)


def parse_refresh_response(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: tuple[Secret, ...] = ()
) -> TokenResponse | Failure:
    """Parse the response to a refresh that asks for nothing in particular; see `parse_token_response`.

    Nothing in such a request can be wrong but the client and the refresh token: a definite refusal by another word is
    about that token. Some providers say `invalid_request` of an expired one, and others words of their own. That a
    person must interact is one for now: they may, and conditions such as the network's change. What comes with the
    status of an outage is no verdict.
    """
    outcome = parse_token_response(status, headers, body, now, presented)
    kind: type[DoubtfulRefusal | Busy]
    if isinstance(outcome, InvalidGrant):
        if status < _SERVER_ERRORS:
            return outcome
        kind = DoubtfulRefusal
    elif isinstance(outcome, InteractionRequired):
        kind = RefusedForNow if _is_definite(status) else Busy
    elif isinstance(outcome, Misconfigured | Refusal) and not isinstance(outcome, InvalidClient):
        kind = DoubtfulRefusal if _is_definite(status) else Busy
    else:
        return outcome
    return kind(outcome.reason, refresh_token=outcome.refresh_token)


def _token_response(fields: Mapping[str, object], now: float) -> TokenResponse | None:
    """Return a response; `now`: when it was sent, as Unix time by its sender's clock. None if it has no token."""
    access_token = read_token(fields.get("access_token"))
    refresh_token = read_token(fields.get("refresh_token"))
    id_token = read_token(fields.get("id_token"))
    if access_token is None and refresh_token is None and id_token is None:
        return None
    token_type, scope = fields.get("token_type"), _scope(fields.get("scope"))
    return TokenResponse(
        access_token=access_token,
        # Required by RFC 6749, section 5.1; some providers omit it.
        token_type=token_type if is_scheme(token_type) else BEARER,
        is_single_use=is_single_use(token_type, fields.get("issued_token_type")),
        lifetime=access_token_lifetime(fields, now),
        refresh_token=refresh_token,
        scope=scope,
        id_token=id_token,
        refresh_token_lifetime=refresh_token_lifetime(fields, now),
        lifetime_by_claim=lifetime_by_claim(access_token, now),
    )


def _scope(value: object) -> str | None:
    """Return the scopes that a response lists, safe to print; None if it lists none.

    Twitch and others send a list (RFC 6749, section 3.3, has a string). A longer one than the protocol can carry counts
    as missing: a part of it would say that scopes are.
    """
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):  # pyright: ignore[reportUnknownVariableType] -- any list from outside
        value = " ".join(value)  # pyright: ignore[reportUnknownArgumentType] -- as above
    return printable(value, MAX_SCOPE) if isinstance(value, str) and len(value) <= MAX_SCOPE else None


def read_token(value: object) -> Secret | None:
    """Return the token if it is printable ASCII (RFC 6749, A.12), else None: a line end could forge a header.

    A token that is longer than the protocol can carry is None as well.
    """
    if isinstance(value, str) and value and not _is_too_long(value) and value.isascii() and value.isprintable():
        return Secret(value)
    return None


def _is_too_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > MAX_TOKEN


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return `Retry-After` in seconds (RFC 9110, section 10.2.3: a number of seconds or a date), None if missing.

    A date is relative to the response's own `Date`, since the sender's clock may differ. `headers` are by lower-case
    name; `now`, Unix time in seconds, is used if the response has no `Date`.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        date, sent = unix_time(value), unix_time(headers.get("date", ""))
        if date is None:
            return None
        seconds = date - (now if sent is None else sent)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def unix_time(value: str) -> float | None:
    """Parse an HTTP date (RFC 9110, section 5.6.7) into Unix time; None if it is invalid."""
    try:
        date = email.utils.parsedate_to_datetime(value)
        # A date with "-0000" has no time zone; an HTTP date is in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
