"""`docker-credential-auth-agent`: a credential helper of docker, podman and skopeo, for registries of `[hosts]`.

The protocol is that of docker-credential-helpers: an operation as the argument, the registry on standard input. On
standard output is the answer, or the reason of a failure.
"""

import json
import sys

from auth_agent.cli import end, run_program
from auth_agent.cli.exits import ERROR, OK, USAGE, exit_code, print_error
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.printable import printable
from auth_agent_client.client import Token
from auth_agent_client.errors import AgentError, InvalidRequest
from auth_agent_client.token import DEFAULT_USERNAME
from auth_agent_client.working_directory import working_directory

# To docker the password is then a refresh token, which this is not.
_NOT_A_USERNAME = "<token>"
# Exactly this: docker, podman and skopeo compare it, and go on without credentials.
_NOT_FOUND = "credentials not found in native keychain"
_LONGEST_SERVER = 4096  # characters
_LONGEST = 1000  # characters of a message


def main() -> int:
    """Run the program, and return its exit code."""
    return end(run_program(_run, sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    operation = arguments[0] if len(arguments) == 1 else ""
    if operation == "get":
        return _get(sys.stdin.readline(_LONGEST_SERVER).strip())
    if operation == "list":
        return _list()
    if operation == "store":
        return _fail("no password is stored: this registry gets its tokens from the agent, by [hosts]")
    if operation == "erase":
        # Not as a failure: skopeo 1.9 crashes on one.
        print_error("nothing was erased: the agent is logged in to this registry for all programs")
        return OK
    print_error("docker runs this program: docker-credential-auth-agent get (or list)")
    return USAGE


def _fail(message: str) -> int:
    sys.stdout.write(f"{message}\n")
    return ERROR


def _get(server: str) -> int:
    try:
        with PatientAgent() as agent:
            for url in urls_of(server):
                try:
                    token = agent.token(url=url, directory=working_directory())
                except AgentError as error:
                    # Two that mean another registry, or a name that can't be one.
                    if error.failure == "unmapped" or isinstance(error, InvalidRequest):
                        continue
                    raise
                if token.username == _NOT_A_USERNAME:
                    return _fail(f"the username of this registry's rule can't be {_NOT_A_USERNAME}")
                sys.stdout.write(f"{answer(server, token)}\n")
                return OK
    except AgentError as error:
        message = printable(error.message, _LONGEST)
        # docker shows standard error alone; skopeo shows both.
        print_error(message, error.remedy)
        _fail(message)
        return exit_code(error)
    return _fail(_NOT_FOUND)


def urls_of(server: str) -> tuple[str, ...]:
    """Return the URLs that a registry may have: docker names its host and port, and to some a URL."""
    if "://" in server:
        return (server,)
    # http is for registries on this machine alone, to which the agent sees.
    return f"https://{server}", f"http://{server}"


def answer(server: str, token: Token) -> str:
    """Return the credentials for a registry, as docker reads them."""
    credentials = {"ServerURL": server, "Username": token.username or DEFAULT_USERNAME, "Secret": token.access_token}
    return json.dumps(credentials)


def _list() -> int:
    """Print the registries and their user names. None is asked for while images are pulled, so it may be slow."""
    from auth_agent.config import config_path, load  # noqa: PLC0415 -- slow
    from auth_agent.errors import ConfigError  # noqa: PLC0415 -- as above
    from auth_agent.hosts import username  # noqa: PLC0415 -- as above

    try:
        rules = load(config_path()).hosts
    except ConfigError as error:
        print_error(str(error), error.remedy)
        return _fail(printable(str(error), _LONGEST))
    names = {
        rule.place.origin.partition("://")[2]: username(rule, rule.place) or DEFAULT_USERNAME
        for rule in rules
        if not rule.place.path and not rule.place.host.startswith("*.")
    }
    sys.stdout.write(f"{json.dumps(names)}\n")
    return OK
