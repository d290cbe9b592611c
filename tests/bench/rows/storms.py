"""Many sessions with short tokens, and many clients: whether somebody waits for the network, and how long."""

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Final

from tests.bench.comparison import CPU, P50, P99, Comparison, Figures, Measure, Row, Side, WrongResponse, at_most
from tests.bench.crowded_agent import crowded_agent, quick_provider
from tests.bench.paced import Pace, percentile
from tests.bench.processes import cpu_time
from tests.bench.stage import Stage

_SECONDS: Final = 120.0
_SESSIONS: Final = 1000
_CLIENTS: Final = 100
_RATE: Final = 1000.0  # requests a second of all clients
# Seconds after which the provider answers a token request: a client that waits for one is seen.
_DELAY: Final = 0.1

# Seconds. Of a token that lives for less, clients wait for the next one by design: half of its lead is gone.
_LEAST: Final = 6

_NONE: Final = "no refreshes"
_MINUTE: Final = "60 s tokens"
_THIRD: Final = "20 s tokens"
# Of each side, the lifetime of its tokens and its share of the time.
_SIDES: Final = {_NONE: (24 * 3600, 0.25), _MINUTE: (60, 1.0), _THIRD: (20, 0.5)}

_WAITED: Final = "waited"
_ERRORS: Final = "errors"
_REFRESHES: Final = "refreshes"


def _side(lifetime: int, share: float) -> Side:
    @contextlib.contextmanager
    def side(stage: Stage) -> Generator[Measure]:
        yield lambda seconds: _measure(stage, lifetime, seconds * share, min(1.0, seconds / _SECONDS))

    return side


def _measure(stage: Stage, lifetime: int, seconds: float, size: float) -> Figures:
    """Storm for so many seconds; of sessions and pace, and of short lifetimes, take the part `size`."""
    sessions, rate = round(_SESSIONS * size), _RATE * size
    with contextlib.ExitStack() as resources:
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="storm-", dir=stage.directory)))
        environment, cores = stage.environment, stage.cores
        provider = resources.enter_context(quick_provider(directory / "provider.log", environment, cores.load))
        provider.control(lifetime=max(_LEAST, round(lifetime * size)), delay=_DELAY)
        homes = {f"account-{number}": provider for number in range(sessions)}
        agent = resources.enter_context(crowded_agent(directory, environment, cores, homes))
        agent.log_in()
        pace = resources.enter_context(contextlib.closing(Pace(agent.path, list(homes), _CLIENTS)))
        before, cpu = provider.control(), cpu_time([agent.pid])
        answers = pace.drive(rate, seconds)
        after, cpu_after = provider.control(), cpu_time([agent.pid])
        if after.refusals or (answers.errors and lifetime != _SIDES[_THIRD][0]):
            raise WrongResponse(f"{after.refusals} refresh tokens were refused; errors of clients: {answers.errors}")
        figures = {
            P50: percentile(answers.latencies, 50) * 1e3,
            P99: percentile(answers.latencies, 99) * 1e3,
            _WAITED: answers.waited,
            _ERRORS: sum(answers.errors.values()),
            _REFRESHES: (after.token_requests - before.token_requests) / seconds,
        }
        if cpu is not None and cpu_after is not None:
            figures[CPU] = (cpu_after - cpu) / seconds / 1e7
        return figures


_WORDS: Final = f"{_SESSIONS:,} sessions, {_CLIENTS} clients"

STORM: Final = Comparison(
    {name: _side(lifetime, share) for name, (lifetime, share) in _SIDES.items()},
    [
        Row(f"{_WORDS}, {_MINUTE}, waited for the network", _WAITED, "requests", _MINUTE, bar=at_most(0)),
        Row(f"{_WORDS}, {_MINUTE}, p99", P99, "ms", _MINUTE, {_NONE: at_most(3.0)}),
        Row(f"{_WORDS}, {_MINUTE}, p50", P50, "ms", _MINUTE, {_NONE: None}),
        Row(f"{_WORDS}, {_MINUTE}, agent's processor time", CPU, "% of a core", _MINUTE, {_NONE: None, _THIRD: None}),
        Row(f"{_WORDS}, {_MINUTE}, refreshes", _REFRESHES, "1/s", _MINUTE, {_THIRD: None}),
        Row(f"{_WORDS}, {_THIRD}, waited for the network", _WAITED, "requests", _THIRD),
        Row(f"{_WORDS}, {_THIRD}, got an error", _ERRORS, "requests", _THIRD),
        Row(f"{_WORDS}, {_THIRD}, p99", P99, "ms", _THIRD, {_NONE: None}),
    ],
    seconds=_SECONDS,
    rounds=1,
    warms_up=False,
)
