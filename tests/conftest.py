"""What all tests share: a skip that fails where it must not be, and the real provider."""

import signal
from collections.abc import Generator

import pytest


def pytest_configure() -> None:
    # A shell ignores both for what it starts in the background, and so would everything that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


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
