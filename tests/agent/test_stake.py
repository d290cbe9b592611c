"""What would be lost if the agent ended now."""

import pytest

from auth_agent.cli.stake import accounts_at_stake


def told(store: str, state: str, *, saved: bool = True) -> dict[str, object]:
    """What `status` says of an agent with that store, and one account."""
    return {
        "agent": {"store": {"name": store, "backend": None}},
        "accounts": [{"account": "work", "state": state, "saved": saved}],
    }


@pytest.mark.parametrize("state", ["ready", "expired", "locked"])
def test_in_memory_every_session_is_at_stake(state: str) -> None:
    assert accounts_at_stake(told("memory", state)) == ["work"]


@pytest.mark.parametrize("state", ["logged_out", "login_required"])
def test_without_a_session_nothing_is(state: str) -> None:
    assert accounts_at_stake(told("memory", state)) == []


@pytest.mark.parametrize("state", ["ready", "expired", "login_required"])
def test_in_a_keyring_what_is_not_saved_yet_is(state: str) -> None:
    assert accounts_at_stake(told("keyring", state)) == []
    assert accounts_at_stake(told("keyring", state, saved=False)) == ["work"]


@pytest.mark.parametrize("status", [{}, {"agent": None, "accounts": None}, {"agent": {}, "accounts": [None, 7]}])
def test_an_agent_that_says_something_else_has_nothing_at_stake(status: dict[str, object]) -> None:
    assert accounts_at_stake(status) == []
