"""The crowd: clients of one agent, in a few processes.

`python -m tests.faults.crowd` is one of them: it reads its clients and accounts from a line of JSON, lets the clients
run until its standard input ends, and then writes their tally.
"""

import contextlib
import json
import random
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from auth_agent_client import Agent
from tests.faults.checkpoint import Checkpoint, new_client
from tests.faults.client import Client, Place
from tests.faults.tally import Tally

_ROOT: Final = Path(__file__).parents[2]
# A client may call just before the end, waits for 15 s, and checks the token.
_PATIENCE: Final = 90.0


@dataclass(frozen=True, slots=True)
class Group:
    """The clients of one process."""

    socket: str
    seed: str
    clients: int
    places: Sequence[Place]

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Group":
        """Return what `to_json` wrote."""
        fields = json.loads(line)
        places = [Place(**place | {"checkpoint": Checkpoint(**place["checkpoint"])}) for place in fields["places"]]
        return cls(**fields | {"places": places})


class Crowd:
    """All processes, running."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def begin(self, group: Group) -> None:
        """Start a group."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.faults.crowd"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        assert process.stdin is not None
        process.stdin.write(group.to_json() + "\n")
        process.stdin.flush()

    @property
    def is_at_work(self) -> bool:
        """Whether no process has ended by itself."""
        return all(process.poll() is None for process in self._processes)

    def finish(self) -> Tally:
        """End all clients, and return their tally."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None  # `communicate` would flush it
        tally = Tally()
        for process in self._processes:
            output, _ = process.communicate(timeout=_PATIENCE)
            assert process.returncode == 0, f"a process of the crowd ended with {process.returncode}"
            tally.add(Tally.from_json(output))
        return tally

    def end(self) -> None:
        """Kill the processes that still run."""
        for process in self._processes:
            with process:
                process.kill()


@contextlib.contextmanager
def running_crowd(groups: Sequence[Group]) -> Generator[Crowd]:
    """Run the groups during the block, at most."""
    crowd = Crowd()
    try:
        for group in groups:
            crowd.begin(group)
        yield crowd
    finally:
        crowd.end()


def main() -> None:
    """Run the clients of one process."""
    group = Group.from_json(sys.stdin.readline())
    over, seen = threading.Event(), dict[str, str]()
    with new_client() as http:
        clients = [
            Client(Agent(group.socket), http, list(group.places), seen, random.Random(f"{group.seed} {number}"))
            for number in range(group.clients)
        ]
        threads = [threading.Thread(target=client.run, args=(over.wait,)) for client in clients]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        over.set()
        for thread in threads:
            thread.join()
    tally = Tally()
    for client in clients:
        tally.add(client.tally)
    sys.stdout.write(tally.to_json())


if __name__ == "__main__":
    main()
