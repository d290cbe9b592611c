"""The limits that a process inherits."""

import resource
import subprocess
import sys

import pytest

from auth_agent.host.limits import low_limits

FREE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.mark.parametrize(
    ("number", "low", "enough", "name"),
    [
        (resource.RLIMIT_NOFILE, 64, 1024, "ulimit -n"),
        (resource.RLIMIT_NPROC, 16, 4096, "ulimit -u"),
        (resource.RLIMIT_CPU, 60, resource.RLIM_INFINITY, "ulimit -t"),
        (resource.RLIMIT_FSIZE, 1 << 20, 1 << 30, "ulimit -f"),
        (resource.RLIMIT_AS, 256 << 20, 8 << 30, "ulimit -v"),
    ],
)
def test_a_low_hard_limit_is_named(number: int, low: int, enough: int, name: str) -> None:
    (text,) = low_limits(lambda other: (low, low) if other == number else FREE)
    assert name in text
    assert str(low) in text
    assert low_limits(lambda other: (low, enough) if other == number else FREE) == []


def test_soft_limits_are_raised_as_far_as_the_hard_ones_allow() -> None:
    script = """
import resource
from auth_agent.host.limits import raise_limits
hard = {resource.RLIMIT_CPU: 1000, resource.RLIMIT_FSIZE: 1 << 30, resource.RLIMIT_NOFILE: 512}
for number, limit in hard.items():
    resource.setrlimit(number, (limit // 2, limit))
raise_limits()
assert all(resource.getrlimit(number) == (limit, limit) for number, limit in hard.items())
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_no_limit_is_lowered() -> None:
    script = """
import resource
from auth_agent.host.limits import raise_limits
before = {number: resource.getrlimit(number) for number in range(resource.RLIM_NLIMITS)}
raise_limits()
after = {number: resource.getrlimit(number) for number in before}
infinite = resource.RLIM_INFINITY
assert all(new == infinite or infinite != old <= new for (old, _), (new, _) in zip(before.values(), after.values()))
"""
    script = script.replace("resource.RLIM_NLIMITS", "10")
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of the process is read from /proc")
def test_a_thread_that_can_not_start_is_an_error_that_names_the_limits() -> None:
    script = """
import re, resource, threading
from pathlib import Path
from auth_agent.errors import StartupError
from auth_agent.host.limits import start_thread
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 19), resource.RLIM_INFINITY))  # a thread's stack is larger
try:
    start_thread(threading.Thread(target=print, daemon=True))
except StartupError as error:
    assert "ulimit -u" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)
