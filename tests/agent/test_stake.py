"""Which sessions would be lost if the agent ended now."""

import pytest

from auth_agent.cli.stake import accounts_at_stake


def status_with(store: str, state: str, *, saved: bool = True, **more: object) -> dict[str, object]:
    """Return the `status` of an agent with that store and one account."""
    return {
        "agent": {"store": {"name": store, "backend": None, **more}},
        "accounts": [{"account": "work", "state": state, "saved": saved}],
    }


@pytest.mark.parametrize("state", ["ready", "expired", "locked"])
def test_in_memory_every_session_is_at_stake(state: str) -> None:
    assert accounts_at_stake(status_with("memory", state)) == ["work"]


@pytest.mark.parametrize("state", ["logged_out", "login_required"])
def test_without_a_session_nothing_is_at_stake(state: str) -> None:
    assert accounts_at_stake(status_with("memory", state)) == []


@pytest.mark.parametrize("state", ["ready", "expired", "login_required"])
def test_in_a_keyring_only_an_unsaved_session_is_at_stake(state: str) -> None:
    assert accounts_at_stake(status_with("keyring", state)) == []
    assert accounts_at_stake(status_with("keyring", state, saved=False)) == ["work"]


@pytest.mark.parametrize("name", ["memory", "keyring", "a later version's"])
def test_the_store_reports_whether_it_is_persistent(name: str) -> None:
    assert accounts_at_stake(status_with(name, "ready", persistent=False)) == ["work"]
    assert accounts_at_stake(status_with(name, "ready", persistent=True)) == []
    assert accounts_at_stake(status_with(name, "ready", persistent=True, saved=False)) == ["work"]


def test_an_older_agents_store_is_known_by_its_name() -> None:
    assert accounts_at_stake(status_with("memory", "ready", persistent=None)) == ["work"]
    assert accounts_at_stake(status_with("keyring", "ready", persistent=None)) == []


@pytest.mark.parametrize("status", [{}, {"agent": None, "accounts": None}, {"agent": {}, "accounts": [None, 7]}])
def test_a_status_of_an_unknown_form_has_nothing_at_stake(status: dict[str, object]) -> None:
    assert accounts_at_stake(status) == []
