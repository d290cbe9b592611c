"""`auth-agent kubectl`: an exec credential plugin of kubectl, and of all that reads a kubeconfig, such as helm.

kubectl starts it, and names the cluster that it calls in the environment, in the format of client.authentication.k8s.io
v1 or v1beta1. Whose token that cluster gets, `[hosts]` determines. kubectl keeps the token until its
`expirationTimestamp`, or until the cluster answers 401.
"""

import json
import os
import sys
import time

from auth_agent.cli.light import Arguments, Command, Option, UsageError
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent_client.client import Agent
from auth_agent_client.errors import Denied, LifetimeTooShort, Unavailable
from auth_agent_client.values import mapping, string
from auth_agent_client.working_directory import working_directory

_VARIABLE = "KUBERNETES_EXEC_INFO"
_KIND = "ExecCredential"
_GROUP = "client.authentication.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
# Seconds before its end at which a token is replaced: a request may take as long.
_MARGIN = 60.0

COMMAND = Command(
    "kubectl",
    "Give kubectl, which starts this command, the token for its cluster.",
    options=(Option("--id-token", "", "Give it the ID token, which some clusters take, not the access token."),),
    examples=(
        (
            "kubectl config set-credentials auth-agent --exec-command=auth-agent --exec-arg=kubectl "
            f"--exec-api-version={_GROUP}/v1 --exec-interactive-mode=Never --exec-provide-cluster-info"
        ),
    ),
)


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit code."""
    return COMMAND.run(arguments, _print)


def _print(arguments: Arguments) -> None:
    version, server = read_info(os.environ.get(_VARIABLE))
    if not server:
        from auth_agent.remedies import provide_cluster_info  # noqa: PLC0415 -- slow, and only an error needs it

        raise Denied("kubectl does not say which cluster it calls", remedy=(provide_cluster_info(),))
    with PatientAgent() as agent:
        try:
            token, end = _token(agent, server, min_ttl=_MARGIN, is_id_token=arguments.flag("--id-token"))
        except (LifetimeTooShort, Unavailable):
            # One that ends sooner: kubectl asks again before its next request.
            token, end = _token(agent, server, min_ttl=None, is_id_token=arguments.flag("--id-token"))
    sys.stdout.write(f"{credential(version, token, end)}\n")


def _token(agent: Agent, server: str, *, min_ttl: float | None, is_id_token: bool) -> tuple[str, float | None]:
    """Return the token for the cluster at that URL, and when it ends. Raises an `AgentError`."""
    directory = working_directory()
    if is_id_token:
        id_token = agent.id_token(url=server, directory=directory, min_ttl=min_ttl)
        return id_token.id_token, id_token.expires_at
    token = agent.token(url=server, directory=directory, min_ttl=min_ttl)
    return token.access_token, token.expires_at


def read_info(text: str | None) -> tuple[str, str | None]:
    """Return what kubectl says: the version of the format, and the cluster's URL, None if it does not name one.

    Raises:
        UsageError: kubectl did not start this command, or uses another version.

    """
    if not text:
        raise UsageError(f"kubectl starts this command, and sets {_VARIABLE}.")
    try:
        info = mapping(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{_VARIABLE} is not valid JSON.") from error
    if info.get("kind") != _KIND:
        raise UsageError(f"{_VARIABLE} is not an {_KIND}.")
    version = string(info.get("apiVersion"))
    if version not in _VERSIONS:
        raise UsageError(f"The user's exec.apiVersion in the kubeconfig must be {' or '.join(_VERSIONS)}.")
    return version, string(mapping(mapping(info.get("spec")).get("cluster")).get("server"))


def credential(version: str, token: str, end: float | None) -> str:
    """Return the answer in that version of the format. `end` is Unix time in seconds, None if it is not known."""
    status = {"token": token}
    if end is not None:
        status["expirationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end - _MARGIN))
    return json.dumps({"apiVersion": version, "kind": _KIND, "status": status})
