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
