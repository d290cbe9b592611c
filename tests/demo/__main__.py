"""`make demo`: what the agent does, in half a minute."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from auth_agent.cli.status import overview
from auth_agent.cli.terminal import terminal_of
from auth_agent_client import AgentError, __version__
from tests.bench.processes import ProcessError
from tests.demo.crew import NAMES, Crew, at_work
from tests.demo.ending import Ended, Ending
from tests.demo.login import LoginFailed, has_browser, log_in
from tests.demo.screen import Screen, Style, View
from tests.demo.stage import ACCOUNT, LIFETIME, Stage, agent_started, provider_started
from tests.demo.tally import Outcome
from tests.op.provider import OpenIDProvider, ProviderError

_SECONDS: Final = 30.0
_TICK: Final = 0.25  # s
# Until four programs have made their first request, on a busy machine.
_START_TIMEOUT: Final = 30.0  # s
_INTERRUPTED: Final = 130


def main() -> int:
    """Run the demo; return the exit code, 0 only if programs made requests and none failed."""
    try:
        seconds = _seconds()
    except ValueError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 2
    ending, screen = Ending(), Screen()
    try:
        return _play(seconds, screen, ending)
    except Ended:
        screen.say("Ended before the programs had begun.")
        return _INTERRUPTED
    except BrokenPipeError:  # the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AgentError, LoginFailed, ProcessError, ProviderError, httpx.HTTPError, OSError) as error:
        sys.stderr.write(f"demo: FAILED: {error}\n")
        return 1


def _seconds() -> float:
    text = os.environ.get("DEMO_SECONDS") or f"{_SECONDS:g}"
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < math.inf:
            return seconds
    raise ValueError(f"DEMO_SECONDS must be a number of seconds above 0, not {text!r}")


def _play(seconds: float, screen: Screen, ending: Ending) -> int:
    """Run all steps; end all started processes in any case."""
    with contextlib.ExitStack() as stack:
        screen.step(1, f"A provider: OpenID-certified, on this machine. Its tokens live for {LIFETIME} s.")
        provider = stack.enter_context(provider_started())
        screen.detail(provider.issuer)
        ending.check()

        screen.step(2, "An agent: it alone will hold the refresh token, and renew ahead of time.")
        screen.detail("$ auth-agent run --store memory")
        stage = stack.enter_context(agent_started(provider))
        ending.check()

        who = "you, with any name and password," if has_browser() else "a script plays Alice,"
        screen.step(3, f"A login, once: {who} on the provider's own pages.")
        log_in(stage, screen, ending)
        ending.check()

        screen.step(4, f"{len(NAMES)} programs: each asks the agent for a token, and uses it, 5 times a second.")
        screen.detail(f"$ python -m tests.demo.program {ACCOUNT} {stage.userinfo}")
        with at_work(ACCOUNT, stage.userinfo, stage.environment, stage.directory) as crew:
            elapsed = _watch(stage, crew, seconds, screen, ending)
            ended = crew.ended()
        return _sum_up(_outcome(provider, crew, elapsed, ended), screen)


def _watch(stage: Stage, crew: Crew, seconds: float, screen: Screen, ending: Ending) -> float:
    """Show the running programs until the time is over or the demo is interrupted; return the duration in seconds."""
    patience = time.monotonic() + _START_TIMEOUT
    while not crew.is_at_work and not ending.is_asked and time.monotonic() < patience:
        time.sleep(_TICK)
    began = time.monotonic()
    before: int | None = None
    with stage.client() as agent:
        while (elapsed := time.monotonic() - began) < seconds and not ending.is_asked:
            result = agent.status()
            refreshes = _refreshes(result)
            before = refreshes if before is None else before
            status = overview(result, time.time(), __version__, terminal_of(sys.stdout), str(Path.home()))
            screen.show(View(elapsed, seconds, status, refreshes - before, crew.tallies))
            time.sleep(min(_TICK, seconds - elapsed))
    return time.monotonic() - began


def _refreshes(result: Mapping[str, Any]) -> int:
    """Return the account's number of refreshes, by the agent's status."""
    return int(result["accounts"][0]["refreshes"])


def _outcome(provider: OpenIDProvider, crew: Crew, elapsed: float, ended: list[str]) -> Outcome:
    """Return the results of the programs and the provider."""
    presented = provider.ledger().values()
    return Outcome(
        elapsed,
        crew.tallies,
        refreshes=sum(row.succeeded for row in presented),
        rotations=sum(row.succeeded > 0 for row in presented),
        reused=sum(row.presented > 1 for row in presented),
        ended=ended,
    )


def _sum_up(outcome: Outcome, screen: Screen) -> int:
    """Print the summary; return the exit code."""
    screen.say("")
    for line in outcome.lines():
        screen.say(line)
    problems = outcome.problems()
    for problem in problems:
        screen.say(f"FAILED: {problem}", Style.BAD)
    if not problems:
        screen.say("Good: nobody waited for a refresh, and nobody was logged out.", Style.GOOD)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
