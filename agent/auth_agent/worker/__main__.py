"""The worker process: `python -m auth_agent.worker`.

It reads one request per line on standard input, and writes one response per line. At the end of its input it finishes
the current call and exits: a write is completed even if the agent was killed.

A child process does all of this, because its memory could never be opened by another process. Its parent only waits.
"""

import fcntl
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from auth_agent.host.hardening import continue_in_child, protect_memory
from auth_agent.host.signals import reset_signals
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.vocabulary import KEYRING, NOTIFICATIONS, SEALING, SIGNATURES

# Seconds, longer than the parent waits for any call. It ends an orphan whose keyring hangs, since no parent kills it.
_LAST_PATIENCE: Final = 120


def main(arguments: Sequence[str]) -> int:
    """Serve until the parent has gone; return the exit code.

    Args:
        arguments: optionally the path of a file to lock before the first call, then the worker's purpose. The lock
            makes a new agent's worker wait until the old agent's worker has finished its write.

    """
    purpose, lock = _parse_arguments(arguments)
    protect_memory()
    reset_signals()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # meant for the agent; the worker ends when the agent does
    continue_in_child()
    requests, responses = _own_streams()
    signal.alarm(_LAST_PATIENCE)
    if lock is not None:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            signal.alarm(_LAST_PATIENCE)
            if not line.endswith(b"\n"):
                break  # the agent died while it wrote this
            response = _respond(json.loads(line), purpose)
            try:
                os.write(responses, json.dumps(response).encode() + b"\n")
            except OSError:
                break  # nobody is there to read it
            signal.alarm(0)
    return 0


def _parse_arguments(arguments: Sequence[str]) -> tuple[str, str | None]:
    """Return the worker's purpose and the path of its lock file."""
    lock = next((argument for argument in arguments if argument not in _CALLS), None)
    if arguments and arguments[-1] in _CALLS:
        return arguments[-1], lock
    # An agent started before an upgrade passes only a lock for the keyring, and no argument for signatures.
    return SIGNATURES if lock is None else KEYRING, lock


def _respond(request: dict[str, str], purpose: str) -> dict[str, object]:
    name = request.pop("call")
    call = _CALLS[purpose]()[name]
    try:
        return {"result": call(**request)}
    except CallFailure as failure:
        return {"failure": failure.kind, "text": str(failure), "program": failure.program}


# Each imports its libraries when first called: a worker needs only one set of them.


@functools.cache
def _keyring_calls() -> dict[str, Callable[..., object]]:
    from auth_agent.worker.keyrings import Keyrings  # noqa: PLC0415 -- see above

    keyrings = Keyrings()
    return {
        "entries": keyrings.entries,
        "read": keyrings.read,
        "write": keyrings.write,
        "delete": keyrings.delete,
        "ask": keyrings.ask,
    }


@functools.cache
def _signature_calls() -> dict[str, Callable[..., object]]:
    from auth_agent.worker.signatures import verify, verify_mac  # noqa: PLC0415 -- see above

    return {"verify": verify, "verify_mac": verify_mac}


@functools.cache
def _notification_calls() -> dict[str, Callable[..., object]]:
    from auth_agent.worker.notifications import notify  # noqa: PLC0415 -- see above

    return {"notify": notify}


@functools.cache
def _sealing_calls() -> dict[str, Callable[..., object]]:
    from auth_agent.worker import sealed_files  # noqa: PLC0415 -- see above

    return {call.__name__: call for call in sealed_files.CALLS}


_CALLS: Final[Mapping[str, Callable[[], dict[str, Callable[..., object]]]]] = {
    KEYRING: _keyring_calls,
    SIGNATURES: _signature_calls,
    NOTIFICATIONS: _notification_calls,
    SEALING: _sealing_calls,
}


def _own_streams() -> tuple[int, int]:
    """Move requests and responses to new descriptors, out of reach of libraries that use stdin or stdout."""
    requests, responses = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    return requests, responses


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
