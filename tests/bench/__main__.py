"""`python -m tests.bench`: measures the agent beside its floor, and prints a table."""

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from auth_agent_client import AgentError, __version__
from tests.bench.drivers import WrongResponse
from tests.bench.processes import ProcessError
from tests.bench.report import sections
from tests.bench.rounds import FULL, QUICK, measure
from tests.bench.stage import running_stage
from tests.bench.table import as_json, text
from tests.op.provider import ProviderError


def main() -> int:
    """Measure, and print the results; return the exit code, 1 if a response was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="The benchmark: see README.md there.")
    parser.add_argument("--quick", action="store_true", help="measure less, to check that the benchmark works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    machine = _machine()
    sys.stdout.write(f"{', '.join(f'{name} {value}' for name, value in machine.items())}\n\n")
    sys.stdout.flush()
    start = time.monotonic()
    try:
        with running_stage() as stage:
            findings = measure(stage, QUICK if arguments.quick else FULL)
    except (WrongResponse, ProcessError, ProviderError, AgentError, OSError) as error:
        sys.stderr.write(f"bench: FAILED: {error}\n")
        return 1
    table = sections(findings)
    sys.stdout.write(f"{text(table)}\n{time.monotonic() - start:.0f} s\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": machine, "sections": as_json(table)}, indent=2) + "\n")
    return 0


def _stop(signum: int, _: object) -> NoReturn:
    sys.exit(128 + signum)  # exiting ends all processes


def _machine() -> dict[str, object]:
    return {
        "auth-agent": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "CPUs": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
