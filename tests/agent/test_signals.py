"""Signals are received in order and none is lost; they are real signals to this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from signal import SIGHUP, SIGTERM, SIGUSR1

import anyio
import pytest

from auth_agent.host.signals import Signals


@pytest.fixture(autouse=True)
def _dispositions() -> Generator[None]:
    before = {signum: signal.getsignal(signum) for signum in (SIGHUP, SIGTERM, SIGUSR1)}
    yield
    for signum, disposition in before.items():
        signal.signal(signum, disposition)


def send(*signums: signal.Signals) -> None:
    for signum in signums:
        os.kill(os.getpid(), signum)


def test_signals_are_received_in_order_even_if_late() -> None:
    async def receive() -> list[signal.Signals]:
        with Signals(SIGHUP, SIGTERM, SIGUSR1) as signals:
            send(SIGHUP, SIGUSR1, SIGTERM, SIGHUP)
            return [await signals.next() for _ in range(4)]

    assert anyio.run(receive) == [SIGHUP, SIGUSR1, SIGTERM, SIGHUP]


def test_a_signal_wakes_a_waiting_loop() -> None:
    async def receive() -> signal.Signals:
        with Signals(SIGUSR1) as signals:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, send, SIGUSR1)
                return await signals.next()
        raise AssertionError("the task group ended without a signal")

    assert anyio.run(receive) is SIGUSR1


def test_release_returns_pending_signals_and_restores_the_default() -> None:
    with Signals(SIGHUP, SIGTERM, SIGUSR1) as signals:
        send(SIGHUP, SIGTERM, SIGUSR1)
        assert signals.release(SIGTERM) == [SIGTERM]
        assert signal.getsignal(SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(SIGTERM) is signal.SIG_DFL


def test_many_signals_do_not_hide_another() -> None:
    with Signals(SIGHUP, SIGTERM) as signals:
        send(*[SIGHUP] * 5000, SIGTERM)
        assert signals.release(SIGTERM) == [SIGTERM]


def test_after_the_end_the_signals_are_ignored() -> None:
    with Signals(SIGHUP, SIGUSR1):
        pass
    send(SIGHUP, SIGUSR1)
    assert [signal.getsignal(signum) for signum in (SIGHUP, SIGUSR1)] == [signal.SIG_IGN] * 2


def test_after_an_error_the_signals_have_their_default() -> None:
    with pytest.raises(ValueError, match="a defect"), Signals(SIGHUP):
        raise ValueError("a defect")
    assert signal.getsignal(SIGHUP) is signal.SIG_DFL


def test_an_ignored_sigint_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals(signal.SIGINT, SIGTERM) as signals:
            send(signal.SIGINT, SIGTERM)
            assert signals.release(signal.SIGINT, SIGTERM) == [SIGTERM]
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_was_inherited_is_undone() -> None:
    script = """
import os, signal
from auth_agent.host.signals import reset_signals
blocked = {signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
for signum in (signal.SIGCHLD, signal.SIGALRM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_IGN)
reset_signals()
assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert signal.getsignal(signal.SIGCHLD) == signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup has it, until it is caught
pid = os.posix_spawn("/bin/false", ["false"], {})
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True)
