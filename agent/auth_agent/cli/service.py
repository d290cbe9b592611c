"""`auth-agent service`: the agent as a service of the user's session."""

import json
import os
import shlex
import sys
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import click

from auth_agent import remedies
from auth_agent.cli.agent_process import agent_process, service_errors
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message, print_remedies, shown_path
from auth_agent.cli.stake import accounts_at_stake
from auth_agent.cli.terminal import terminal_of
from auth_agent.host.execution import become
from auth_agent.printable import printable
from auth_agent.service.manager import Manager, ServiceState
from auth_agent.service.managers import choose_manager, platform_manager
from auth_agent.service.program import default_socket, installed_program, missing_variables
from auth_agent.storage.state_directory import prepare, state_path
from auth_agent.storage.store_note import StoreNote
from auth_agent.storage.stores import DEFAULT, NAMES, is_persistent
from auth_agent_client import Agent, Status
from auth_agent_client.errors import AgentNotRunning
from auth_agent_client.paths import socket_path


@click.group()
def service() -> None:
    """Have the agent at each login, as a service of systemd or launchd.

    Its socket is there from the login on; the agent starts when the first program connects.
    """


@service.command()
@click.option(
    "--store", type=click.Choice(NAMES), help="Where sessions are kept; by default as the running agent does."
)
@click.option("--linger", is_flag=True, help="Keep the service running while you are logged out, from boot on.")
@click.option("--force", is_flag=True, help="Replace files that something else wrote, and sessions in memory only.")
def install(store: str | None, *, linger: bool, force: bool) -> None:
    """Install the service and start it. Does nothing that is done already.

    An agent that runs outside of the service is stopped, after its refreshes in flight have finished.

    Example: auth-agent service install
    """
    _check_socket()
    with service_errors():
        manager = choose_manager()
        status = _running_agent()
        before = manager.state()
        is_outside = status is not None and status.agent.pid != before.pid
        if status is not None and is_outside and not force:
            _check_nothing_is_lost(status)
        chosen = store or (manager.store() if status is None else status.agent.store.name)
        written = _write(manager, chosen, replace=force)
        for file in written:
            print_message(f"Wrote {shown_path(file)}")
        if store is not None or (written and chosen not in (None, DEFAULT)):
            print_message(f"The service uses the store {printable(chosen)}.")
        if is_outside:
            with Agent() as agent, agent_process(agent) as process:
                process.stop()
            print_message("Stopped the agent that ran outside of the service.")
        if before.enabled and (written or (status is not None and chosen != status.agent.store.name)):
            manager.reload()
        if not before.enabled:
            manager.enable()
            print_message(f"Enabled the service of {manager.name}: it is there at each login.")
        if linger:
            manager.linger()
            print_message("It stays while you are logged out, and is there from boot on.")
        elif not written and before.enabled:
            print_message("The service was installed already.")
        with Agent() as agent:
            hello = agent.hello("service")
            _check_store(chosen, agent.status().agent.store.name)
        print_message(f"The agent answers: process {hello.pid}, version {printable(hello.version)}.")
    for name in missing_variables(os.environ):
        print_message(f"{name} is set in this shell, and the service does not have it.")


@service.command()
def uninstall() -> None:
    """Stop the service and remove its files; sessions and the configuration stay.

    Example: auth-agent service uninstall
    """
    if not platform_manager().has_files():
        print_message("The service is not installed.")
        return
    with service_errors():
        manager = choose_manager()
        manager.disable()
        removed = manager.remove()
    for file in removed:
        print_message(f"Removed {shown_path(file)}")
    print_message("The service is gone. Sessions and the configuration stay.")
    print_remedies([remedies.start()])


@service.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(*, as_json: bool) -> int:
    """Show whether the service is installed and runs; the exit code is 3 if it is not installed.

    Example: auth-agent service status
    """
    with service_errors():
        state = choose_manager().state()
    if as_json:
        fields = asdict(state) | {"files": [os.fspath(file) for file in state.files], "log": list(state.log)}
        click.echo(json.dumps(fields, indent=2))
    else:
        terminal = terminal_of(sys.stdout)
        for line in _lines(state):
            click.echo(terminal.shown(line))
    return 0 if state.installed else 3


@service.command()
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=50, show_default=True, help="How many lines to show."
)
@click.option("--follow", "-f", is_flag=True, help="Go on as lines are added, until Ctrl-C.")
def logs(lines: int, *, follow: bool) -> None:
    """Show the service's log.

    Example: auth-agent service logs --follow
    """
    with service_errors():
        command = choose_manager().log_command(lines, follow=follow)
    raise CommandError(become(command).message)


def _lines(state: ServiceState) -> Generator[str, None, None]:
    if not state.installed:
        yield f"service   not installed; {state.manager} would start the agent at each login"
        yield f"help      {remedies.install_service()}"
        return
    when = "from boot on" if state.at_boot else "at each login" if state.enabled else "not enabled"
    yield f"service   {state.manager}, {when}"
    process = "" if state.pid is None else f", process {state.pid}"
    times = "once" if state.restarts == 1 else f"{state.restarts} times"
    restarts = f", restarted {times}" if state.restarts else ""
    yield f"agent     {state.active}{process}{restarts}"
    for number, file in enumerate(state.files):
        yield f"{'' if number else 'files':10}{shown_path(file)}"
    yield f"log       {shlex.join(state.log)}"


def _write(manager: Manager, store: str | None, *, replace: bool) -> list[Path]:
    """Write the service's files, and return those that changed; a persistent store is remembered instead.

    Raises:
        CommandError: the store can't be remembered; nothing was written.
        ServiceError: a file may not be replaced, and the store from before is remembered.

    """
    if store is None or not is_persistent(store):
        return manager.write(installed_program(store), replace=replace)
    prepare(state_path())
    note = StoreNote(state_path())
    try:
        with note.replaced(store):
            return manager.write(installed_program(None), replace=replace)
    except OSError as error:
        raise CommandError(f"{error.filename or note.path} can't be written: {error.strerror}") from error


def _check_store(chosen: str | None, used: object) -> None:
    """Raise a `CommandError` if the service uses another store, as one with another state directory does."""
    if chosen is not None and used != chosen:
        raise CommandError(
            f"the service uses the store {printable(used)}, and not {printable(chosen)}",
            *([remedies.unset_variable("XDG_STATE_HOME")] if os.environ.get("XDG_STATE_HOME") else []),
        )


def _running_agent() -> Status | None:
    try:
        with Agent() as agent:
            return agent.status()
    except AgentNotRunning:
        return None


def _check_socket() -> None:
    """Check that commands of this shell would find the service."""
    if socket_path() != default_socket():
        raise CommandError(
            f"AUTH_AGENT_SOCK is {socket_path()} in this shell, and a service listens at {default_socket()}",
            remedies.unset_variable("AUTH_AGENT_SOCK"),
        )


def _check_nothing_is_lost(status: Status) -> None:
    lost = accounts_at_stake(status)
    if lost:
        raise CommandError(
            f"the running agent would lose the sessions of {printable(', '.join(lost), 200)}: they are only in memory",
            remedies.install_by_force(),
        )
