"""Changes of this machine's network."""

from pathlib import Path

import anyio
import pytest
import trio.testing

from auth_agent.host.network import LOOK, QUIET, read_network, watch_network

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""
ADDRESSES = "fd000000000000000000000000000002 04 40 00 82     eth0\n"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def network(directory: Path, routes: str = ROUTES, addresses: str = ADDRESSES) -> object:
    (directory / "route").write_text(routes)
    (directory / "if_inet6").write_text(addresses)
    return read_network(directory)


def test_another_route_or_address_is_another_network(tmp_path: Path) -> None:
    before = network(tmp_path)
    assert network(tmp_path) == before
    assert network(tmp_path, routes=ROUTES + "tun0\t0000000A\t00000000\t0001\t0\t0\t50\t000000FF\t0\t0\t0\n") != before
    assert network(tmp_path, addresses="") != before


def test_what_the_kernel_counts_is_no_other_network(tmp_path: Path) -> None:
    assert network(tmp_path, routes=ROUTES.replace("0003\t0\t0", "0003\t3\t9")) == network(tmp_path)


def test_a_system_without_these_tables_has_one_network(tmp_path: Path) -> None:
    assert read_network(tmp_path) == frozenset()
    (tmp_path / "route").write_bytes(b"\xff\xfe")
    assert read_network(tmp_path) == frozenset()


@pytest.mark.anyio
async def test_each_change_is_told_once() -> None:
    networks, changes = iter("aabbaccc"), list[float]()
    start = anyio.current_time()
    with anyio.move_on_after(5.5 * LOOK + 2 * QUIET):
        await watch_network(lambda: changes.append(anyio.current_time() - start), lambda: next(networks))
    assert changes == [2 * LOOK, 4 * LOOK + QUIET, 5 * LOOK + 2 * QUIET]
