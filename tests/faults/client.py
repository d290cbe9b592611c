"""One client of the storm: it calls the agent's methods, and has the provider check the tokens."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from auth_agent_client import Agent, AgentError, Token
from tests.faults.checkpoint import Checkpoint, check
from tests.faults.tally import Failure, Tally

# The share of tokens that are checked again although the process has seen them.
_SAMPLE: Final = 0.1
_PAUSE: Final = (0.05, 0.5)
_RECONNECTS: Final = 0.03
# The agent's and the provider's `expires_at` have the same clock, but different floats.
_PRECISION: Final = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """An account, and where its tokens are checked; `lifetime` is that of its tokens, in seconds."""

    account: str
    lifetime: float
    checkpoint: Checkpoint


class Client:
    """Calls methods until it has to stop; `tally` has the results."""

    def __init__(
        self, agent: Agent, http: httpx.Client, places: list[Place], seen: dict[str, str], chance: random.Random
    ) -> None:
        """Call that agent.

        Args:
            agent: a client of the agent, for this object only.
            http: for requests to the providers.
            places: the accounts.
            seen: the newest token of each account in this process.
            chance: the random numbers.

        """
        self.tally = Tally()
        self._agent = agent
        self._http = http
        self._places = places
        self._seen = seen
        self._chance = chance
        self._held: dict[str, str] = {}
        # The percentage of each call.
        self._calls: Mapping[str, tuple[int, Callable[[Place], None]]] = {
            "token": (62, self._token),
            "token min_ttl": (10, self._token_for_long),
            "token force": (2, self._forced),
            "rejected": (5, self._rejected),
            "refresh": (1, self._refreshed),
            "has_valid": (10, self._has_valid),
            "status": (10, self._status),
        }

    def run(self, is_over: Callable[[float], bool]) -> None:
        """Call and pause until `is_over`, which gets the pause in seconds."""
        methods = list(self._calls)
        weights = [weight for weight, _ in self._calls.values()]
        with self._agent:
            while not is_over(self._chance.uniform(*_PAUSE)):
                if self._chance.random() < _RECONNECTS:
                    self._agent.close()
                self._call(self._chance.choices(methods, weights)[0], self._chance.choice(self._places))

    def _call(self, method: str, place: Place) -> None:
        self.tally.ask(method)
        began = time.time()
        try:
            self._calls[method][1](place)
        except AgentError as error:
            self._fail(error.code, method, place, error.message, began)
        except Exception as error:  # noqa: BLE001 -- any exception counts as a failure
            self._fail("exception", method, place, f"{type(error).__name__}: {error}", began)

    def _fail(self, code: str, method: str, place: Place, message: str, began: float) -> None:
        ended = time.time()
        self.tally.slowest = max(self.tally.slowest, ended - began)
        self.tally.failures.append(Failure(code, method, place.account, message, began, ended))

    # ---- calls

    def _token(self, place: Place) -> None:
        timeout = self._chance.choice((None, self._chance.uniform(0.2, 5.0)))
        self._get_token(place, lambda: self._agent.token(place.account, timeout=timeout))

    def _token_for_long(self, place: Place) -> None:
        min_ttl = self._chance.uniform(0.0, place.lifetime)
        self._get_token(place, lambda: self._agent.token(place.account, min_ttl=min_ttl))

    def _forced(self, place: Place) -> None:
        self._get_token(place, lambda: self._agent.token(place.account, force=True))

    def _rejected(self, place: Place) -> None:
        held = self._held.get(place.account, "unknown")
        self._get_token(place, lambda: self._agent.rejected(held, place.account))

    def _refreshed(self, place: Place) -> None:
        self._get_token(place, lambda: self._agent.refresh(place.account))

    def _has_valid(self, place: Place) -> None:
        self._timed(lambda: self._agent.has_valid(place.account))

    def _status(self, place: Place) -> None:
        self._timed(lambda: self._agent.status(place.account))

    def _timed(self, call: Callable[[], object]) -> None:
        began = time.time()
        call()
        self.tally.slowest = max(self.tally.slowest, time.time() - began)

    # ---- tokens

    def _get_token(self, place: Place, get_token: Callable[[], Token]) -> None:
        requested_at = time.time()
        token = get_token()
        received_at = time.time()
        self.tally.slowest = max(self.tally.slowest, received_at - requested_at)
        self.tally.handed_out += 1
        self._held[place.account] = token.access_token
        expires_at = token.expires_at or 0.0  # these providers give lifetimes
        if expires_at <= requested_at:
            self._report_broken(
                place, f"was over by its own date, {requested_at - expires_at:.3f} s before the request"
            )
        is_new = self._seen.get(place.account) != token.access_token
        self._seen[place.account] = token.access_token
        if is_new or self._chance.random() < _SAMPLE:
            self._check(place, token, expires_at, requested_at)

    def _check(self, place: Place, token: Token, expires_at: float, requested_at: float) -> None:
        """Check the token at the provider at once, and judge the result.

        All times are of the machine's clock. The agent sent the token between the request and the response, which may
        be far apart on a busy machine, or after a refresh. So a promise is broken if the token had expired, by the
        provider's time, when it was requested; if the agent's expiry is later than the provider's; and if the provider
        calls it invalid before its expiry. A token that is invalid after its expiry ran out on the way, and is counted.
        """
        checked = check(self._http, place.checkpoint, token.access_token)
        self.tally.checked += 1
        end = expires_at if checked.expires_at is None else checked.expires_at
        if end <= requested_at:
            self._report_broken(place, f"had expired at the provider {requested_at - end:.3f} s before the request")
        if expires_at > end + _PRECISION:
            self._report_broken(place, f"was promised {expires_at - end:.3f} s beyond its end at the provider")
        if not checked.alive:
            self.tally.ran_out += 1
            if checked.answered_at < end:
                self._report_broken(place, f"was dead at the provider {end - checked.answered_at:.3f} s before its end")

    def _report_broken(self, place: Place, problem: str) -> None:
        self.tally.broken.append(f"a token of {place.account} {problem}")
