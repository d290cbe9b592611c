"""The weather and the verdict: a storm that can't fail, or that no client can survive, would prove nothing."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from tests.bench.processes import Memory
from tests.faults.tally import Failure, Tally
from tests.faults.verdict import MAX_GROWTH, Evidence, Footprint, Life, Restart
from tests.faults.weather import OVERLAP, Spell, forecast
from tests.op.provider import Presented

SECONDS = 180
LONGEST = 20
# Seconds for an agent to end and the next one to start, on a busy machine.
RESTART = 15


def calm_periods(spells: Sequence[Spell], begins: float, ends: float) -> list[tuple[float, float]]:
    """Return the calm periods between the spells, within that time."""
    calm = [(max(one.ends, begins), min(next_.begins, ends)) for one, next_ in pairwise(spells)]
    return [(one, other) for one, other in calm if one < other]


def overlap_of(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def least_calm(spells: Sequence[Spell], begins: float, ends: float) -> float:
    """Return for how long an agent can send requests in calm within that time, with the worst restart."""
    calm = calm_periods(spells, begins, ends)
    restarts = [(begin, begin + RESTART) for one in calm for begin in (one[0], one[1] - RESTART)]
    total = sum(other - one for one, other in calm)
    return min(total - sum(overlap_of(one, restart) for one in calm) for restart in restarts)


@given(seed=st.integers(0, 999_999))
def test_a_lost_response_can_be_requested_again_within_the_overlap(seed: int) -> None:
    # For a waiting client, the agent retries every 2 s, and not before a `Retry-After` of 3 s.
    spells = forecast(seed, SECONDS, LONGEST)

    assert all(spell.ends - spell.begins <= LONGEST for spell in spells)
    for spell in spells:
        if spell.begins + OVERLAP <= SECONDS:  # after the last spell there is calm
            assert least_calm(spells, spell.begins, spell.begins + OVERLAP) > 4


def test_a_seed_makes_the_same_weather_each_time() -> None:
    assert forecast("7 0", SECONDS, LONGEST) == forecast("7 0", SECONDS, LONGEST)
    assert forecast("7 0", SECONDS, LONGEST) != forecast("7 1", SECONDS, LONGEST)


def test_every_fault_occurs_in_a_storm() -> None:
    modes = {gust.mode for number in range(2) for spell in forecast(number, SECONDS, LONGEST) for gust in spell.gusts}

    assert modes >= {"status", "garbage", "half", "drop-before", "drop-after", "delay", "delay-after"}


# ---- the verdict

PRINT = Footprint(Memory(40_000, 30_000), 20)
GROWN = Footprint(Memory(40_001 + MAX_GROWTH, 30_000), 20)
LEAKY = Footprint(PRINT.memory, 23)
FULL = Footprint(PRINT.memory, 33)
REPEATED = Presented(2, 1, answered_at=50.0, repeated_at=(51.0,))
LOST = Presented(2, 1, answered_at=50.0)


def failure(code: str, method: str = "token", began: float = 50.0, ended: float = 51.0) -> Failure:
    return Failure(code, method, "work", "the text", began, ended)


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(
        heading="A storm",
        sessions={"work": None},
        clients=1,
        tally=Tally({"token": 9}, handed_out=9, checked=9),
        ledgers={"0123456789": LOST},
        faults={"drop-after": 1, "merge": 4},
        restarts=[Restart(100.0, 101.0, 102.0, 0)],
        lives=[Life(PRINT, PRINT)],
        before=PRINT,
        after=PRINT,
    )


@pytest.mark.parametrize(
    "error",
    [
        failure("unavailable"),
        failure("timeout"),
        failure("denied", "rejected"),
        failure("lifetime_too_short", "token min_ttl"),
        failure("agent_not_running", began=101.5, ended=101.6),
        failure("connection_lost", began=90.0, ended=100.1),
        failure("locked", began=104.0, ended=105.0),
    ],
)
def test_an_expected_error_is_not_a_problem(evidence: Evidence, error: Failure) -> None:
    evidence.tally.failures.append(error)

    assert evidence.problems() == []


@pytest.mark.parametrize(
    "error",
    [
        failure("login_required"),
        failure("internal"),
        failure("exception"),
        failure("a_code_that_nobody_knows"),
        failure("provider_error"),
        failure("misconfigured"),
        failure("denied"),
        failure("lifetime_too_short"),
        failure("unavailable", ended=81.0),
        failure("agent_not_running"),
        failure("connection_lost", began=103.5, ended=104.0),
        failure("locked"),
    ],
)
def test_an_unexpected_error_is_a_problem(evidence: Evidence, error: Failure) -> None:
    evidence.tally.failures.append(error)

    assert evidence.problems() == [f"not clean: {error}"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sessions": {"work": "it is login_required: invalid_grant"}}, "work is lost: it is login_required"),
        ({"ledgers": {"0123456789": REPEATED}}, "came again at 51.000, answered at 50.000"),
        ({"lives": [Life(PRINT, GROWN)]}, "grew by 4097 KiB"),
        ({"lives": [Life(PRINT, FULL)]}, "33 descriptors open, where 32"),
        ({"after": LEAKY}, "23 descriptors open at rest, 20 before"),
        ({"restarts": [Restart(100.0, 101.0, 102.0, 1)]}, "ended with 1"),
        ({"complaints": ["error defect in=loop"]}, "defect in=loop"),
        ({"faults": {"merge": 4}}, "nobody met a fault"),
        ({"restarts": []}, "nobody was restarted"),
        ({"ledgers": {}}, "nobody was refreshed"),
        ({"tally": Tally()}, "nobody handed out a token"),
        ({"tally": Tally(handed_out=1, checked=1, broken=["a token was dead"])}, "a token was dead"),
    ],
)
def test_each_broken_promise_is_found(evidence: Evidence, changes: dict[str, object], problem: str) -> None:
    problems = replace(evidence, **changes).problems()  # type: ignore[arg-type]  # a test knows its fields

    assert problem in "\n".join(problems)


def test_a_response_in_the_last_moment_of_an_agent_counts_as_lost(evidence: Evidence) -> None:
    cut_off = replace(REPEATED, answered_at=100.9, repeated_at=(102.0,))

    assert replace(evidence, ledgers={"0123456789": cut_off}).problems() == []


def test_the_summary_contains_the_results(evidence: Evidence) -> None:
    evidence.tally.failures.append(failure("unavailable"))
    text = "\n".join(evidence.lines())

    assert "1 of 1 alive" in text
    assert "drop-after 1\n" in text
    assert "unavailable 1" in text
