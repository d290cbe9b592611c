"""Signals: in order, and none lost. They are real ones, to this process."""

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


def test_they_come_in_order_however_late_they_are_asked_for() -> None:
    async def receive() -> list[signal.Signals]:
        with Signals(SIGHUP, SIGTERM, SIGUSR1) as signals:
            send(SIGHUP, SIGUSR1, SIGTERM, SIGHUP)
            return [await signals.next() for _ in range(4)]

    assert anyio.run(receive) == [SIGHUP, SIGUSR1, SIGTERM, SIGHUP]


def test_one_that_comes_while_it_is_waited_for_wakes_the_loop() -> None:
    async def receive() -> signal.Signals:
        with Signals(SIGUSR1) as signals:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, send, SIGUSR1)
                return await signals.next()
        raise AssertionError("the group swallows nothing")

    assert anyio.run(receive) is SIGUSR1


def test_what_came_before_the_release_is_told_and_what_comes_after_it_ends_the_process() -> None:
    with Signals(SIGHUP, SIGTERM, SIGUSR1) as signals:
        send(SIGHUP, SIGTERM, SIGUSR1)
        assert signals.release(SIGTERM) == [SIGTERM]
        assert signal.getsignal(SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(SIGTERM) is signal.SIG_DFL


def test_a_storm_drowns_nothing() -> None:
    with Signals(SIGHUP, SIGTERM) as signals:
        send(*[SIGHUP] * 5000, SIGTERM)
        assert signals.release(SIGTERM) == [SIGTERM]


def test_after_the_end_what_is_still_caught_is_ignored() -> None:
    with Signals(SIGHUP, SIGUSR1):
        pass
    send(SIGHUP, SIGUSR1)
    assert [signal.getsignal(signum) for signum in (SIGHUP, SIGUSR1)] == [signal.SIG_IGN] * 2


def test_after_an_error_they_end_the_process_as_ever() -> None:
    with pytest.raises(ValueError, match="a defect"), Signals(SIGHUP):
        raise ValueError("a defect")
    assert signal.getsignal(SIGHUP) is signal.SIG_DFL
