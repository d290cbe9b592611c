"""The limits that the agent inherits (setrlimit(2)): raised as far as allowed, and named where one may end it."""

import contextlib
import resource
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from auth_agent.errors import StartupError

_FILES: Final = 4096  # 1,200 connections, and room for requests to providers
_MIB: Final = 1 << 20


class _Limit(NamedTuple):
    """A limit: what a shell's `ulimit` calls it, how much the agent may need, and what happens at the limit."""

    number: int
    name: str
    needed: int
    effect: str


_LIMITS: Final[Sequence[_Limit]] = (
    _Limit(resource.RLIMIT_NOFILE, "open files (ulimit -n)", 256, "no more programs are served"),
    # Of all the user's processes and threads; root's are not counted.
    _Limit(resource.RLIMIT_NPROC, "processes (ulimit -u)", 64, "the agent starts no worker and no thread"),
    _Limit(resource.RLIMIT_CPU, "CPU time in seconds (ulimit -t)", 10**9, "the system ends the agent"),
    _Limit(resource.RLIMIT_FSIZE, "bytes in a file (ulimit -f)", 64 * _MIB, "no log and no session is written"),
    _Limit(resource.RLIMIT_AS, "bytes of address space (ulimit -v)", 1024 * _MIB, "the agent or its worker fails"),
)


def raise_limits() -> None:
    """Raise each limit to what the agent may need, up to the system's hard limit."""
    for limit in _LIMITS:
        soft, hard = resource.getrlimit(limit.number)
        wanted = _lower(hard, _FILES if limit.number == resource.RLIMIT_NOFILE else resource.RLIM_INFINITY)
        if soft != wanted and _lower(soft, wanted) == soft:
            with contextlib.suppress(OSError, ValueError):  # macOS refuses some values below its hard limit
                resource.setrlimit(limit.number, (wanted, hard))


def low_limits(read: Callable[[int], tuple[int, int]] = resource.getrlimit) -> list[str]:
    """Return a sentence about each hard limit that is lower than what the agent may need."""
    hard = [(limit, read(limit.number)[1]) for limit in _LIMITS]
    return [
        f"the limit of {limit.name} is {value}: at the limit, {limit.effect}"
        for limit, value in hard
        if value != resource.RLIM_INFINITY and value < limit.needed
    ]


def start_thread(thread: threading.Thread) -> None:
    """Start a thread without which the agent can't run. Raises a `StartupError` that names the limits if it can't."""
    try:
        thread.start()
    except RuntimeError as error:
        reason = "a limit of the processes (ulimit -u) or of the memory (ulimit -v) is reached"
        raise StartupError(f"no thread can be started: {reason}") from error


def _lower(one: int, other: int) -> int:
    """Return the lower of two limits; RLIM_INFINITY is the highest, but not the largest number."""
    finite = [limit for limit in (one, other) if limit != resource.RLIM_INFINITY]
    return min(finite, default=resource.RLIM_INFINITY)
