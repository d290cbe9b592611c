"""`git-credential-auth-agent`: a credential helper of git, for hosts that `[hosts]` maps to an account.

The protocol is that of gitcredentials(7) and git-credential(1). Where git offers `authtype` (2.46), the token is sent
as a bearer token; else as a password. git asks other helpers about hosts that have no rule.
"""

import sys

from auth_agent.cli import end, run_program
from auth_agent.cli.exits import OK, USAGE, print_error
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.tools.agent_error import print_agent_error
from auth_agent_client.client import Agent, Token
from auth_agent_client.errors import AgentError
from auth_agent_client.messages import challenge_of
from auth_agent_client.token import DEFAULT_USERNAME
from auth_agent_client.working_directory import working_directory

_MOST = 1024 * 1024  # characters that git may send
# Characters of a path that need no escape (RFC 3986, section 3.3).
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/")
_REJECTED_TIMEOUT = 5.0  # s, for which git waits until it asks a person

Attributes = dict[str, list[str]]


def main() -> int:
    """Run the program, and return its exit code."""
    return end(run_program(_run, sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print_error("git runs this program: git-credential-auth-agent get (or store, or erase)")
        return USAGE
    (operation,) = arguments
    if operation not in ("get", "erase"):  # what is not known is to be ignored, and there is nothing to store
        return OK
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] -- a text stream
    try:
        attributes = read_attributes(sys.stdin.read(_MOST))
        url = url_of(attributes)
    except ValueError as error:
        print_error(f"git sent {error}; it gets no token")
        return USAGE
    try:
        with PatientAgent() as agent:
            if operation == "erase":
                _erase(agent, attributes, url)
            else:
                token = agent.token(url=url, directory=working_directory())
                sys.stdout.write(answer(token, attributes))
    except AgentError as error:
        return OK if error.failure == "unmapped" else print_agent_error(error)
    return OK


def _erase(agent: Agent, attributes: Attributes, url: str) -> None:
    """Tell the agent that a server rejected a token. One that is not of that host's account changes nothing."""
    token = _last(attributes, "credential") or _last(attributes, "password")
    if token is None:
        return
    agent.rejected(
        token,
        url=url,
        directory=working_directory(),
        challenge=challenge_of(*attributes.get("wwwauth", ())),
        timeout=_REJECTED_TIMEOUT,
    )


def read_attributes(text: str) -> Attributes:
    """Return git's attributes, each with its values in order.

    Raises:
        ValueError: a line is not an attribute, or its value has a character that can't be in one. What follows it in
            the message is for people.

    """
    attributes: Attributes = {}
    for line in text.split("\n"):
        if not line:
            break
        key, equals, value = line.partition("=")
        if not equals or "\r" in line or "\0" in line:
            raise ValueError("a line that is not an attribute")
        values = attributes.setdefault(key.removesuffix("[]"), [])
        if key.endswith("[]") and not value:
            values.clear()  # an empty one resets those before
        else:
            values.append(value)
    return attributes


def url_of(attributes: Attributes) -> str:
    """Return the URL that git calls, of which it tells the parts.

    Raises:
        ValueError: a part is missing.

    """
    protocol, host, path = (_last(attributes, key) for key in ("protocol", "host", "path"))
    if not protocol or not host:
        raise ValueError("no protocol or no host")
    escaped = "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in (path or "").encode("utf-8", "surrogateescape")
    )
    return f"{protocol}://{host}/{escaped}"


def answer(token: Token, attributes: Attributes) -> str:
    """Return what git is told: a bearer token if it and the server take one, else user name and password."""
    challenges = [challenge.strip().lower() for challenge in attributes.get("wwwauth", ())]
    scheme, _, credential = token.authorization.partition(" ")
    is_asked_for = any(challenge.partition(" ")[0] == scheme.lower() for challenge in challenges)
    if "authtype" in attributes.get("capability", ()) and (is_asked_for or not challenges):
        lines = {"capability[]": "authtype", "authtype": scheme, "credential": credential, "ephemeral": "1"}
    else:
        name = _last(attributes, "username") or token.username or DEFAULT_USERNAME
        lines = {"username": name, "password": credential}
    if token.expires_at is not None:
        lines["password_expiry_utc"] = str(int(token.expires_at))
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _last(attributes: Attributes, key: str) -> str | None:
    values = attributes.get(key)
    return values[-1] if values else None
