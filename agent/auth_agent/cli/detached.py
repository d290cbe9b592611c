"""A program that goes on when the command has ended."""

import os
import subprocess
from collections.abc import Collection, Mapping, Sequence


class Detached(subprocess.Popen[bytes]):
    """A program in a session of its own, away from this terminal: Ctrl-C here is none there.

    Nobody waits for it, and what it says goes to `output`, a descriptor, or nowhere.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: int = subprocess.DEVNULL,
        *,
        directory: str | None = None,
        environment: Mapping[str, str] = os.environ,
        kept: Collection[int] = (),
    ) -> None:
        """Start it with the descriptors that are `kept`. Raises an `OSError` where there is no such program."""
        super().__init__(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=directory,
            env=environment,
            pass_fds=kept,
        )

    def __del__(self) -> None:
        """Without the warning that it still runs: that is what it is for."""

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; whether it came. `returncode` is then set."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
