"""The fault storm: bounded in every run of the tests, and for three minutes in `make soak`."""

import random
from pathlib import Path

import pytest

from tests.faults.storm import Scale, Storm
from tests.faults.verdict import Evidence

BOUNDED = Scale(
    again='make test ARGS="tests/faults/test_storm.py --seed {seed}"',
    sessions=16,
    clients=20,
    processes=2,
    seconds=20,
    life=7,
    warm=4,
    longest=6,
)
LONG = Scale(
    again="make soak SEED={seed}", sessions=50, clients=60, processes=4, seconds=180, life=20, warm=6, longest=20
)


def run_storm(request: pytest.FixtureRequest, scale: Scale, capsys: pytest.CaptureFixture[str]) -> Evidence:
    seed = request.config.getoption("--seed")
    storm = Storm(scale, random.SystemRandom().randrange(1_000_000) if seed is None else seed)
    print(storm.heading)  # noqa: T201 -- shown if it fails before there is a verdict
    evidence = storm.run()
    if request.config.getoption("--soak"):
        with capsys.disabled():
            print("", *evidence.lines(), sep="\n")  # noqa: T201 -- for the person who runs it
    return evidence


@pytest.mark.slow
@pytest.mark.soak
def test_a_storm_loses_no_session(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scale = LONG if request.config.getoption("--soak") else BOUNDED
    evidence = run_storm(request, scale, capsys)

    problems = evidence.problems()
    log = tmp_path / "agent.log"
    log.write_text(evidence.log)
    assert not problems, "\n".join(["", *problems[:50], *evidence.lines(), f"  the agent's log {log}"])
