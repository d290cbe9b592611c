"""The weather at a provider: a seeded script of faults and their times.

The same seed makes the same weather: the same faults, in the same order, at the same times. Which request is affected
depends on the processes' race.
"""

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.op.provider import TOKEN_ROUTE, FaultMode, OpenIDProvider

# Seconds. A response lost in a spell can be requested again in the calm after it, within the provider's overlap.
OVERLAP: Final = 60
SHORT: Final = 8.0
# Longer spells are a minute apart: two of them and a restart would fill an overlap.
_LONG_ONES_APART: Final = 60.0
_CALM: Final = (2.0, 5.0)
_CALM_SHARE: Final = 0.3
_RETRY_AFTER: Final = 3
# A request that the provider handles after the agent has ended, and the next one has used the successor of its token,
# is a reuse of an old token, which no client can prevent. A stopping agent waits for 10 s.
_LONGEST_DELAY: Final = 8.0
_DISCOVERY: Final = "/.well-known/openid-configuration"

# A request in a shower without a fault: a merge of nothing.
CALM: Final = "merge"


@dataclass(frozen=True, slots=True)
class Gust:
    """A fault of that many token requests; None: of all, and of metadata requests, during the spell."""

    mode: FaultMode
    times: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Spell:
    """Gusts, one after the other; its beginning and end in seconds."""

    begins: float
    ends: float
    gusts: tuple[Gust, ...]


def forecast(seed: object, seconds: float, longest: float) -> list[Spell]:
    """Return the spells of that many seconds, none longer than `longest`."""
    chance = random.Random(f"weather {seed}")
    spells: list[Spell] = []
    now, long_one_ended = chance.uniform(0.5, 2.0), -_LONG_ONES_APART
    while now < seconds:
        is_long = longest > SHORT and chance.random() < 0.3 and now - long_one_ended >= _LONG_ONES_APART
        length = chance.uniform(SHORT, longest) if is_long else chance.uniform(1.0, min(SHORT, longest))
        ends = min(now + length, seconds)
        spells.append(Spell(now, ends, _gusts(chance, length)))
        long_one_ended = ends if is_long else long_one_ended
        now = ends + chance.uniform(*_CALM) + _CALM_SHARE * length
    return spells


def _gusts(chance: random.Random, length: float) -> tuple[Gust, ...]:
    """Return either one gust for all requests, or a shower, with different faults for single requests."""
    if length > SHORT or chance.random() < 0.4:
        return (_gust(chance, length, None),)
    return tuple(
        Gust(CALM, 1) if chance.random() < 0.4 else _gust(chance, length, 1) for _ in range(chance.randint(5, 30))
    )


def _gust(chance: random.Random, length: float, times: int | None) -> Gust:
    seconds = chance.uniform(0.2, max(length, 2.0))
    retry_after = {"retry-after": str(chance.randint(1, _RETRY_AFTER))}
    return chance.choice(
        (
            Gust("status", times, {"status": 500}),
            Gust("status", times, {"status": 503, "headers": retry_after}),
            Gust("status", times, {"status": 429, "headers": retry_after}),
            Gust("garbage", times),
            Gust("half", times),
            Gust("drop-before", times),
            Gust("drop-after", times),
            Gust("delay", times, {"ms": round(min(seconds, _LONGEST_DELAY) * 1000)}),
            Gust("delay-after", times, {"ms": round(seconds * 1000)}),
        )
    )


def blow(spells: Sequence[Spell], provider: OpenIDProvider, over: threading.Event) -> None:
    """Simulate that weather at the provider until `over`; then there is calm."""
    start = time.monotonic()

    def is_over_by(moment: float) -> bool:
        return over.wait(max(0.0, start + moment - time.monotonic()))

    try:
        for spell in spells:
            if is_over_by(spell.begins):
                return
            for gust in spell.gusts:
                for route in (TOKEN_ROUTE, _DISCOVERY) if gust.times is None else (TOKEN_ROUTE,):
                    provider.fault(gust.mode, times=gust.times, route=route, **gust.details)
            if is_over_by(spell.ends):
                return
            provider.clear_faults()
    finally:
        provider.clear_faults()
