"""The path of the socket."""

import os
import pwd
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auth_agent_client.errors import Misconfigured
from auth_agent_client.paths import SUN_PATH, config_directory, home_directory, socket_path, state_directory
from auth_agent_client.remedy import set_variable


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTH_AGENT_SOCK", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def may_write_to(monkeypatch: pytest.MonkeyPatch, *directories: str) -> None:
    def access(path: str, mode: int) -> bool:
        return mode == os.W_OK and path in directories

    monkeypatch.setattr(os, "access", access)


def test_auth_agent_sock_has_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AGENT_SOCK", "/somewhere/else.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert socket_path() == "/somewhere/else.sock"


def test_by_default_the_socket_is_below_the_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert socket_path() == "/run/user/7/auth-agent/agent.sock"


def test_an_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AGENT_SOCK", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert socket_path() == "/run/user/7/auth-agent/agent.sock"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no runtime directory of this kind")
def test_a_job_without_variables_finds_the_same_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    may_write_to(monkeypatch, f"/run/user/{os.getuid()}")
    assert socket_path() == f"/run/user/{os.getuid()}/auth-agent/agent.sock"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no state directory of this kind")
def test_without_a_runtime_directory_the_socket_is_below_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    may_write_to(monkeypatch)
    monkeypatch.setenv("HOME", "/home/anna")
    assert socket_path() == "/home/anna/.local/state/auth-agent/agent.sock"
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert socket_path() == "/state/auth-agent/agent.sock"


def test_on_macos_the_socket_is_below_the_users_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", "/Users/anna")
    assert socket_path() == "/Users/anna/Library/Application Support/auth-agent/agent.sock"


def test_without_any_variable_the_path_is_absolute_and_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.chdir(tmp_path)
    owner = re.compile(rf"(/run/user/{os.getuid()}|/home/anna)/(.*/)?auth-agent/agent\.sock")
    assert owner.fullmatch(socket_path()), socket_path()


@pytest.mark.parametrize("path", ["agent.sock", "./agent.sock", "run/agent.sock", "~/agent.sock"])
def test_a_relative_path_is_refused_with_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("AUTH_AGENT_SOCK", path)
    with pytest.raises(Misconfigured) as raised:
        socket_path()
    assert repr(path) in raised.value.message
    assert "AUTH_AGENT_SOCK" in raised.value.message


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("XDG_RUNTIME_DIR", socket_path),
        ("XDG_STATE_HOME", state_directory),
        ("XDG_CONFIG_HOME", config_directory),
        ("HOME", home_directory),
        ("HOME", config_directory),
    ],
)
def test_a_relative_directory_is_refused_with_the_name_of_its_variable(
    name: str, directory: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "somewhere")
    with pytest.raises(Misconfigured) as raised:
        directory()
    assert raised.value.message.startswith(name)
    assert raised.value.remedy == (set_variable(name),)


def test_a_variable_that_is_not_used_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_directory() == "/state/auth-agent"


@pytest.mark.parametrize("value", [None, ""])
def test_without_home_the_directory_in_the_list_of_users_is_used(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", value)
    assert home_directory() == pwd.getpwuid(os.getuid()).pw_dir


@pytest.mark.parametrize("value", [None, ""])
def test_a_user_without_home_directory_learns_the_variable_to_set(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", value)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(Misconfigured) as raised:
        state_directory()
    assert raised.value.remedy == (set_variable("HOME"),)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has other directories")
@pytest.mark.parametrize(("home", "expected"), [("/home/anna", "/home/anna/.config"), ("/", "/.config")])
def test_the_configuration_is_below_the_home_directory(
    home: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    assert config_directory() == f"{expected}/auth-agent"


def test_the_longest_path_of_a_socket_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = "/" + "a" * (SUN_PATH - 2)
    monkeypatch.setenv("AUTH_AGENT_SOCK", longest)
    assert socket_path() == longest


def test_a_path_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AGENT_SOCK", "/" + "a" * (SUN_PATH - 1))
    with pytest.raises(Misconfigured, match="AUTH_AGENT_SOCK"):
        socket_path()


def test_the_length_of_a_path_is_measured_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/" + "ä" * (SUN_PATH // 2)
    assert len(path) < SUN_PATH
    monkeypatch.setenv("AUTH_AGENT_SOCK", path)
    with pytest.raises(Misconfigured, match=f"{SUN_PATH - 1} bytes"):
        socket_path()


def test_a_runtime_directory_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "a" * SUN_PATH)
    with pytest.raises(Misconfigured, match=f"{SUN_PATH - 1} bytes"):
        socket_path()


def test_the_limit_is_that_of_sun_path_on_this_platform() -> None:
    assert {"linux": 108, "darwin": 104}[sys.platform] == SUN_PATH
