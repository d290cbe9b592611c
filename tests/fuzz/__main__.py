"""`python -m tests.fuzz`: hostile clients beside a well-behaved one, a million mutated messages, and the results."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, Final

import coverage

from auth_agent_client import Agent, Denied, Unavailable
from tests.faults.bystander import Bystander, descriptors, resident
from tests.faults.greed import GROWTH as GREED, MANAGEMENT, PREY, greedy
from tests.faults.hostility import HOSTILITIES, VICTIM, hostile
from tests.fuzz.asks import VISITOR, Asks
from tests.fuzz.mutation import GUARDED, VICTIMS
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.op.provider import OpenIDProvider

ROOT: Final = Path(__file__).parents[2]
# The files whose coverage is measured.
LINES: Final = (
    *sorted((ROOT / "agent/auth_agent/ipc").glob("[a-z]*.py")),
    ROOT / "client/auth_agent_client/wire.py",
    ROOT / "client/auth_agent_client/messages.py",
)
_MEBIBYTE: Final = 1 << 20
# Bytes by which the agent may grow; far below what connections may hold (`MAX_PENDING`).
GROWTH: Final = 24 * _MEBIBYTE
# Bytes by which it may grow from when it is warm to the end.
LEAK: Final = 8 * _MEBIBYTE
P99: Final = 0.05  # s
# Seconds; beside a greedy program: some iterations of the agent's loop, each of a millisecond. No multiple of the quiet
# one, which a faster agent would miss: on an idle machine of two cores that is 0.3 ms, and this 5 ms.
GREEDY_P99: Final = 0.01
_QUIET: Final = 15.0  # s
# Under coverage everything is many times slower: at most that many messages.
_COVERED: Final = 50_000
_EACH: Final = 5.0  # s, for each hostile client
_RELOGIN: Final = 2.0  # s, between two checks whether a victim is logged out


def main() -> int:
    """Fuzz, and print the results; return the exit code, 1 if the agent misbehaved."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1", help="the same seed and workers send the same messages")
    parser.add_argument("--workers", type=int, default=2, help="processes that send messages concurrently")
    parser.add_argument("--busy", action="store_true", help="the machine is busy: don't judge the speed")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the greedy program runs")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    _print(f"seed {arguments.seed}, {arguments.workers} workers, {os.cpu_count()} CPUs, load {load:.2f}\n")
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        fuzz = Fuzz(provider, arguments.seed, arguments.workers)
        fuzz.greedy_program(arguments.seconds, busy=arguments.busy)
        fuzz.hostile_clients(busy=arguments.busy)
        fuzz.plain(arguments.messages, busy=arguments.busy)
        fuzz.covered(min(arguments.messages, _COVERED))
    for problem in fuzz.problems:
        _print(f"FAILED: {problem}")
    return 1 if fuzz.problems else 0


def _is_past(moment: float) -> bool:
    return time.monotonic() > moment


