"""The report: what was found, as ratios to the floor of the same round."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from tests.bench.drivers import Sample
from tests.bench.processes import Memory
from tests.bench.rounds import AGENT, CLIENT, MANY, ONE, PROTOCOL, STREAMS, Findings
from tests.bench.table import Ratio, Row, Section

_REQUESTS: Final = (("requests/s", 0), ("median µs", 1), ("p99 µs", 1), ("server CPU", 1))
_PROCESSES: Final = (("median ms", 1),)
_MEMORY: Final = (("RSS MiB", 1), ("PSS MiB", 1))


def sections(findings: Findings) -> list[Section]:
    """The table's sections."""
    return [
        _requests(findings, ONE, (PROTOCOL, STREAMS, AGENT, CLIENT)),
        _requests(findings, MANY, (PROTOCOL, STREAMS, AGENT)),
        _processes(findings.processes),
        _memory(findings.memory),
    ]


def _requests(findings: Findings, how: str, names: Sequence[str]) -> Section:
    floor = findings.requests[how, PROTOCOL]
    rows: list[Row] = []
    for name in names:
        samples = findings.requests[how, name]
        rates = [sample.rate / below.rate for sample, below in zip(samples, floor, strict=True)]
        rows.append(Row(name, _figures(samples), None if name == PROTOCOL else _ratio(rates)))
    return Section(how, _REQUESTS, rows, "one request open on each; ratio: of requests/s; more is better")


def _figures(samples: Sequence[Sample]) -> list[float | None]:
    cpu = [sample.cpu for sample in samples if sample.cpu is not None]
    return [
        median(sample.rate for sample in samples),
        median(sample.median for sample in samples),
        median(sample.p99 for sample in samples),
        median(cpu) if cpu else None,
    ]


def _processes(rounds: Sequence[Sequence[tuple[float, float]]]) -> Section:
    pairs = [pair for taken in rounds for pair in taken]
    of_rounds = [median(command / floor for command, floor in taken) for taken in rounds]
    ratio = Ratio(median(command / floor for command, floor in pairs), min(of_rounds), max(of_rounds))
    rows = [
        Row("floor: python -c pass", [median(floor for _, floor in pairs)]),
        Row("auth-agent token", [median(command for command, _ in pairs)], ratio),
    ]
    note = f"from start to end, {len(pairs)} pairs in turns; ratio: the median pair's; less is better"
    return Section("auth-agent token, a process", _PROCESSES, rows, note)


def _memory(found: dict[str, Memory]) -> Section:
    """The floor's row comes first."""
    floor, *_ = found.values()
    rows = [
        Row(
            name,
            [held.rss / 1024, None if held.pss is None else held.pss / 1024],
            None if held is floor else _ratio([_held(held) / _held(floor)]),
        )
        for name, held in found.items()
    ]
    return Section("memory", _MEMORY, rows, "ratio: of PSS, or of RSS where PSS can't be read; less is better")


def _held(memory: Memory) -> int:
    return memory.rss if memory.pss is None else memory.pss


def _ratio(rounds: Sequence[float]) -> Ratio:
    return Ratio(median(rounds), min(rounds), max(rounds))
