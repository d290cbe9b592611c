"""A process that keeps running after the command has ended."""

import os
import subprocess
from collections.abc import Collection, Mapping, Sequence


class Detached(subprocess.Popen[bytes]):
    """A process in its own session, so that Ctrl-C in this terminal doesn't reach it.

    Its output goes to the descriptor `output`, by default to /dev/null.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: int = subprocess.DEVNULL,
        *,
        directory: str | None = None,
        environment: Mapping[str, str] = os.environ,
        pass_fds: Collection[int] = (),
    ) -> None:
        """Start the process; it inherits the descriptors `pass_fds`. Raises an `OSError` if it can't be started."""
        super().__init__(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=directory,
            env=environment,
            pass_fds=pass_fds,
        )

    def __del__(self) -> None:
        """Suppress the warning of `Popen` that the process is still running: it is meant to be."""

    def ends_within(self, seconds: float) -> bool:
        """Return whether the process ended within that time; if so, `returncode` is set."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
