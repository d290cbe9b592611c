"""What would be lost if the agent ended now."""

import pytest

from auth_agent.cli.stake import accounts_at_stake


def told(store: str, state: str, *, saved: bool = True, **more: object) -> dict[str, object]:
    """What `status` says of an agent with that store, and one account."""
    return {
        "agent": {"store": {"name": store, "backend": None, **more}},
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


@pytest.mark.parametrize("name", ["memory", "keyring", "a later version's"])
def test_a_store_says_itself_whether_it_outlives_the_agent(name: str) -> None:
    assert accounts_at_stake(told(name, "ready", persistent=False)) == ["work"]
    assert accounts_at_stake(told(name, "ready", persistent=True)) == []
    assert accounts_at_stake(told(name, "ready", persistent=True, saved=False)) == ["work"]


def test_of_an_older_agent_s_store_the_name_says_it() -> None:
    assert accounts_at_stake(told("memory", "ready", persistent=None)) == ["work"]
    assert accounts_at_stake(told("keyring", "ready", persistent=None)) == []


@pytest.mark.parametrize("status", [{}, {"agent": None, "accounts": None}, {"agent": {}, "accounts": [None, 7]}])
def test_an_agent_that_says_something_else_has_nothing_at_stake(status: dict[str, object]) -> None:
    assert accounts_at_stake(status) == []
