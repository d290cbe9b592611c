"""Signals are received in order and none is lost; they are real signals to this process."""

import os
import signal
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
