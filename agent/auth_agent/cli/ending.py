"""End the running agent, and wait for the end of its process."""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Final

import click

from auth_agent.host.process_end import end_of
from auth_agent_client import Agent, Hello

# Seconds. The agent lets refreshes in flight finish for ten seconds, and then closes connections.
_PATIENCE: Final = 15.0


def stop_agent() -> None:
    """Stop the running agent, and return when its process has ended.

    Raises:
        AgentNotRunning: there is none.
        ClickException: it can't be stopped, or takes too long.

    """
    with Agent() as agent:
        pid = agent_pid(agent.hello("stop"))
        # Wait for the process, not for the connection to close: the process holds the socket's lock until it ends.
        # Nothing is sent meanwhile: a service manager would start the agent again for a new connection.
        with end_of_agent(pid) as ended:
            os.kill(pid, signal.SIGTERM)
            done = ended(_PATIENCE)
        if not done:
            raise click.ClickException(f"the agent, process {pid}, did not end within {_PATIENCE:.0f} s")


def agent_pid(hello: Hello) -> int:
    """Return the agent's process id. Raises a `ClickException` if it can't be signalled."""
    if hello.pid is None or hello.pid <= 1:
        raise click.ClickException("the agent is the first process of a container; stop the container instead")
    return hello.pid


@contextmanager
def end_of_agent(pid: int) -> Generator[Callable[[float | None], bool], None, None]:
    """Yield a function that waits for the agent's end, as `end_of` does."""
    with ExitStack() as stack:
        try:
            os.kill(pid, 0)
            ended = stack.enter_context(end_of(pid))
        except OSError as error:
            raise click.ClickException(f"the agent's process {pid} was not found: {error.strerror}") from error
        yield ended
