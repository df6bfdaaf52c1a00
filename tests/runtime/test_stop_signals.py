"""The signals that end the process, and limits on the work before the end."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from moshi_phone.runtime.stop_signals import REPEAT_SECS, STOPPING, StopSignals, stop_signals
from tests.support.simulated import run_simulated


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_each_signal_requests_a_stop_and_repeated_forces_it(number: signal.Signals) -> None:
    assert number in STOPPING
    with stop_signals() as stop:
        os.kill(os.getpid(), number)
        await stop.stop_requested.wait()
        assert not stop.force_requested.is_set()
        await asyncio.sleep(REPEAT_SECS)
        os.kill(os.getpid(), number)
        await stop.force_requested.wait()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
async def test_a_forwarded_signal_counts_once(second: signal.Signals) -> None:
    """``uv run`` forwards a signal that its program also got as one of its group; running calls were cut."""
    with stop_signals() as stop:
        for number in (signal.SIGTERM, second):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
        await stop.stop_requested.wait()
        await asyncio.sleep(0.01)
        assert not stop.force_requested.is_set()


async def test_a_late_forwarded_signal_does_not_interrupt_the_shutdown() -> None:
    """After the handlers were removed, it caused ``Aborted!``, a traceback, and code 1 or 130."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.stop_requested.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(REPEAT_SECS)
    with pytest.raises(KeyboardInterrupt):  # its default effect
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


async def test_ignored_signals_stay_ignored() -> None:
    """``nohup`` ignores SIGHUP before it starts a program."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
            assert not stop.stop_requested.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def waiting(work_secs: float, *, force_after_secs: float | None = None, **how: Any) -> tuple[bool, float]:
    """Return whether the work was done, and after how many simulated seconds the waiting ended."""
    found: list[tuple[bool, float]] = []

    async def wait() -> None:
        stop, loop = StopSignals(), asyncio.get_running_loop()
        stop.receive()
        if force_after_secs is not None:
            loop.call_later(force_after_secs, stop.receive)
        work = asyncio.ensure_future(asyncio.sleep(work_secs))
        done = await stop.wait_unless_forced(work, **how)
        found.append((done, loop.time()))
        assert not work.cancelled()
        work.cancel()

    run_simulated(wait())
    return found[0]


def test_waiting_ends_with_the_work_the_deadline_or_a_second_signal() -> None:
    assert waiting(5) == (True, 5)
    assert waiting(5, within_secs=3) == (False, 3)
    assert waiting(5, within_secs=30) == (True, 5)
    assert waiting(5, force_after_secs=2) == (False, 2)
    assert waiting(5, force_after_secs=2, forced_secs=1) == (False, 3)
    assert waiting(5, force_after_secs=4.5, forced_secs=1) == (True, 5)
    assert waiting(0, force_after_secs=0) == (True, 0)