class Fuzz:
    """One run, and its problems."""

    def __init__(self, provider: OpenIDProvider, seed: str, workers: int) -> None:
        self.problems: list[str] = []
        self._provider = provider
        self._seed = seed
        self._workers = workers

    def greedy_program(self, seconds: float, *, busy: bool) -> None:
        """Run a program that takes what all need in every way at once, and another one beside it."""
        managed = {"audience": self._provider.management_audience, "scope": MANAGEMENT}
        accounts = {GUARDED: account(self._provider, redirect_ports=[0], **managed)}
        names = (PREY, f"{PREY}-0", f"{PREY}-1", VISITOR)
        accounts |= {name: account(self._provider, redirect_ports=[0]) for name in names}
        with AgentProcess(accounts, environment={"AUTH_AGENT_LOG": "info"}, executed=True) as agent:
            with agent.client() as client:
                log_in(client, self._provider, GUARDED, **managed)
            pid = agent.process.pid
            with Bystander(agent.socket, pid, GUARDED) as quiet:
                quiet.call_until(partial(_is_past, time.monotonic() + _QUIET))
            asks = Asks(agent, self._provider)
            worst = greedy("worst", agent.socket, GUARDED)
            with Bystander(agent.socket, pid, GUARDED) as bystander, worst, asks:
                bystander.call_until(partial(_is_past, time.monotonic() + seconds))
            late = bystander.connected.p99
            _print(f"{'quiet':30} {quiet}")
            _print(f"{'beside a greedy program':30} {bystander}")
            _print(f"{'':30} p99 is {late / quiet.connected.p99:.1f} times the quiet one; granted: {asks}\n")
            self._require(not asks.refused, f"beside a greedy program: {asks}; {asks.refused[:3]}")
            self._require(busy or late < GREEDY_P99, f"beside a greedy program, the p99 is {1000 * late:.1f} ms")
            self._require(
                bystander.grown < GREED, f"beside a greedy program, the agent grew by {_mib(bystander.grown)}"
            )
            self._check_log(agent)

    def hostile_clients(self, *, busy: bool) -> None:
        """Run each hostile client for some seconds, against one agent."""
        with self._agent() as agent:
            with agent.client() as client:
                for name in (GUARDED, VICTIM):
                    log_in(client, self._provider, name)
            for name, hostility in HOSTILITIES.items():
                with Bystander(agent.socket, agent.process.pid, GUARDED) as bystander:
                    with hostile(name, agent.socket):
                        end = time.monotonic() + _EACH
                        bystander.call_until(partial(_is_past, end))
                    _print(f"{name:30} {bystander}")
                self._require(bystander.grown < hostility.growth, f"{name}: the agent grew by {_mib(bystander.grown)}")
                late = bystander.connected.p99
                self._require(busy or late < P99, f"{name}: the well-behaved client's p99 is {1000 * late:.0f} ms")
            self._check_log(agent)
            _print("")

    def plain(self, messages: int, *, busy: bool) -> None:
        """Send all messages to an agent as users run it."""
        with self._agent() as agent:
            pid = agent.process.pid
            before = descriptors(pid)
            attack, start = self._attack(agent, messages), time.monotonic()
            bystander = Bystander(agent.socket, pid, GUARDED)
            tallies = attack(bystander)
            seconds = time.monotonic() - start
            with contextlib.suppress(AssertionError):
                until(lambda: before is None or (descriptors(pid) or 0) <= before, timeout=10)
            after = descriptors(pid)
            _report(tallies, seconds)
            warm, end = bystander.memory[len(bystander.memory) // 5], resident(pid)
            _print(f"beside it    {bystander}")
            _print(
                f"memory       {_mib(bystander.memory[0])} before, {_mib(warm)} warm, {_mib(max(bystander.memory))} at "
                f"most, {_mib(end)} after"
            )
            _print(f"descriptors  {before} before, {after} after\n")
            self._require(bystander.grown < GROWTH, f"the agent grew by {_mib(bystander.grown)}")
            self._require(end - warm < LEAK, f"the agent grew by {_mib(end - warm)} after it was warm")
            self._require(before is None or (after or 0) <= before, f"{before} descriptors became {after}")
            self._require(
                busy or bystander.connected.p99 < P99, f"the well-behaved client's p99 is {bystander.connected.p99} s"
            )
            self._check_log(agent)

    def covered(self, messages: int) -> None:
        """Send some messages to an agent under coverage."""
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory) / "coverage"
            files = ",".join(map(str, LINES))
            coverage_run = ("-m", "coverage", "run", "--rcfile=/dev/null", f"--data-file={data}", f"--include={files}")
            with self._agent(command=(sys.executable, *coverage_run, "-m", "auth_agent")) as agent:
                tallies = self._attack(agent, messages)(Bystander(agent.socket, agent.process.pid))
                self._require(agent.terminate() == 0, "the agent did not end as it should")
                self._check_log(agent)
            count = sum(tally["messages"] for tally in tallies)
            _print(f"coverage, of the first {count:,} messages:")
            _print_coverage(data)

    @contextlib.contextmanager
    def _agent(self, **options: Any) -> Generator[AgentProcess, None, None]:
        accounts = {name: account(self._provider) for name in (GUARDED, *VICTIMS)}
        accounts[VICTIMS[0]]["default"] = True  # so it may be logged out without being named
        for name in VICTIMS:
            accounts[name]["redirect_ports"] = [0]
        with AgentProcess(accounts, environment={"AUTH_AGENT_LOG": "info"}, **options) as agent:
            yield agent

    def _attack(self, agent: AgentProcess, messages: int) -> "Attack":
        return Attack(agent, self._provider, self._seed, self._workers, messages, self.problems)

    def _require(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def _check_log(self, agent: AgentProcess) -> None:
        self.problems.extend(agent.logged("defect|Traceback|Error:")[:5])


class Attack:
    """That many messages, by several concurrent workers."""

    def __init__(
        self,
        agent: AgentProcess,
        provider: OpenIDProvider,
        seed: str,
        workers: int,
        messages: int,
        problems: list[str],
    ) -> None:
        self._agent = agent
        self._provider = provider
        self._seed = seed
        self._workers = workers
        self._messages = messages
        self._problems = problems

    def __call__(self, bystander: Bystander) -> list[dict[str, Any]]:
        """Attack beside that bystander; return the tally of each worker."""
        tallies: list[dict[str, Any]] = []
        with self._agent.client() as client, contextlib.ExitStack() as stack:
            known = self._prepare(client)
            running = [self._begin(stack, number, known) for number in range(self._workers)]
            checked_at = time.monotonic()

            def is_over() -> bool:
                nonlocal checked_at
                if time.monotonic() - checked_at > _RELOGIN:
                    self._log_victims_in(client)
                    checked_at = time.monotonic()
                return all(worker.poll() is not None for worker in running)

            with bystander:
                bystander.call_until(is_over)
            for worker in running:
                output, errors = worker.communicate()
                tallies.append(json.loads(output))
                if worker.returncode != 0:
                    self._problems.append(errors)
        return tallies

    def _prepare(self, client: Agent) -> dict[str, object]:
        """Log in; return what the fuzzer knows, such as a replaced refresh token and a login under way."""
        tokens = self._provider.login()
        assert tokens.refresh_token is not None
        client.import_refresh_token(tokens.refresh_token, GUARDED)
        self._log_victims_in(client)
        login = client.call("login", {"account": VICTIMS[1], "flow": "browser"})
        return {
            "access_token": client.token(GUARDED).access_token,
            "refresh_token": tokens.refresh_token,
            "login_id": login["login_id"],
            "url": str(login["authorization_url"]),
        }

    def _log_victims_in(self, client: Agent) -> None:
        """Log in to the victims that are logged out, if the rate limit allows it."""
        for name in VICTIMS:
            if record(client, name)["state"] == "logged_out":
                with contextlib.suppress(Unavailable, Denied):  # a mutated login, or a logout, came first
                    log_in(client, self._provider, name)

    def _begin(self, stack: contextlib.ExitStack, number: int, known: dict[str, object]) -> "subprocess.Popen[str]":
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(worker.wait)
        stack.callback(worker.kill)
        share = self._messages // self._workers + (number < self._messages % self._workers)
        order = {"path": str(self._agent.socket), "seed": f"{self._seed}/{number}", "messages": share, "known": known}
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(order))
        worker.stdin.close()
        worker.stdin = None
        return worker


