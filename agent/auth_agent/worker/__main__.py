"""The worker process: `python -m auth_agent.worker`; a request a line on its standard input, an answer a line back.

It ends when its input does, after what it is doing: so a write that was begun is finished, though the agent was killed.
"""

import fcntl
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from auth_agent.host.hardening import protect_memory
from auth_agent.worker.failure import KeyringFailure
from auth_agent.worker.vocabulary import KEYRING, SIGNATURES

# Beyond what the parent waits for a call: for an orphan whose keyring hangs, since nobody will kill it.
_LAST_PATIENCE: Final = 120


def main(arguments: Sequence[str]) -> int:
    """Serve until the parent has gone; return the exit code.

    Args:
        arguments: the path of a file to lock before anything is done, if there is one, and what the worker is for. Of
            two agents, the later one's worker waits for the lock until the earlier one's has finished its write.

    """
    purpose, lock = _order(arguments)
    protect_memory()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # meant for the agent, whose end is this one's end
    requests, answers = _own_streams()
    signal.alarm(_LAST_PATIENCE)
    if lock is not None:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            signal.alarm(_LAST_PATIENCE)
            if not line.endswith(b"\n"):
                break  # the agent died while it wrote this
            answer = _answer(json.loads(line), purpose)
            try:
                os.write(answers, json.dumps(answer).encode() + b"\n")
            except OSError:
                break  # nobody is there to read it
            signal.alarm(0)
    return 0


def _order(arguments: Sequence[str]) -> tuple[str, str | None]:
    """What the worker is for, and what it locks."""
    lock = next((argument for argument in arguments if argument not in _CALLS), None)
    if arguments and arguments[-1] in _CALLS:
        return arguments[-1], lock
    # An agent that was started before an upgrade names a lock for the keyring, and nothing for signatures.
    return SIGNATURES if lock is None else KEYRING, lock


def _answer(request: dict[str, str], purpose: str) -> dict[str, object]:
    name = request.pop("call")
    call = _CALLS[purpose]()[name]
    try:
        return {"result": call(**request)}
    except KeyringFailure as failure:
        return {"failure": failure.kind, "text": str(failure)}


# Each imports its libraries when it is first called for: a worker needs those of one only.


@functools.cache
def _keyring_calls() -> dict[str, Callable[..., object]]:
    from auth_agent.worker.keyrings import Keyrings  # noqa: PLC0415 -- see above

    keyrings = Keyrings()
    return {"read": keyrings.read, "write": keyrings.write, "delete": keyrings.delete, "ask": keyrings.ask}


@functools.cache
def _signature_calls() -> dict[str, Callable[..., object]]:
    from auth_agent.worker.signatures import verify  # noqa: PLC0415 -- see above

    return {"verify": verify}


_CALLS: Final[Mapping[str, Callable[[], dict[str, Callable[..., object]]]]] = {
    KEYRING: _keyring_calls,
    SIGNATURES: _signature_calls,
}


def _own_streams() -> tuple[int, int]:
    """The descriptors of requests and answers, out of reach of a library that prints or asks."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    return requests, answers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
