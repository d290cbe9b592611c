"""The D-Bus session's address, as it is at the moment."""

import socket
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from auth_agent.host.session_bus import VARIABLE, session_bus_address


class Listen(Protocol):
    """Listens at a path, or at a name without a file, until it is told to stop."""

    def __call__(self, path: Path | str) -> socket.socket:
        """Return the listening socket."""
        ...


@pytest.fixture
def listen() -> Generator[Listen, None, None]:
    with ExitStack() as end:

        def begin(path: Path | str) -> socket.socket:
            listening = end.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(path))
            listening.listen()
            return listening

        yield begin


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory, and no variable with an address."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def user_bus(runtime: Path) -> str:
    return f"unix:path={runtime}/bus"


def test_a_user_bus_is_found_once_it_is_there(runtime: Path, listen: Listen) -> None:
    assert session_bus_address() is None
    listen(runtime / "bus")
    assert session_bus_address() == user_bus(runtime)


def test_the_variable_has_precedence_while_its_bus_is_there(
    runtime: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(runtime / "bus")
    given = f"unix:path={runtime}/a%20bus,guid=1234"
    monkeypatch.setenv(VARIABLE, given)
    assert session_bus_address() == user_bus(runtime)
    own = listen(runtime / "a bus")
    assert session_bus_address() == given
    own.close()  # as if it was killed: its file is left
    assert session_bus_address() == user_bus(runtime)


def test_a_bus_without_a_file_is_looked_for_too(runtime: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    listen(runtime / "bus")
    given = f"unix:abstract={runtime}/abstract"
    monkeypatch.setenv(VARIABLE, given)
    assert session_bus_address() == user_bus(runtime)
    listen(f"\0{runtime}/abstract")
    assert session_bus_address() == given


def test_of_several_addresses_the_first_that_is_served_is_used(
    runtime: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"unix:path={runtime}/first;unix:path={runtime}/second")
    listen(runtime / "second")
    assert session_bus_address() == f"unix:path={runtime}/second"


@pytest.mark.parametrize("given", ["unix:path=/nowhere/bus", "garbage;;", "unix:", "tcp:host=localhost,port=1"])
def test_without_another_bus_the_variable_stays_and_the_error_is_about_it(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv(VARIABLE, given)
    found = session_bus_address()
    assert found is not None
    assert found in {given, "garbage"}


@pytest.mark.parametrize("given", ["tcp:host=localhost,port=1", "unixexec:path=ssh", "unix:tmpdir=/tmp", "garbage"])
def test_an_address_that_can_not_be_looked_at_is_believed(
    given: str, runtime: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(runtime / "bus")
    monkeypatch.setenv(VARIABLE, given)
    assert session_bus_address() == given