def _report(tallies: list[dict[str, Any]], seconds: float) -> None:
    total: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    replies: Counter[str] = Counter()
    for tally in tallies:
        total.update({name: tally[name] for name in ("messages", "connections", "bytes", "unanswered")})
        kinds.update(tally["kinds"])
        replies.update(tally["replies"])
    _print(
        f"messages     {total['messages']:,} on {total['connections']:,} connections, {total['bytes'] >> 20:,} MiB, in "
        f"{seconds:.0f} s: {total['messages'] / seconds:,.0f} a second"
    )
    _print(f"said         {_counts(kinds)}")
    _print(
        f"came back    {_counts(replies)}; {total['unanswered']:,} unanswered, at connections that what followed ended"
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())


def _print_coverage(data: Path) -> None:
    measured = coverage.Coverage(data_file=data, config_file=False)
    measured.load()
    reached = total = 0
    for path in LINES:
        _, lines, _, missing, missing_lines = measured.analysis2(str(path))
        reached, total = reached + len(lines) - len(missing), total + len(lines)
        share = 100 * (1 - len(missing) / max(1, len(lines)))
        _print(f"  {path.relative_to(ROOT)!s:40} {share:4.0f} % of {len(lines):3}   not: {missing_lines or '-'}")
    _print(f"  {'together':40} {100 * reached / total:4.0f} % of {total:3}")


def _mib(size: int) -> str:
    return f"{size / _MEBIBYTE:.1f} MiB"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
