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


def resolve(parameters: Mapping[str, object], config: Config = CONFIG) -> dict[str, str | None]:
    """Return the parameters of the request after its URL was resolved."""
    arguments = Arguments(Request(1, "token", dict(parameters)))
    resolve_url(arguments, config)
    return {name: arguments.string(name) for name in ("account", "audience", "scope", "url")}


def error_for(parameters: Mapping[str, object], config: Config = CONFIG) -> AgentError:
    """Return the error for the request; check that it contains only the origin of the URL."""
    with pytest.raises(AgentError) as raised:
        resolve(parameters, config)
    assert "hunter2" not in f"{raised.value.message} {raised.value.remedy} {raised.value.details}"
    return raised.value


def test_a_request_without_a_url_is_unchanged() -> None:
    assert resolve({"account": "home", "scope": "read"}) == {
        "account": "home",
        "audience": None,
        "scope": "read",
        "url": None,
    }


def test_a_url_gets_the_account_audience_and_scope_of_its_rule() -> None:
    work = {"account": "work", "audience": None, "scope": None, "url": None}
    assert resolve({"url": GIT}) == work
    assert resolve({"url": GIT, "account": "work"}) == work
    api = {"account": "work", "audience": "https://other.example", "scope": "read write", "url": None}
    assert resolve({"url": "https://api.example"}) == api


def test_other_parameters_are_unchanged() -> None:
    arguments = Arguments(Request(1, "token", {"url": GIT, "min_ttl": 60, "force": True, "timeout": 7}))
    resolve_url(arguments, CONFIG)
    assert (arguments.seconds("min_ttl"), arguments.flag("force"), arguments.timeout) == (60, True, 7)


def test_an_audience_and_scope_equal_to_the_rules_are_accepted() -> None:
    assert resolve({"url": GIT, "audience": "https://api.example", "scope": "email openid"})["account"] == "work"
    params = {"url": "https://api.example", "audience": "https://other.example", "scope": "write read"}
    assert resolve(params)["scope"] == "read write"


@pytest.mark.parametrize(
    ("name", "value"),
    [("audience", "https://other.example"), ("scope", "openid"), ("scope", ""), ("scope", "openid email admin")],
)
def test_another_audience_or_scope_than_the_rules_is_invalid(name: str, value: str) -> None:
    error = error_for({"url": GIT, name: value})
    assert isinstance(error, InvalidRequest)
    assert error.parameter == name
    assert error.message.endswith(" https://git.example.com")


def test_another_account_than_the_rules_is_denied() -> None:
    error = error_for({"url": GIT, "account": "home"})
    assert isinstance(error, Denied)
    assert error.message.startswith("https://git.example.com ")
    assert "work" in error.message


@pytest.mark.parametrize(
    ("url", "origin", "key"),
    [
        ("https://Evil.example/?secret=hunter2#hunter2", "https://evil.example", "evil.example"),
        ("https://git.example.com:8443/hunter2", "https://git.example.com:8443", "git.example.com:8443"),
        ("http://localhost:8080", "http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_a_url_without_a_rule_is_denied_and_the_default_account_is_not_used(url: str, origin: str, key: str) -> None:
    for parameters in ({"url": url}, {"url": url, "account": "work"}):
        error = error_for(parameters)
        assert isinstance(error, Denied)
        assert error.message.endswith(f" {origin}")
        assert error.remedy == (remedies.add_host(key, "/home/anna/config.toml"),)
        assert f'[hosts."{key}"]' in error.remedy[0].text
        assert error.remedy[0].command == ()


@pytest.mark.parametrize("directory", [None, "/srv", "/srv/acme2"])
def test_a_url_whose_rules_are_for_other_directories_is_denied(directory: str | None) -> None:
    rule = HostRule("in.example", read_key("in.example"), "work", directory="/srv/acme")
    config = replace(CONFIG, hosts=(rule,))
    error = error_for({"url": "https://in.example/", **({"directory": directory} if directory else {})}, config)
    assert isinstance(error, Denied)
    assert error.message == "no account is configured for https://in.example in this directory"
    assert error.remedy == (remedies.change_directory("in.example", "/home/anna/config.toml"),)


def test_an_ambiguous_url_is_invalid() -> None:
    error = error_for({"url": "https://alice:hunter2@git.example.com/"})
    assert isinstance(error, InvalidRequest)
    assert error.parameter == "url"


def test_without_hosts_no_url_gets_a_token() -> None:
    assert isinstance(error_for({"url": GIT}, replace(CONFIG, hosts=())), Denied)
