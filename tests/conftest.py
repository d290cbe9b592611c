"""What all tests share: a skip that fails where it must not be, and the real provider."""

import os
import signal
import sys
from collections.abc import Generator

import hypothesis
import pytest

# A machine that is busy with other things is slow, and that is not a fault of what is tested.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# A test that takes longer waits for what never comes. In `make soak` some take minutes.
DEADLINE, SOAK_DEADLINE = 120, 900


def pytest_configure(config: pytest.Config) -> None:
    # A shell ignores both for what it starts in the background, and so would everything that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # Some containers set it. Every process of the tests would compile each module that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    config.option.timeout = config.option.timeout or (SOAK_DEADLINE if config.getoption("--soak") else DEADLINE)


def pytest_xdist_auto_num_workers() -> int:
    """Return twice as many as there are cores: a test waits for something half of the time."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits for long, so that nothing is left alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help="a skipped test is a failed one (in CI)")
    parser.addoption("--soak", action="store_true", help="the long ones: a storm of minutes, in place of half of one")
    parser.addoption("--seed", type=int, help="of the storm: the same weather as then")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--strict-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be missing: {report.longrepr}"
    return report
