"""A program that asks for a refresh, a login and a logout now and then, and counts what it is granted."""

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from auth_agent_client import Agent, AgentError
from tests.faults.hostility import GUARDED
from tests.integration.agent_process import AgentProcess
from tests.op.provider import OpenIDProvider

# An account that only this program uses.
VISITOR: Final = "visitor"
# Seconds between two rounds: as often as the agent's rate limits promise something to each program.
_EACH: Final = 20.0


class Asks:
    """Asks in a thread of its own, during a `with` block."""

    def __init__(self, agent: AgentProcess, provider: OpenIDProvider) -> None:
        self._client = Agent(str(agent.socket))
        self._provider = provider
        self._asked = Counter[str]()
        self._granted = Counter[str]()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        # What was refused, and how.
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while True:
            self._ask("refresh", lambda: self._client.refresh(GUARDED))
            self._ask("login", lambda: self._log_in(GUARDED))
            self._ask("login", lambda: self._log_in(VISITOR))
            self._ask("logout", lambda: self._client.logout(VISITOR))
            if self._is_over.wait(_EACH):
                return

    def _log_in(self, name: str) -> None:
        with self._client.login(name) as login:
            assert login.authorization_url is not None
            self._provider.enter(login.authorization_url)
            login.result(timeout=30)

    def _ask(self, what: str, call: Callable[[], object]) -> None:
        self._asked[what] += 1
        try:
            call()
        except AgentError as error:
            self.refused.append(f"{what}: {error}")
        else:
            self._granted[what] += 1

    def __str__(self) -> str:
        return ", ".join(f"{what} {self._granted[what]} of {count}" for what, count in self._asked.items())
