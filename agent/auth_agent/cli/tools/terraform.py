"""`terraform-credentials-auth-agent`: a credentials helper of Terraform and OpenTofu, for hosts of `[hosts]`.

The protocol is that of "Create Credentials Helpers" in Terraform's documentation.
"""

import json
import sys

from auth_agent.cli import end, run_program
from auth_agent.cli.exits import DENIED, OK, USAGE, print_error
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.tools.agent_error import print_agent_error
from auth_agent_client.errors import AgentError
from auth_agent_client.working_directory import working_directory

_FORMS = 2  # the verb and the host, which come last


def main() -> int:
    """Run the program, and return its exit code."""
    return end(run_program(_run, sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if len(arguments) < _FORMS:
        print_error("Terraform runs this program: terraform-credentials-auth-agent get HOST")
        return USAGE
    verb, host = arguments[-_FORMS:]
    if verb == "get":
        return _get(host)
    if verb == "store":
        while sys.stdin.buffer.read(1 << 16):  # Terraform wants it to be read, and nobody keeps it
            pass
        print_error("nothing was stored: Terraform gets its tokens from the agent, by [hosts]")
    elif verb == "forget":
        print_error("nothing was forgotten: the agent is logged in to this host for all programs")
    else:
        print_error("Terraform wants what is not known: the agent only gives tokens")
        return USAGE
    return DENIED


def _get(host: str) -> int:
    try:
        with PatientAgent() as agent:
            token = agent.token(url=f"https://{host}/", directory=working_directory())
    except AgentError as error:
        if error.failure != "unmapped":
            return print_agent_error(error)
        sys.stdout.write("{}\n")  # there is none, which is no error: many hosts want none
        return OK
    sys.stdout.write(f"{json.dumps({'token': token.access_token})}\n")
    return OK
