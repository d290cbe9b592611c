"""`python -m tests.bench`: measures the agent beside its floors and peers, and prints a table."""

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from auth_agent_client import AgentError, __version__
from tests.bench.comparison import TOLERANCE, Comparison, WrongResponse
from tests.bench.cores import Cores, available_cores, pinned
from tests.bench.processes import ProcessError
from tests.bench.rounds import FULL, QUICK, SHORT, Form, measure
from tests.bench.rows.bystanders import BYSTANDER
from tests.bench.rows.client import CLIENT_LIBRARY
from tests.bench.rows.commands import COMMANDS
from tests.bench.rows.memory import MEMORY
from tests.bench.rows.own_work import OWN_WORK
from tests.bench.rows.refreshes import REFRESHES
from tests.bench.rows.sealed import SEALED
from tests.bench.rows.sockets import SOCKETS
from tests.bench.rows.starts import STARTS
from tests.bench.rows.storms import STORM
from tests.bench.rows.timer import TIMER
from tests.bench.stage import Stage, running_stage
from tests.bench.table import Line, as_json, as_markdown, far_from_bar, heading, line, text
from tests.op.provider import ProviderError

# All rows, in the order of the table.
COMPARISONS: Sequence[Comparison] = [
    OWN_WORK,
    *SOCKETS,
    *CLIENT_LIBRARY,
    COMMANDS,
    STARTS,
    MEMORY,
    *SEALED,
    TIMER,
    REFRESHES,
    STORM,
    BYSTANDER,
]


@dataclass(slots=True)
class Report:
    """What was measured, what was left out and why, and what failed."""

    lines: list[Line] = field(default_factory=list[Line])
    left_out: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])

    def leave_out(self, what: str, reason: str) -> None:
        """Say once that a row, or a side beside rows, was left out."""
        sentence = f"left out: {what}: {reason}"
        if sentence not in self.left_out:
            self.left_out.append(sentence)


def main() -> int:
    """Measure, and print the table; return the exit code, 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="The benchmark: see README.md there.")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"the short form: only rows of processor time; fail where one is over {TOLERANCE:g} times its bar",
    )
    parser.add_argument("--quick", action="store_true", help="measure next to nothing, to see that the rows work")
    parser.add_argument(
        "--only", metavar="WORDS", default="", help="only the comparisons with a row that has these words"
    )
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write the figures to FILE too")
    parser.add_argument("--markdown", type=_writable, metavar="FILE", help="write a table of the bars to FILE too")
    arguments = parser.parse_args()
    comparisons = [
        comparison
        for comparison in COMPARISONS
        if any(arguments.only in row.words for row in comparison.rows) and (comparison.is_judged or not arguments.check)
    ]
    if not comparisons:
        parser.error(f"no row {'of processor time ' if arguments.check else ''}has the words {arguments.only!r}")
    signal.signal(signal.SIGTERM, _stop)
    cores = available_cores()
    machine = _machine(cores)
    _print("\n".join(f"{name}: {value}" for name, value in machine.items()), "")
    start = time.monotonic()
    try:
        with pinned(cores.load), running_stage(cores) as stage:
            report = _run(comparisons, stage, QUICK if arguments.quick else SHORT if arguments.check else FULL)
            sizes = [server.sizes for server in stage.servers]
    except (ProviderError, ProcessError, AgentError, OSError) as error:
        sys.stderr.write(f"bench: FAILED: {error}\n")
        return 1
    if arguments.check:
        report.failures += [failure for measured in report.lines for failure in far_from_bar(measured)]
    _print("", *sizes, *report.left_out, f"{time.monotonic() - start:.0f} s")
    if arguments.json is not None:
        rows = [as_json(one) for one in report.lines]
        document = {"machine": machine, "sizes": sizes, "rows": rows, "left_out": report.left_out}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    if arguments.markdown is not None:
        arguments.markdown.write_text(f"{as_markdown(report.lines)}\n")
    for failure in report.failures:
        sys.stderr.write(f"bench: FAILED: {failure}\n")
    return 1 if report.failures else 0


def _run(comparisons: Sequence[Comparison], stage: Stage, form: Form) -> Report:
    """Measure the comparisons, and print the rows of each when it is done. One that fails doesn't end the others."""
    report = Report()
    _print(heading())
    for comparison in comparisons:
        try:
            findings = measure(comparison, stage, form)
        except (AgentError, OSError, ProcessError, ProviderError, WrongResponse) as error:
            report.failures.append(f"{comparison.rows[0].words}: {error}")
            continue
        missing = {side: f"{package} is missing" for side, package in findings.missing.items()}
        for row in comparison.rows:
            measured = line(row, findings.rounds)
            if measured is None:
                report.leave_out(row.words, missing.get(row.side, "this machine doesn't tell"))
                continue
            report.lines.append(measured)
            _print(text(measured))
            for side in row.beside:
                if side in missing:
                    report.leave_out(side, missing[side])
    return report


def _writable(argument: str) -> Path:
    """Return the path of a file that can be written, which is found out before the measurements, not after them."""
    path = Path(argument)
    try:
        path.open("a").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{argument} can't be written: {error.strerror}") from error
    return path


def _machine(cores: Cores) -> dict[str, object]:
    return {
        "command": f"python -m tests.bench {shlex.join(sys.argv[1:])}".rstrip(),
        "auth-agent": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, {_processor()}",
        "cores": f"{os.cpu_count()}; {cores}",
        "load at the start": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((value.partition(":")[2].strip() for value in lines if value.startswith("model name")), "")


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{one}\n" for one in lines))
    sys.stdout.flush()


def _stop(signum: int, _: object) -> NoReturn:
    sys.exit(128 + signum)  # exiting ends all processes


if __name__ == "__main__":
    sys.exit(main())
