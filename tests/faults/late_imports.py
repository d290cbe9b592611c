"""Notes each import of an agent, in the file that LATE_IMPORTS names: a package may go away while the agent runs."""

import os
import sys
from collections.abc import Callable
from typing import Any

from auth_agent.config import Account
from auth_agent.oauth.provider import Provider


def watched(providers: Callable[[Account], Provider]) -> Callable[[Account], Provider]:
    """Return the providers as they are; note imports from now on."""
    descriptor = os.open(os.environ["LATE_IMPORTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import":
            os.write(descriptor, f"{arguments[0]}\n".encode())

    sys.addaudithook(note)
    return providers
