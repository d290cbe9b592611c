"""`bazel-credential-auth-agent`: a credential helper of Bazel, and of other tools that have its protocol.

That protocol is EngFlow's Credential Helpers Specification. A tool caches the headers until they expire.
"""

import json
import sys
import time

from auth_agent.cli import end, run_program
from auth_agent.cli.exits import OK, USAGE, print_error
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.tools.agent_error import print_agent_error
from auth_agent.cli.tools.margin import use_until
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent_client.client import Token
from auth_agent_client.errors import AgentError
from auth_agent_client.working_directory import working_directory

_MOST = 1024 * 1024  # bytes that a tool may send
# gRPC's calls are HTTP/2 requests; a tool may name them by a scheme of their own.
_SCHEMES = {"grpcs": "https", "grpc": "http"}


def main() -> int:
    """Run the program, and return its exit code."""
    return end(run_program(_run, sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if arguments[:1] != ["get"]:
        print_error("Bazel runs this program: bazel-credential-auth-agent get")
        return USAGE
    try:
        url = read_request(sys.stdin.buffer.read(_MOST))
    except ValueError as error:
        print_error(f"the build tool sent {error}; it gets no token")
        return USAGE
    try:
        with PatientAgent() as agent:
            token = agent.token(url=url, directory=working_directory())
    except AgentError as error:
        return print_agent_error(error)
    sys.stdout.write(f"{json.dumps(response(token, url, time.time()))}\n")
    return OK


def read_request(document: bytes) -> str:
    """Return the URL for which a tool wants headers.

    Raises:
        ValueError: it is not a request. What follows it in the message is for people.

    """
    try:
        uri = parse_object(document).get("uri")
    except JsonObjectError as error:
        raise ValueError(f"what {error}") from error
    if not isinstance(uri, str):
        raise ValueError("a request without a uri")  # noqa: TRY004 -- a mistake in a document, which the caller turns into one error
    scheme, separator, rest = uri.partition("://")
    return f"{_SCHEMES.get(scheme.lower(), scheme) if separator else scheme}{separator}{rest}"


def response(token: Token, url: str, now: float) -> dict[str, object]:
    """Return the headers of requests to that URL, and until when a tool may use them. `now` is Unix time in seconds."""
    headers = {name: [value] for name, value in token.headers("GET", url).items()}
    if token.expires_at is None:
        return {"headers": headers}
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(use_until(token.expires_at, now)))  # RFC 3339
    return {"headers": headers, "expires": expires}
