"""A pass of the refresher's timer: what it takes when one of many sessions has changed, and none is due."""

import contextlib
import time
from collections.abc import Generator
from typing import Final

import anyio

from auth_agent.sessions.heart import Heart
from tests.bench.comparison import CPU, Comparison, Figures, Measure, Row, Side, at_most
from tests.bench.composition import composed
from tests.bench.stage import Stage

FEW: Final = 1_000
MANY: Final = 10_000

_PATIENCE: Final = 10.0  # s
_MIN_PASSES: Final = 3


def _sessions(count: int) -> Side:
    @contextlib.contextmanager
    def side(stage: Stage) -> Generator[Measure]:
        with composed(stage.directory, count) as (portal, composition):
            yield lambda seconds: portal.call(_measure, composition.heart, seconds)

    return side


async def _measure(heart: Heart, seconds: float) -> Figures:
    """Return the processor time of a pass in ms, from the wake-up of the timer until it sleeps again."""
    refresher, sessions = heart.refresher, tuple(heart.table.sessions.values())
    passes, milliseconds = 0, 0.0
    with anyio.fail_after(seconds + _PATIENCE):
        while passes < _MIN_PASSES or milliseconds < 1e3 * seconds:
            looked = anyio.Event()
            refresher.on_look = looked.set
            start = time.thread_time_ns()
            refresher.reschedule(sessions[passes % len(sessions)])
            await looked.wait()
            milliseconds += (time.thread_time_ns() - start) / 1e6
            passes += 1
    return {CPU: milliseconds / passes}


def _name(count: int) -> str:
    return f"{count:,} sessions"


TIMER: Final = Comparison(
    {_name(count): _sessions(count) for count in (FEW, MANY)},
    [
        Row(
            f"a pass of the timer, {_name(count)}",
            CPU,
            "ms",
            _name(count),
            {} if count == FEW else {_name(FEW): None},
            bar=at_most(0.05),
            processor_time=True,
        )
        for count in (FEW, MANY)
    ],
    seconds=0.1,
)
