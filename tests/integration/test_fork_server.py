"""The server that starts the tests' processes survives whoever requests one."""

import os
import socket
import sys
from pathlib import Path

from tests.integration.agent_process import PATIENCE
from tests.integration.fork_server import SERVER, Launch


def test_a_client_that_vanishes_before_its_response_does_not_end_the_server() -> None:
    """So does an agent that is killed while it starts its worker."""
    launch = Launch.of((sys.executable, "-W", "error", "-m", "platform"), os.environ)
    assert launch is not None
    with Path(os.devnull).open("r+b") as nothing:
        streams = (nothing.fileno(), nothing.fileno(), nothing.fileno())
        for _ in range(2):
            assert SERVER.start(launch, os.environ, streams).wait(PATIENCE) == 0
            vanished, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            vanished.close()
            with control:
                SERVER.request(launch, os.environ, streams, control)
        assert SERVER.start(launch, os.environ, streams).wait(PATIENCE) == 0
