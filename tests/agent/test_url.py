"""Whose token a URL gets, and what is said where it gets none."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from auth_agent import remedies
from auth_agent.config import Config
from auth_agent.hosts import HostRule, read_key
from auth_agent.ipc.arguments import Arguments
from auth_agent.ipc.url import resolve_url
from auth_agent_client.errors import AgentError, Denied, InvalidRequest
from auth_agent_client.wire import Request
from tests.agent.world import account

WORK = account("work", audience="https://api.example", scope="openid email")
CONFIG = Config(
    Path("/home/anna/config.toml"),
    MappingProxyType({"work": WORK, "home": account("home", default=True)}),
    (
        HostRule("git.example.com", read_key("git.example.com"), "work"),
        HostRule("api.example", read_key("api.example"), "work", audience="https://other.example", scope="read write"),
    ),
)
GIT = "https://git.example.com/project?secret=hunter2"


def resolved(parameters: Mapping[str, object], config: Config = CONFIG) -> dict[str, str | None]:
    """What the request is for."""
    arguments = Arguments(Request(1, "token", dict(parameters)))
    resolve_url(arguments, config)
    return {name: arguments.string(name) for name in ("account", "audience", "scope", "url")}


def refused(parameters: Mapping[str, object], config: Config = CONFIG) -> AgentError:
    """The error in place of an answer, in which nothing of a URL is but its origin."""
    with pytest.raises(AgentError) as raised:
        resolved(parameters, config)
    assert "hunter2" not in f"{raised.value.message} {raised.value.remedy} {raised.value.details}"
    return raised.value


def test_a_request_without_a_url_stays_as_it_is() -> None:
    assert resolved({"account": "home", "scope": "read"}) == {
        "account": "home",
        "audience": None,
        "scope": "read",
        "url": None,
    }


def test_a_url_gets_a_token_of_its_rule_s_account_audience_and_scope() -> None:
    own = {"account": "work", "audience": None, "scope": None, "url": None}
    assert resolved({"url": GIT}) == own
    assert resolved({"url": GIT, "account": "work"}) == own
    other = {"account": "work", "audience": "https://other.example", "scope": "read write", "url": None}
    assert resolved({"url": "https://api.example"}) == other


def test_the_rest_of_the_request_stays() -> None:
    arguments = Arguments(Request(1, "token", {"url": GIT, "min_ttl": 60, "force": True, "timeout": 7}))
    resolve_url(arguments, CONFIG)
    assert (arguments.seconds("min_ttl"), arguments.flag("force"), arguments.timeout) == (60, True, 7)


def test_an_audience_and_a_scope_beside_the_url_are_those_of_the_rule() -> None:
    assert resolved({"url": GIT, "audience": "https://api.example", "scope": "email openid"})["account"] == "work"
    told = {"url": "https://api.example", "audience": "https://other.example", "scope": "write read"}
    assert resolved(told)["scope"] == "read write"


@pytest.mark.parametrize(
    ("name", "value"),
    [("audience", "https://other.example"), ("scope", "openid"), ("scope", ""), ("scope", "openid email admin")],
)
def test_another_audience_or_scope_than_the_rule_s_is_a_mistake(name: str, value: str) -> None:
    error = refused({"url": GIT, name: value})
    assert isinstance(error, InvalidRequest)
    assert (error.parameter, error.message) == (name, f"token: {name} is not the one for https://git.example.com")


def test_another_account_than_the_rule_s_is_denied() -> None:
    error = refused({"url": GIT, "account": "home"})
    assert isinstance(error, Denied)
    assert error.message == "https://git.example.com gets tokens of the account work, and of no other"


@pytest.mark.parametrize(
    ("url", "origin", "key"),
    [
        ("https://Evil.example/?secret=hunter2#hunter2", "https://evil.example", "evil.example"),
        ("https://git.example.com:8443/hunter2", "https://git.example.com:8443", "git.example.com:8443"),
        ("http://localhost:8080", "http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_where_no_rule_fits_the_origin_is_denied_and_the_default_account_is_not_taken(
    url: str, origin: str, key: str
) -> None:
    for parameters in ({"url": url}, {"url": url, "account": "work"}):
        error = refused(parameters)
        assert isinstance(error, Denied)
        assert error.message == f"no account is configured for {origin}"
        assert error.remedy == (remedies.add_host(key, "/home/anna/config.toml"),)
        assert f'[hosts."{key}"]' in error.remedy[0].text
        assert error.remedy[0].command == ()


def test_a_url_that_can_be_read_in_two_ways_is_a_mistake() -> None:
    error = refused({"url": "https://alice:hunter2@git.example.com/"})
    assert isinstance(error, InvalidRequest)
    assert (error.parameter, error.message) == ("url", "token: this URL gets no token: it has a user name")


def test_without_hosts_no_url_gets_a_token() -> None:
    assert isinstance(refused({"url": GIT}, replace(CONFIG, hosts=())), Denied)
