"""Asks AWS's Security Token Service for credentials of a role (AssumeRoleWithWebIdentity), with a token as the proof.

The request needs no signature: the token is the credential. The response is XML, as all of the service's are.
"""

import json
import os
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import anyio

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.event_loop import EventLoop
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.http_client import HttpClient, Response
from auth_agent.oauth.outcome import Failure, Misconfigured
from auth_agent.oauth.quotation import redact
from auth_agent.oauth.transport import Transport
from auth_agent.printable import printable
from auth_agent.proxies import environment_proxies
from auth_agent.secret import Secret
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

_API_VERSION: Final = "2011-06-15"
_CREDENTIALS: Final = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
_OK: Final = 200
_SERVER_ERROR: Final = 500
# The service's words for a token that it does not take; the role's policy is another matter.
_TOKEN_REFUSED: Final = ("ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim")
_BUSY: Final = ("IDPCommunicationError", "Throttling", "ThrottlingException")


def assume_role(url: str, role: str, session_name: str, duration: int | None, token: str) -> str:
    """Return the role's credentials as JSON, in the form of `credential_process` (AWS SDKs and Tools Reference).

    Args:
        url: the service's endpoint.
        role: the role's ARN.
        session_name: the name of the role session, which AWS logs.
        duration: for how many seconds the credentials are to be valid; None: as AWS does.
        token: an ID token or access token (a JWT).

    Raises:
        AgentError: AWS can't be reached, or refuses.

    """
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": _API_VERSION,
        "RoleArn": role,
        "RoleSessionName": session_name,
        "WebIdentityToken": token,
        **({} if duration is None else {"DurationSeconds": str(duration)}),
    }
    response = anyio.run(_post, url, form, backend_options={"loop_factory": EventLoop})
    host = urlsplit(url).netloc
    if isinstance(response, Failure):
        raise _unreachable(response)
    return read_response(host, response, Secret(token))


async def _post(url: str, form: dict[str, str]) -> Response | Failure:
    try:
        transport = Transport(trusted_certificates(), environment_proxies(os.environ))
    except StartupError as error:
        return Misconfigured(str(error), (), "SSL_CERT_FILE")
    return await HttpClient(transport, 1).send("POST", url, form=form, headers={"accept": "text/xml"})


def _unreachable(failure: Failure) -> errors.AgentError:
    if isinstance(failure, Misconfigured):
        remedy = (remedies.certificates(),) if failure.variable == "SSL_CERT_FILE" else ()
        return errors.Misconfigured(failure.reason, reason=failure.reason, failure="misconfigured", remedy=remedy)
    return errors.Unavailable(failure.reason, reason=failure.reason, failure="unreachable")


def read_response(host: str, response: Response, token: Secret) -> str:
    """Return the credentials in a response as JSON. Raises an `AgentError` if it has none."""
    document = _parsed(response.body)
    if document is None:
        raise errors.ProviderError(f"{host} did not answer in XML (HTTP {response.status})", failure="invalid_response")
    if response.status != _OK:
        raise _refusal(host, response.status, document, token)
    found = {name: _text(document, name) for name in _CREDENTIALS}
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise errors.ProviderError(f"{host} sent no {', '.join(missing)}", failure="invalid_response")
    return f"{json.dumps({'Version': 1, **found})}\n"


def _refusal(host: str, status: int, document: ET.Element, token: Secret) -> errors.AgentError:
    code, message = printable(_text(document, "Code")), printable(redact(_text(document, "Message"), (token,)))
    reason = f"{host} refuses: {': '.join(filter(None, (code, message))) or f'HTTP {status}'}"
    if status >= _SERVER_ERROR or code in _BUSY:
        return errors.Unavailable(reason, reason=reason, failure="busy")
    remedy: tuple[Remedy, ...] = ()
    if code in _TOKEN_REFUSED:
        remedy = (remedies.trust_issuer(),)
    elif code == "AccessDenied":
        remedy = (remedies.trust_in_role(),)
    return errors.Denied(reason, reason=reason, failure="refused", remedy=remedy)


def _parsed(body: bytes) -> ET.Element | None:
    """Return the document; None if it is not one, or has a definition of entities, which could make it huge."""
    if b"<!" in body:
        return None
    try:
        return ET.fromstring(body)  # noqa: S314 -- no entities, and at most 512 KiB
    except ET.ParseError:
        return None


def _text(document: ET.Element, name: str) -> str:
    """Return the text of the first element of that name, in whatever namespace; "" if there is none."""
    found = document.find(f".//{{*}}{name}")
    return "" if found is None else found.text or ""
