"""`cargo-credential-auth-agent`: a credential provider of cargo, for registries that `[hosts]` maps to an account.

The protocol is version 1 of cargo's credential provider protocol: a hello, then a request a line and a response a line,
until cargo closes the pipe. (The Cargo Book, "Credential Provider Protocol".)
"""

import json
import sys
import time

from auth_agent.cli import end, run_program
from auth_agent.cli.exits import OK, USAGE, print_error
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.tools.margin import use_until
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent_client.client import Token
from auth_agent_client.errors import AgentError, AgentNotRunning, InvalidRequest, LoginRequired
from auth_agent_client.values import mapping
from auth_agent_client.working_directory import working_directory

_VERSION = 1
_PLUGIN = "--cargo-plugin"
# The registry's URL is at most some kilobytes, its headers too.
_LONGEST_LINE = 1024 * 1024  # characters
_LONGEST = 1000  # characters of a message

Response = dict[str, object]


def main() -> int:
    """Run the program, and return its exit code."""
    return end(run_program(_run, sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if _PLUGIN not in arguments:
        print_error(f"cargo runs this program, with {_PLUGIN}")
        return USAGE
    _send({"v": [_VERSION]})
    while line := sys.stdin.readline(_LONGEST_LINE):
        _send(respond(line))
    return OK


def _send(message: Response) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")
    sys.stdout.flush()


def respond(line: str) -> Response:
    """Return the response to a line of cargo."""
    try:
        kind, url, has_token = read_request(line)
    except ValueError as error:
        return _failure(f"cargo sent {error}; it gets no token")
    if kind not in ("get", "login", "logout"):
        return {"Err": {"kind": "operation-not-supported"}}
    try:
        with PatientAgent() as agent:
            token = agent.token(url=url, directory=working_directory())
    except AgentError as error:
        return _refusal(error, kind, url)
    if kind == "login" and has_token:
        return _failure("this registry gets its tokens from auth-agent, which stores no others")
    if kind == "logout":
        return _failure("cargo has no token of this registry; auth-agent is logged in to it, for all programs")
    return {"Ok": granted(token, time.time()) if kind == "get" else {"kind": "login"}}


def _refusal(error: AgentError, kind: str, url: str) -> Response:
    """Return the response for an error of the agent; cargo asks its next provider where there is no rule."""
    is_unmapped = error.failure == "unmapped" or isinstance(error, InvalidRequest)
    if is_unmapped or (isinstance(error, AgentNotRunning) and not _has_rule(url)):
        return {"Err": {"kind": "url-not-supported"}}
    if kind == "logout" and isinstance(error, LoginRequired):
        return {"Err": {"kind": "not-found"}}
    return _failure(printable(error.message, _LONGEST), *(printable(str(one), _LONGEST) for one in error.remedy))


def _has_rule(url: str) -> bool:
    """Return whether the configuration has a rule for that URL, as the agent would say if it ran."""
    from auth_agent.config import config_path, load  # noqa: PLC0415 -- slow
    from auth_agent.errors import ConfigError  # noqa: PLC0415 -- as above
    from auth_agent.hosts import HostError, find, read_url  # noqa: PLC0415 -- as above

    try:
        return find(load(config_path()).hosts, read_url(url), working_directory()) is not None
    except HostError:
        return False
    except ConfigError:
        return True  # nobody knows


def _failure(message: str, *causes: str) -> Response:
    """Return the response that cargo shows to a person, each cause on a line of its own."""
    return {"Err": {"kind": "other", "message": message, "caused-by": list(causes)}}


def read_request(line: str) -> tuple[str, str, bool]:
    """Return the kind of a request, the URL of the registry's index, and whether a token comes along.

    Raises:
        ValueError: it is not a request of version 1. What follows it in the message is for people.

    """
    try:
        request = parse_object(line)
    except JsonObjectError as error:
        raise ValueError(f"what {error}") from error
    url, kind = mapping(request.get("registry")).get("index-url"), request.get("kind")
    if request.get("v") != _VERSION or not isinstance(kind, str) or not isinstance(url, str):
        raise ValueError(f"what is not a request of version {_VERSION}")
    # How cargo writes the URL of an index that is not a git repository.
    return kind, url.removeprefix("sparse+"), request.get("token") is not None


def granted(token: Token, now: float) -> Response:
    """Return the response that has a token: what cargo sends as `Authorization`, and until when it may use it.

    The same token is for reading and publishing. `now` is Unix time in seconds.
    """
    response: Response = {"kind": "get", "token": token.authorization, "operation_independent": True}
    if token.expires_at is None:
        return {**response, "cache": "session"}
    return {**response, "cache": "expires", "expiration": int(use_until(token.expires_at, now))}
