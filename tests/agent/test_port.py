"""A port of the loopback interface: on all addresses of the host, or on none."""

import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import Mock

import pytest

from auth_agent.loopback.port import LOCALHOST, listen
from tests.free_ports import free_ports


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def names(listening: list[socket.socket]) -> list[tuple[str, int]]:
    with ExitStack() as stack:
        return [stack.enter_context(one).getsockname()[:2] for one in listening]


def test_an_address_has_one_socket() -> None:
    ((address, port),) = names(listen("127.0.0.1", 0))
    assert address == "127.0.0.1"
    assert names(listen("127.0.0.1", port)) == [("127.0.0.1", port)]


@needs_ipv6
def test_the_address_of_ipv6_is_a_host_in_brackets() -> None:
    ((address, port),) = names(listen("[::1]", 0))
    assert address == "::1"
    assert names(listen("[::1]", port)) == [("::1", port)]


def test_without_ipv6_nothing_listens_on_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", Mock(side_effect=OSError(errno.EAFNOSUPPORT, "no such family")))
    with pytest.raises(OSError, match="family"):
        listen("[::1]", 0)


@needs_ipv6
def test_localhost_has_the_same_port_of_both_addresses() -> None:
    (first, second) = names(listen(LOCALHOST, 0))
    assert (first[0], second[0]) == ("127.0.0.1", "::1")
    assert first[1] == second[1]
    assert names(listen(LOCALHOST, first[1])) == [first, second]


@needs_ipv6
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::"])
def test_if_one_address_is_taken_neither_is_used(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    (port,) = free_ports(1)
    with socket.create_server((address, port), family=family):
        with pytest.raises(OSError, match="in use") as caught:
            listen(LOCALHOST, port)
        assert caught.value.errno == errno.EADDRINUSE
        if address == "::1":
            assert names(listen("127.0.0.1", port)) == [("127.0.0.1", port)]  # it was freed


@needs_ipv6
def test_nobody_can_take_the_other_address() -> None:
    with ExitStack() as stack:
        listening = [stack.enter_context(one) for one in listen(LOCALHOST, 0)]
        for one in listening:
            with socket.socket(one.family) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(one.getsockname())


@needs_ipv6
def test_any_port_is_one_that_is_free_on_both_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        choices = [port]  # what the system chooses for 127.0.0.1 at first
        bind: Callable[[socket.socket, tuple[str, int]], None] = socket.socket.bind

        def bind_to_the_taken_one_first(self: socket.socket, address: tuple[str, int]) -> None:
            host, wanted = address
            bind(self, (host, choices.pop() if wanted == 0 and choices else wanted))

        monkeypatch.setattr(socket.socket, "bind", bind_to_the_taken_one_first)
        first, second = names(listen(LOCALHOST, 0))
        assert choices == []
        assert first[1] == second[1] != port


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6_has_one_address(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bind: Callable[[socket.socket, tuple[str, int]], None] = socket.socket.bind

    def fail(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(number, "no IPv6")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", fail)
    ((address, _),) = names(listen(LOCALHOST, 0))
    assert address == "127.0.0.1"
