"""When a provider's metadata is looked up again."""

import math

import pytest

from auth_agent.oauth.freshness import LIFETIME, RETRY, Freshness


@pytest.fixture
def freshness() -> Freshness:
    """Of metadata that was looked up at 1000 s."""
    result = Freshness()
    assert not result.is_current(1000)
    result.look_up_ended(1000, LIFETIME)
    return result


def test_metadata_serves_for_a_day(freshness: Freshness) -> None:
    assert freshness.is_current(1000 + LIFETIME - 1)
    assert not freshness.is_current(1000 + LIFETIME)
    freshness.look_up_ended(1000 + LIFETIME, RETRY)
    assert freshness.is_current(1000 + LIFETIME + RETRY - 1)
    assert not freshness.is_current(1000 + LIFETIME + RETRY)


def test_three_failures_in_a_row_make_it_doubtful(freshness: Freshness) -> None:
    for _ in range(5):
        freshness.failed()
        freshness.failed()
        freshness.succeeded()
    assert freshness.is_current(1001)
    for _ in range(3):
        freshness.failed()
    assert not freshness.is_current(1001)


def test_an_outage_causes_few_requests(freshness: Freshness) -> None:
    requests = 0
    for now in range(1000, 1300):
        freshness.moved()
        freshness.failed()
        freshness.ask_again(now, 0)
        if not freshness.is_current(now):
            requests += 1
            freshness.look_up_ended(now, RETRY)
    assert requests == 10


def test_a_person_has_what_failed_or_is_old_looked_up_again(freshness: Freshness) -> None:
    freshness.ask_again(1059, 60)
    freshness.ask_again(9999, math.inf)
    assert freshness.is_current(1059)
    freshness.failed()
    freshness.ask_again(1059, math.inf)
    assert not freshness.is_current(1059)
    freshness.look_up_ended(1059, LIFETIME)
    assert freshness.is_current(1060)
    freshness.ask_again(1119, 60)
    assert not freshness.is_current(1119)
