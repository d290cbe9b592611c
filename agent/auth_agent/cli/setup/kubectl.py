"""`auth-agent setup kubectl`: kubectl asks the agent at the clusters of `[hosts]`."""

import subprocess
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message, print_remedies
from auth_agent.cli.setup.kubeconfig import Kubeconfig, Plugin, read_kubeconfig
from auth_agent.cli.setup.places import hosts_argument, program, rules_by_origin, undo_option
from auth_agent.hosts import HostError, HostRule, read_url
from auth_agent.printable import printable

_PROGRAM: Final = "auth-agent"
# The users that this command adds to the kubeconfig, and the arguments of their plugin.
_USER, _ID_TOKEN_USER = "auth-agent", "auth-agent-id-token"
_ARGUMENTS: Final = {_USER: ("kubectl",), _ID_TOKEN_USER: ("kubectl", "--id-token")}
_OPTIONS: Final = (
    "--exec-api-version=client.authentication.k8s.io/v1",
    "--exec-interactive-mode=Never",
    "--exec-provide-cluster-info",
)
_LONGEST = 1000  # characters of a name in an error


@click.command()
@hosts_argument
@click.option("--id-token", is_flag=True, help="Give these clusters the ID token, not the access token.")
@undo_option
def kubectl(hosts: tuple[str, ...], *, id_token: bool, undo: bool) -> None:
    """Let kubectl get its tokens from the agent, at the clusters of [hosts] or only at these hosts.

    It adds a user to the kubeconfig, for the contexts of these clusters that have none. Whatever else reads the
    kubeconfig, such as helm, asks the agent too.

    Example: auth-agent setup kubectl

    Example: auth-agent setup kubectl k8s.example.com:6443 --id-token
    """
    rules = [rule for some in rules_by_origin(hosts).values() for rule in some]
    config = read_kubeconfig(_kubectl("view", "--output=json"))
    contexts = {one.name: one.user for one in config.contexts if _has_rule(one.server, rules)}
    if undo:
        _take_back(config, contexts)
    elif contexts:
        _ask_agent(config, contexts, _ID_TOKEN_USER if id_token else _USER)
    else:
        raise CommandError("the kubeconfig has no context with a cluster at a host of [hosts]")


def _has_rule(server: str, rules: Sequence[HostRule]) -> bool:
    """Return whether a cluster's URL has a rule, in whichever directory kubectl runs."""
    try:
        place = read_url(server)
    except HostError:
        return False
    return any(rule.fits(place, rule.directory) for rule in rules)


def _ask_agent(config: Kubeconfig, contexts: dict[str, str], user: str) -> None:
    """Let these contexts, which are given with their users, have this user, unless they have a person's own."""
    _add_user(config, user)
    for context, present in contexts.items():
        name = printable(context, _LONGEST)
        if present and not _is_own(config, present):
            print_message(f"the context {name} has the user {printable(present, _LONGEST)}")
            print_remedies((remedies.use_agents_user(context, user),))
            continue
        if present != user:
            _kubectl("set-context", f"--user={user}", "--", context)
        print_message(f"kubectl asks the agent in the context {name}")


def _add_user(config: Kubeconfig, user: str) -> None:
    if user in config.users and not _is_own(config, user):
        raise CommandError(f"the kubeconfig has a user {user} that asks something else")
    if config.users.get(user) == Plugin(program(_PROGRAM), _ARGUMENTS[user]):
        return
    if "--exec-provide-cluster-info" not in _kubectl("set-credentials", "--help"):
        raise CommandError("this kubectl can't add a user who is told the cluster", remedies.upgrade_kubectl())
    arguments = [f"--exec-arg={argument}" for argument in _ARGUMENTS[user]]
    _kubectl("set-credentials", user, f"--exec-command={program(_PROGRAM)}", *arguments, *_OPTIONS)


def _take_back(config: Kubeconfig, contexts: dict[str, str]) -> None:
    """Take the users that this command added from these contexts, and remove those that no context has any more."""
    own = [user for user in _ARGUMENTS if _is_own(config, user)]
    for context, user in contexts.items():
        if user in own:
            _kubectl("unset", f"contexts.{context}.user")
            print_message(f"kubectl does not ask the agent in the context {printable(context, _LONGEST)} any more")
    others = {one.user for one in config.contexts if one.name not in contexts}
    for user in own:
        if user not in others:
            _kubectl("unset", f"users.{user}")


def _is_own(config: Kubeconfig, user: str) -> bool:
    """Return whether this command added the user."""
    plugin = config.users.get(user)
    return plugin is not None and PurePath(plugin.command).name == _PROGRAM and plugin.arguments == _ARGUMENTS.get(user)


def _kubectl(*arguments: str) -> str:
    """Run `kubectl config`; return its output. Raises a `CommandError` if it fails."""
    try:
        result = subprocess.run(  # noqa: S603 -- without a shell
            ["kubectl", "config", *arguments],  # noqa: S607 -- the one that the person runs
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise CommandError("kubectl is not installed", remedies.install_tool("kubectl")) from error
    if result.returncode != 0:
        raise CommandError(f"kubectl can't change the kubeconfig: {printable(result.stderr.strip(), _LONGEST)}")
    return result.stdout
