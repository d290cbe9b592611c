"""The report: the findings, as ratios to the floor of the same round."""

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
    """Return the sections of the table."""
    return [
        _requests(findings, ONE, (PROTOCOL, STREAMS, AGENT, CLIENT)),
        _requests(findings, MANY, (PROTOCOL, STREAMS, AGENT)),
        _processes(findings.processes),
        _memory(findings.memory),
    ]


def _requests(findings: Findings, kind: str, names: Sequence[str]) -> Section:
    floor = findings.requests[kind, PROTOCOL]
    rows: list[Row] = []
    for name in names:
        samples = findings.requests[kind, name]
        rates = [sample.rate / floor_sample.rate for sample, floor_sample in zip(samples, floor, strict=True)]
        rows.append(Row(name, _figures(samples), None if name == PROTOCOL else _ratio(rates)))
    return Section(kind, _REQUESTS, rows, "one request open on each; ratio: of requests/s; more is better")


def _figures(samples: Sequence[Sample]) -> list[float | None]:
    cpu = [sample.cpu for sample in samples if sample.cpu is not None]
    return [
        median(sample.rate for sample in samples),
        median(sample.median for sample in samples),
        median(sample.p99 for sample in samples),
        median(cpu) if cpu else None,
    ]


def _processes(rounds: Sequence[Sequence[tuple[float, float]]]) -> Section:
    pairs = [pair for one_round in rounds for pair in one_round]
    medians = [median(command / floor for command, floor in one_round) for one_round in rounds]
    ratio = Ratio(median(command / floor for command, floor in pairs), min(medians), max(medians))
    rows = [
        Row("floor: python -c pass", [median(floor for _, floor in pairs)]),
        Row("auth-agent token", [median(command for command, _ in pairs)], ratio),
    ]
    note = f"from start to end, {len(pairs)} pairs in turns; ratio: the median pair's; less is better"
    return Section("auth-agent token, a process", _PROCESSES, rows, note)


def _memory(memory_by_row: dict[str, Memory]) -> Section:
    """Return the section of memory; the first finding is the floor's."""
    floor, *_ = memory_by_row.values()
    rows = [
        Row(
            name,
            [row_memory.rss / 1024, None if row_memory.pss is None else row_memory.pss / 1024],
            None if row_memory is floor else _ratio([_size_of(row_memory) / _size_of(floor)]),
        )
        for name, row_memory in memory_by_row.items()
    ]
    return Section("memory", _MEMORY, rows, "ratio: of PSS, or of RSS where PSS can't be read; less is better")


def _size_of(memory: Memory) -> int:
    return memory.rss if memory.pss is None else memory.pss


def _ratio(rounds: Sequence[float]) -> Ratio:
    return Ratio(median(rounds), min(rounds), max(rounds))
