"""The load generator's Python side: it runs load.c, and reads the server's processor time before and after."""

import json
import os
import subprocess
from typing import Final, Literal

from tests.bench.build import compiled
from tests.bench.comparison import CPU, P50, P99, RATE, Figures, WrongResponse
from tests.bench.processes import cpu_time
from tests.bench.servers import Server

_TIMEOUT: Final = 60.0  # s: after load.c's own


def drive(server: Server, mode: Literal["open", "connect"], clients: int, seconds: float) -> Figures:
    """Load the server with that many connections, or processes that connect anew for each request.

    Raises:
        Missing: there is no C compiler.
        WrongResponse: a reply was wrong, late or missing.

    """
    files = [os.fspath(server.request), os.fspath(server.reply)]
    command = [compiled("load"), mode, server.path, *files, str(server.id_at), f"{seconds:.3f}", str(clients)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        is_ready = process.stdout.readline() == "ready\n"
        before = cpu_time(server.pids)
        if is_ready:
            process.stdin.write("begin\n")
            process.stdin.flush()
        line = process.stdout.readline()
        after = cpu_time(server.pids)
        _, errors = process.communicate(timeout=_TIMEOUT)
    if process.returncode != 0 or not line:
        raise WrongResponse(errors.strip() or f"load ended with {process.returncode}")
    found = json.loads(line)
    figures = {P50: found["p50"], P99: found["p99"], RATE: found["requests"] / found["seconds"]}
    if before is not None and after is not None:
        figures[CPU] = (after - before) / found["requests"] / 1e3
    return figures
