"""`auth-agent mcp`: a server of the Model Context Protocol for clients that start one, as a bridge to one over HTTP."""

import logging
import os
import signal
import sys

import anyio
import click

from auth_agent.host.event_loop import EventLoop
from auth_agent.hosts import HostError, read_url
from auth_agent.logs import log_to_stderr
from auth_agent.mcp.bridge import LONGEST, Bridge
from auth_agent.mcp.server import Server
from auth_agent.mcp.streams import Output, lines
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.transport import Transport
from auth_agent.proxies import environment_proxies
from auth_agent_client.aio import AsyncAgent
from auth_agent_client.working_directory import working_directory


@click.command()
@click.argument("url", metavar="URL")
@click.option("--account", metavar="NAME", help="Take no token of another account than this one.")
def mcp(url: str, *, account: str | None) -> None:
    """Connect an MCP client to the MCP server at URL, with the tokens of the account that [hosts] has for it.

    For clients that start a server as a command: they speak to this one by its standard streams, and it speaks the
    protocol's streamable HTTP with the server. It logs to standard error.

    Example: auth-agent mcp https://mcp.example.com/mcp
    """
    try:
        read_url(url)
    except HostError as error:
        raise click.BadParameter(f"it can't be called: {error}", param_hint="'URL'") from error
    log_to_stderr(logging.WARNING)
    transport = Transport(trusted_certificates(), environment_proxies(os.environ))
    anyio.run(_serve, url, account, transport, backend_options={"loop_factory": EventLoop})


async def _serve(url: str, account: str | None, transport: Transport) -> None:
    async with AsyncAgent() as agent, anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_signal, tasks.cancel_scope)
        server = Server(url, agent, transport, working_directory(), account)
        bridge = Bridge(server, Output(sys.stdout.fileno()))
        try:
            await bridge.run(lines(sys.stdin.fileno(), LONGEST))
        except* BrokenPipeError:  # the client has gone
            pass
        finally:
            await bridge.end()
            with anyio.CancelScope(shield=True):
                await server.close()
        tasks.cancel_scope.cancel()


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
