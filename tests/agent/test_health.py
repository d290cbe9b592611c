"""The health of a store: when it is called again, whether clients wait, and when the unlock dialog opens."""

import pytest

from auth_agent.storage.health import StoreHealth
from auth_agent.storage.store import StoreError, StoreHangs, StoreLocked, StoreMissing

LOCKED = StoreLocked("the keyring is locked")
MISSING = StoreMissing("there is no keyring")
FAILING = StoreError("the keyring failed")
HANGS = StoreHangs("the keyring hangs")


@pytest.fixture
def health() -> StoreHealth:
    return StoreHealth()


def fail_repeatedly(health: StoreHealth, error: StoreError, times: int, now: float = 0.0) -> list[float]:
    """Let the store fail that often, each time when it is due; return the pause after each failure."""
    pauses: list[float] = []
    for _ in range(times):
        health.fail(error, now)
        pauses.append(health.pause(now))
        now += pauses[-1]
    return pauses


# ---- the next call


def test_a_working_store_is_called_at_once(health: StoreHealth) -> None:
    assert (health.problem, health.pause(0), health.is_worth_a_wait(0)) == (None, 0, True)


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (LOCKED, [0.5, 1, 2, 4, 5, 5]),
        (MISSING, [5, 10, 20, 40, 80, 160, 300, 300]),
        (FAILING, [0.5, 1, 2, 4, 8, 15, 15]),
        (HANGS, [0.5, 1, 2, 4, 8, 15, 15]),
    ],
    ids=["locked", "missing", "failing", "hangs"],
)
def test_pauses_grow_to_the_longest(health: StoreHealth, error: StoreError, pauses: list[float]) -> None:
    assert fail_repeatedly(health, error, len(pauses)) == pauses


def test_a_pause_that_has_passed_is_zero(health: StoreHealth) -> None:
    health.fail(FAILING, 10)
    assert [health.pause(now) for now in (10.25, 10.5, 99)] == [0.25, 0, 0]


def test_a_success_resets_the_pause(health: StoreHealth) -> None:
    fail_repeatedly(health, FAILING, 5)
    assert health.recover()
    assert (health.problem, health.pause(0)) == (None, 0)
    assert fail_repeatedly(health, FAILING, 1, now=100) == [0.5]


def test_a_waiting_client_shortens_the_pause_to_a_second_and_never_extends_it(
    health: StoreHealth,
) -> None:
    fail_repeatedly(health, MISSING, 3)  # at 0, 5 and 15
    health.hasten()
    assert (health.pause(15), health.pause(16)) == (1, 0)
    health.recover()
    health.fail(FAILING, 100)
    health.hasten()
    assert health.pause(100) == 0.5


def test_retry_ends_the_pause(health: StoreHealth) -> None:
    health.fail(MISSING, 10)
    health.retry(12)
    assert health.pause(12) == 0
    health.retry(20)
    assert health.pause(12) == 0


# ---- changes


def test_only_the_first_failure_and_the_first_success_are_new(health: StoreHealth) -> None:
    assert not health.recover()
    assert [health.fail(error, 0) for error in (FAILING, FAILING, LOCKED, LOCKED)] == [True, False, True, False]
    assert [health.recover(), health.recover()] == [True, False]
    assert health.fail(FAILING, 0)


# ---- waiting clients


@pytest.mark.parametrize("error", [LOCKED, MISSING, FAILING])
def test_a_save_waits_only_for_a_store_that_works_or_is_about_to_be_retried(
    health: StoreHealth, error: StoreError
) -> None:
    health.fail(error, 10)
    due = 10 + health.pause(10)
    assert (health.is_worth_a_wait(10), health.is_worth_a_wait(due)) == (False, True)


def test_nothing_waits_for_a_store_that_hangs(health: StoreHealth) -> None:
    health.fail(HANGS, 10)
    assert not health.is_worth_a_wait(1000)


def test_a_locked_or_missing_store_needs_a_person(health: StoreHealth) -> None:
    found: list[bool] = [health.needs_a_person]
    for error in (LOCKED, MISSING, FAILING, HANGS):
        health.fail(error, 0)
        found.append(health.needs_a_person)
    assert found == [False, True, True, False, False]


# ---- the unlock dialog


def test_a_dialog_opens_when_a_client_needs_a_locked_session(health: StoreHealth) -> None:
    health.fail(LOCKED, 0)
    assert not health.may_ask(0)
    health.want()
    assert health.may_ask(1)


@pytest.mark.parametrize("error", [MISSING, FAILING, HANGS])
def test_without_a_locked_store_no_dialog_opens_and_the_request_is_kept(health: StoreHealth, error: StoreError) -> None:
    health.want()
    health.fail(error, 0)
    assert not health.may_ask(0)
    health.fail(LOCKED, 1)
    assert health.may_ask(1)


def test_a_clients_request_is_used_for_one_dialog(health: StoreHealth) -> None:
    health.fail(LOCKED, 0)
    health.want()
    assert health.may_ask(0)
    health.want()
    assert not health.may_ask(299.9)  # too soon; the request is dropped
    assert not health.may_ask(300)
    health.want()
    assert health.may_ask(300)


def test_after_the_store_worked_a_dialog_may_open_again(health: StoreHealth) -> None:
    health.fail(LOCKED, 0)
    health.want()
    assert health.may_ask(0)
    health.want()
    health.recover()
    health.fail(LOCKED, 10)
    assert not health.may_ask(10)  # nobody wanted it since
    health.want()
    assert health.may_ask(11)
