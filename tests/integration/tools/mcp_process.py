"""The MCP server of the tests in a process of its own."""

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager

from tests.integration.agent_process import PATIENCE, until
from tests.op.provider import OpenIDProvider
from tests.snippets import ROOT


def free_port() -> int:
    """Return a port that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        number: int = free.getsockname()[1]
        return number


@contextmanager
def serving(provider: OpenIDProvider, form: str, port: int) -> Generator[None, None, None]:
    """Run the server at that port: with JSON responses (`json`), with streams (`events`), or before that URL."""
    userinfo = f"{provider.url}{provider.paths['userinfo']}"
    command = [sys.executable, "-m", "tests.integration.tools.mcp_server", str(port), userinfo, form]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port) or process.poll() is not None)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    """Return whether somebody listens at that port."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
