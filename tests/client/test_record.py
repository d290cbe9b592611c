"""Records and the agent's status: typed properties of the maps that the agent sent."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent_client import (
    AgentStatus,
    ClientUsage,
    Hello,
    Record,
    Reload,
    Remedy,
    RestartRefusal,
    Status,
    StoreStatus,
)
from auth_agent_client.messages import METHODS, RECORD

WORK: dict[str, object] = {
    "account": "work",
    "issuer": "https://id.example",
    "subject": "auth0|alice",
    "name": "Alice",
    "state": "ready",
    "renewal": "idle",
    "saved": True,
    "reason": None,
    "expires_at": 4e9,
    "lifetime_assumed": True,
    "refresh_at": 3_999_999_000,
    "last_refresh_at": None,
    "refreshes": 7,
    "session_ends_at": None,
    "session_end_moves": True,
    "refresh_ends_access_token": True,
    "epoch": 1,
    "revision": 12,
}
AGENT: dict[str, object] = {
    "pid": 123,
    "agent_id": "abc",
    "version": "1.0",
    "started_at": 1e9,
    "socket": "/run/agent.sock",
    "config": "/home/config.toml",
    "default": None,
    "locked": False,
    "restart_refused": {"at": 1e9, "reason": "the keyring is locked", "remedy": [{"text": "unlock it"}]},
    "store": {"name": "keyring", "backend": "x.Keyring", "state": "locked", "problem": "it is locked", "unread": 2},
}
# Values that a map from the wire may have.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
KINDS: list[type[dict[str, object]]] = [
    Record,
    Status,
    AgentStatus,
    ClientUsage,
    StoreStatus,
    RestartRefusal,
    Hello,
    Reload,
]


def properties(kind: type) -> list[str]:
    return [name for name in dir(kind) if isinstance(getattr(kind, name), property)]


# ---- a record


def test_a_record_has_the_values_that_the_agent_sent() -> None:
    record = Record(WORK)
    assert {name: getattr(record, name) for name in WORK} == WORK
    assert isinstance(record.refresh_at, float)


def test_a_record_has_a_property_for_each_field_of_the_protocol() -> None:
    assert set(RECORD) - set(properties(Record)) == set()


def test_a_record_is_the_map_that_the_agent_sent() -> None:
    record = Record({**WORK, "newer": [1]})
    assert record["state"] == "ready"
    assert record["newer"] == [1]
    assert json.loads(json.dumps(record)) == {**WORK, "newer": [1]}


def test_a_record_has_a_failure_and_a_remedy() -> None:
    record = Record(failure="refused", remedy=[{"text": "log in again", "command": ["auth-agent", "login", "work"]}])
    assert record.failure == "refused"
    assert record.remedy == (Remedy("log in again", "auth-agent", "login", "work"),)


def test_an_empty_record_has_defaults() -> None:
    record = Record()
    assert (record.account, record.state, record.renewal, record.refreshes, record.epoch) == ("", "", "", 0, 0)
    assert record.saved
    assert (record.name, record.reason, record.failure, record.expires_at, record.remedy) == (
        None,
        None,
        None,
        None,
        (),
    )


@pytest.mark.parametrize("value", [True, "7", float("nan"), float("inf"), 10**400, [7], {}])
def test_an_invalid_time_is_none(value: object) -> None:
    assert Record(expires_at=value).expires_at is None


@pytest.mark.parametrize("value", [True, 7.0, "7", None])
def test_an_invalid_count_is_zero(value: object) -> None:
    assert Record(refreshes=value).refreshes == 0


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_no_property_raises_for_any_value(kind: type[dict[str, object]], data: st.DataObject) -> None:
    names = properties(kind)
    result = kind(data.draw(st.dictionaries(st.sampled_from(names), VALUES)))
    for name in names:
        getattr(result, name)


# ---- the agent


def test_a_status_has_the_agent_its_store_and_the_records() -> None:
    sent: dict[str, Any] = {"agent": AGENT, "accounts": [WORK]}
    status = Status(sent)
    agent, store, refused = status.agent, status.agent.store, status.agent.restart_refused
    assert status.accounts == [WORK]
    assert status.accounts[0].state == "ready"
    assert (agent.pid, agent.agent_id, agent.version, agent.started_at) == (123, "abc", "1.0", 1e9)
    assert (agent.socket, agent.config, agent.default, agent.locked) == (
        "/run/agent.sock",
        "/home/config.toml",
        None,
        False,
    )
    assert (store.name, store.backend, store.state, store.problem) == ("keyring", "x.Keyring", "locked", "it is locked")
    assert (store.unread, store.unsaved, store.persistent, store.remedy) == (2, 0, None, ())
    assert refused is not None
    assert (refused.at, refused.reason, refused.remedy) == (1e9, "the keyring is locked", (Remedy("unlock it"),))
    assert json.loads(json.dumps(status)) == sent


def test_a_status_has_the_clients_if_they_were_requested() -> None:
    sent: dict[str, object] = {
        "account": "work",
        "program": "curl",
        "executable": "/usr/bin/curl",
        "unit": "backup.service",
        "pid": 0,
        "methods": {"token": 3, "profile": True},
        "last_at": 1e9,
    }
    (client,) = Status(clients=[sent, None]).clients
    assert {name: getattr(client, name) for name in sent} == {**sent, "methods": {"token": 3}}
    assert client == sent
    assert Status(accounts=[]).clients == []
    assert ClientUsage().methods == {}


def test_an_older_agents_remedy_of_its_store_is_text_without_a_command() -> None:
    store = StoreStatus(remedy="run this: auth-agent login work", persistent=True)
    assert [(remedy.text, remedy.command) for remedy in store.remedy] == [("run this: auth-agent login work", ())]
    assert store.persistent is True


def test_without_a_refused_restart_there_is_no_refusal() -> None:
    assert Status(agent={**AGENT, "restart_refused": None}).agent.restart_refused is None


@pytest.mark.parametrize("sent", [{}, {"agent": None, "accounts": None}, {"agent": 7, "accounts": [None, 7]}])
def test_a_status_of_an_unknown_form_has_no_accounts(sent: dict[str, object]) -> None:
    status = Status(sent)
    assert status.accounts == []
    assert (status.agent.pid, status.agent.store.name) == (None, None)


def test_a_hello_has_the_agents_features() -> None:
    hello = Hello(protocol=1, version="1.0", features=["hello", 7, "token"], pid=123, agent_id="abc")
    assert (hello.protocol, hello.version, hello.pid, hello.agent_id) == (1, "1.0", 123, "abc")
    assert hello.features == ("hello", "token")


def test_a_reload_has_the_changed_accounts() -> None:
    reload = Reload(added=["a"], changed=[], removed=["b", "c"])
    assert (reload.added, reload.changed, reload.removed) == (("a",), (), ("b", "c"))


@pytest.mark.parametrize(("method", "kind"), [("status", Status), ("hello", Hello), ("reload", Reload)])
def test_each_required_field_of_a_result_is_a_property(method: str, kind: type) -> None:
    assert set(METHODS[method].result or ()) - set(properties(kind)) == set()
