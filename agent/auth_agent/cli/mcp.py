"""`auth-agent mcp`: a server of the Model Context Protocol for clients that start one, as a bridge to one over HTTP."""

import logging
import signal
import sys

import anyio
import click

from auth_agent.hosts import HostError, read_url
from auth_agent.mcp.bridge import LONGEST, Bridge
from auth_agent.mcp.server import Server, new_client
from auth_agent.mcp.streams import Output, lines
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent_client.aio import AsyncAgent
from auth_agent_client.working_directory import working_directory


@click.command()
@click.argument("url", metavar="URL")
def mcp(url: str) -> None:
    """Connect an MCP client to the MCP server at URL, with the tokens of the account that [hosts] has for it.

    For clients that start a server as a command: they speak to this one by its standard streams, and it speaks the
    protocol's streamable HTTP with the server. It logs to standard error.

    Example: auth-agent mcp https://mcp.example.com/mcp
    """
    try:
        read_url(url)
    except HostError as error:
        raise click.BadParameter(f"it can't be called: {error}", param_hint="'URL'") from error
    logging.basicConfig(stream=sys.stderr, format="auth-agent: %(message)s", level=logging.WARNING)
    anyio.run(_serve, url)


async def _serve(url: str) -> None:
    async with (
        AsyncAgent() as agent,
        new_client(trusted_certificates()()) as http,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_end_on_signal, tasks.cancel_scope)
        bridge = Bridge(Server(url, agent, http, working_directory()), Output(sys.stdout.fileno()))
        try:
            await bridge.run(lines(sys.stdin.fileno(), LONGEST))
        except* BrokenPipeError:  # the client has gone
            pass
        finally:
            await bridge.end()
        tasks.cancel_scope.cancel()


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
