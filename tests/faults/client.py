"""One client in the crowd: it asks the agent this and that, and has the provider check the tokens that it gets."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from auth_agent_client import Agent, AgentError, Token
from tests.faults.checkpoint import Checkpoint, check
from tests.faults.tally import Failure, Tally

# Of the tokens that are not new to the process, every tenth is checked once more.
_SAMPLE: Final = 0.1
_PAUSE: Final = (0.05, 0.5)
_RECONNECTS: Final = 0.03
# The agent's `expires_at` and the provider's are of the same clock; floats on the way.
_PRECISION: Final = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """An account, and where its tokens are checked; `lifetime` is theirs, in seconds."""

    account: str
    lifetime: float
    checkpoint: Checkpoint


class Client:
    """Asks until it is told to stop; what it saw is in `tally`."""

    def __init__(
        self, agent: Agent, http: httpx.Client, places: list[Place], seen: dict[str, str], chance: random.Random
    ) -> None:
        """Ask that agent.

        Args:
            agent: the agent, by a client that nobody else uses.
            http: for requests to the providers.
            places: what there is to ask for.
            seen: the newest token of each account, as all clients of this process know it.
            chance: what it rolls its dice with.

        """
        self.tally = Tally()
        self._agent = agent
        self._http = http
        self._places = places
        self._seen = seen
        self._chance = chance
        self._held: dict[str, str] = {}
        # What is asked how often, of a hundred times.
        self._questions: Mapping[str, tuple[int, Callable[[Place], None]]] = {
            "token": (62, self._token),
            "token min_ttl": (10, self._token_for_long),
            "token force": (2, self._forced),
            "rejected": (5, self._rejected),
            "refresh": (1, self._refreshed),
            "has_valid": (10, self._has_valid),
            "status": (10, self._status),
        }

    def run(self, is_over: Callable[[float], bool]) -> None:
        """Ask, and pause, until `is_over`, which is told how long to wait for it."""
        methods = list(self._questions)
        weights = [weight for weight, _ in self._questions.values()]
        with self._agent:
            while not is_over(self._chance.uniform(*_PAUSE)):
                if self._chance.random() < _RECONNECTS:
                    self._agent.close()
                self._ask(self._chance.choices(methods, weights)[0], self._chance.choice(self._places))

    def _ask(self, method: str, place: Place) -> None:
        self.tally.ask(method)
        began = time.time()
        try:
            self._questions[method][1](place)
        except AgentError as error:
            self._fail(error.code, method, place, error.message, began)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the client saw, and counts as a failure
            self._fail("exception", method, place, f"{type(error).__name__}: {error}", began)

    def _fail(self, code: str, method: str, place: Place, message: str, began: float) -> None:
        ended = time.time()
        self.tally.slowest = max(self.tally.slowest, ended - began)
        self.tally.failures.append(Failure(code, method, place.account, message, began, ended))

    # ---- what is asked

    def _token(self, place: Place) -> None:
        timeout = self._chance.choice((None, self._chance.uniform(0.2, 5.0)))
        self._take(place, lambda: self._agent.token(place.account, timeout=timeout))

    def _token_for_long(self, place: Place) -> None:
        min_ttl = self._chance.uniform(0.0, place.lifetime)
        self._take(place, lambda: self._agent.token(place.account, min_ttl=min_ttl))

    def _forced(self, place: Place) -> None:
        self._take(place, lambda: self._agent.token(place.account, force=True))

    def _rejected(self, place: Place) -> None:
        held = self._held.get(place.account, "unknown")
        self._take(place, lambda: self._agent.rejected(held, place.account))

    def _refreshed(self, place: Place) -> None:
        self._take(place, lambda: self._agent.refresh(place.account))

    def _has_valid(self, place: Place) -> None:
        self._timed(lambda: self._agent.has_valid(place.account))

    def _status(self, place: Place) -> None:
        self._timed(lambda: self._agent.status(place.account))

    def _timed(self, ask: Callable[[], object]) -> None:
        began = time.time()
        ask()
        self.tally.slowest = max(self.tally.slowest, time.time() - began)

    # ---- what is got

    def _take(self, place: Place, ask: Callable[[], Token]) -> None:
        asked = time.time()
        token = ask()
        got = time.time()
        self.tally.slowest = max(self.tally.slowest, got - asked)
        self.tally.handed_out += 1
        self._held[place.account] = token.access_token
        if token.expires_at <= asked:
            self._break(place, f"was over by its own date, {asked - token.expires_at:.3f} s before the question")
        is_new = self._seen.get(place.account) != token.access_token
        self._seen[place.account] = token.access_token
        if is_new or self._chance.random() < _SAMPLE:
            self._check(place, token, asked)

    def _check(self, place: Place, token: Token, asked: float) -> None:
        """Have the provider say at once whether it is good, and judge what it says.

        All times are of one clock, the machine's. The agent handed the token out between the question and the answer,
        which on a busy machine, or after a wait for a refresh, may be long. So it is a broken promise where the token
        was expired, by the provider's own count, when it was asked for; where the agent promises it for longer than
        the provider; and where the provider calls it dead before its end. One that is dead after its end ran out on
        the way, and is counted.
        """
        checked = check(self._http, place.checkpoint, token.access_token)
        self.tally.checked += 1
        end = token.expires_at if checked.expires_at is None else checked.expires_at
        if end <= asked:
            self._break(place, f"had expired at the provider {asked - end:.3f} s before the question")
        if token.expires_at > end + _PRECISION:
            self._break(place, f"was promised {token.expires_at - end:.3f} s beyond its end at the provider")
        if not checked.alive:
            self.tally.ran_out += 1
            if checked.answered_at < end:
                self._break(place, f"was dead at the provider {end - checked.answered_at:.3f} s before its end")

    def _break(self, place: Place, what: str) -> None:
        self.tally.broken.append(f"a token of {place.account} {what}")
