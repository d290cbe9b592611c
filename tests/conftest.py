"""Options and hooks of all tests: the deadline, the order, and skips that fail in CI."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Generator
from itertools import chain, groupby, islice
from pathlib import Path

import hypothesis
import pytest

# A busy machine is slow, which is no fault of the tested code.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# A test that takes longer hangs. In `make soak` some take minutes.
DEADLINE, SOAK_DEADLINE = 300, 900


def pytest_configure(config: pytest.Config) -> None:
    # A shell ignores both in background jobs, and all processes of the tests would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # No test may find the keyring of whoever runs it: without the variable, it would be looked for in /run/user.
    # Nor may a browser make that directory, as root.
    os.environ["XDG_RUNTIME_DIR"] = "/dev/null/nonexistent"
    # Some containers set it; then every process of the tests would compile each module that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    config.option.timeout = config.option.timeout or (SOAK_DEADLINE if config.getoption("--soak") else DEADLINE)


def pytest_xdist_auto_num_workers() -> int:
    """Return five for two cores: a test waits for something more than half of the time."""
    return 5 * (os.cpu_count() or 1) // 2


def pytest_collection(session: pytest.Session) -> None:
    """Let the processes compile the tests of a new checkout together: each begins with another of the modules.

    Otherwise each of them compiles all, since all collect in the same order.
    """
    settings = getattr(session.config, "workerinput", None)  # of a process of pytest-xdist
    if settings is None:
        return
    modules = [module for argument in session.config.args for module in _modules(session.config.rootpath, argument)]
    first = len(modules) * int(settings["workerid"].removeprefix("gw")) // settings["workercount"]
    for module in modules[first:] + modules[:first]:
        with contextlib.suppress(Exception):  # pytest imports it again, and reports it
            importlib.import_module(module)


def _modules(root: Path, argument: str) -> list[str]:
    """Return the names that pytest gives to the tests' modules in a directory; none where the argument is a file."""
    paths = sorted(path.relative_to(root) for path in (root / argument).rglob("test_*.py"))
    return [".".join(path.with_suffix("").parts) for path in paths if "tools" not in path.parts]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process start with its part of the slow tests, so that none of them runs alone at the end.

    `--dist worksteal` gives each process a range of the tests, all as long as these.
    """
    count: int = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    slow = [item for item in items if item.get_closest_marker("slow") is not None]
    others = iter([item for item in items if item.get_closest_marker("slow") is None])
    # Those of a module stay together, since they share its fixtures.
    modules = [list(module) for _, module in groupby(slow, key=lambda item: item.path)]
    modules.sort(key=len, reverse=True)
    ordered: list[pytest.Item] = []
    for number in range(count):
        end = len(ordered) + (len(items) - len(ordered)) // (count - number)
        ordered += chain.from_iterable(modules[number::count])
        ordered += islice(others, max(end - len(ordered), 0))
    items[:] = ordered


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help="let a skipped test fail, as in CI")
    parser.addoption("--soak", action="store_true", help="run the long form of some tests, such as a storm of minutes")
    parser.addoption("--seed", type=int, help="the seed of the storm, to repeat its weather")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--strict-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although nothing may be missing: {report.longrepr}"
    return report
