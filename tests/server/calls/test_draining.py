"""server/calls/draining.py: one signal, two signals, and the time limits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from moshi_phone.runtime.stop_signals import REPEAT_SECS, Stopped, StopSignals, stop_signals
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.calls import Calls
from moshi_phone.server.calls.draining import CLOSING, HANG_UP_SECS, drain
from moshi_phone.telephony.media_stream import Start
from tests.support.simulated import run_simulated


class Office:
    """Some calls, and what was logged about them."""

    def __init__(self, count: int = 2) -> None:
        self.calls = Calls()
        self.stop = StopSignals()
        self.said: list[str] = []
        self.can_go_on: Callable[[Call], bool] = lambda _: False
        self.running = [self.begin() for _ in range(count)]

    def begin(self) -> Call:
        call = self.calls.begin(Start("MZ1", "CA1", "AC1", {}, {}))
        self._task = asyncio.ensure_future(self._run(call))
        return call

    async def _run(self, call: Call) -> None:
        await call.wait_for_end()
        self.calls.finish(call)

    def drain(self, secs: float) -> asyncio.Task[None]:
        return asyncio.ensure_future(drain(self.calls, self.stop, secs, self.said.append, self.can_go_on))


def simulate(test: Coroutine[Any, Any, None]) -> None:
    run_simulated(test)


def test_without_calls_it_ends_at_once() -> None:
    async def test() -> None:
        office = Office(0)
        await office.drain(300)
        assert (office.said, office.calls.closing) == ([], CLOSING)
        assert asyncio.get_running_loop().time() == 0

    simulate(test())


def test_running_calls_may_finish() -> None:
    async def test() -> None:
        office = Office()
        draining = office.drain(300)
        await asyncio.sleep(100)
        assert office.calls.closing == CLOSING
        office.running[0].request_end("the caller hung up")
        await asyncio.sleep(100)
        assert not draining.done()
        office.running[1].request_end("the caller hung up")
        await draining
        assert asyncio.get_running_loop().time() == 200
        assert await office.running[1].wait_for_end() == ("the caller hung up", 1000)
        (said,) = office.said
        assert "2 running may finish within 300 s" in said

    simulate(test())


def test_calls_are_hung_up_after_the_drain_time() -> None:
    async def test() -> None:
        office = Office()
        await office.drain(300)
        assert asyncio.get_running_loop().time() == 300
        assert await office.running[0].wait_for_end() == (CLOSING, 1000)
        assert office.said[1:] == ["Hanging up 2."]

    simulate(test())


def test_calls_that_can_continue_elsewhere_are_handed_over() -> None:
    async def test() -> None:
        office = Office(3)
        stays, *leave = office.running
        office.can_go_on = lambda call: call is not stays
        await office.drain(300)
        assert await stays.wait_for_end() == (CLOSING, 1000)
        for call in leave:
            assert await call.wait_for_end() == (CLOSING, 1012)
        assert [call.broke_off for call in office.running] == [False, True, True]
        assert office.said[1:] == ["Handing over 2.", "Hanging up 1."]

    simulate(test())


def test_a_second_signal_hangs_up_at_once() -> None:
    async def test() -> None:
        office = Office()
        office.can_go_on = lambda _: True
        office.stop.receive()
        draining = office.drain(300)
        await asyncio.sleep(7)
        office.stop.receive()
        await draining
        assert asyncio.get_running_loop().time() == 7
        assert office.said[1:] == ["Hanging up 2."]

    simulate(test())


def test_a_call_that_cannot_be_ended_is_not_waited_for() -> None:
    async def test() -> None:
        office = Office(0)
        office.calls.begin(Start("MZ1", "CA1", "AC1", {}, {}))  # it is not running, so nothing ends it
        await office.drain(0)
        assert asyncio.get_running_loop().time() == HANG_UP_SECS
        assert office.said[-1] == "1 could not be ended in 3 s."

    simulate(test())


async def test_two_different_signals_force_the_end() -> None:
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.stop_requested.wait()
        assert not stop.force_requested.is_set()
        await asyncio.sleep(REPEAT_SECS)
        os.kill(os.getpid(), signal.SIGINT)
        await stop.force_requested.wait()


async def test_without_a_signal_work_is_completed() -> None:
    async def work() -> str:
        return "done"

    assert await StopSignals().unless_stopped(work()) == "done"


async def test_a_signal_cancels_work_which_cleans_up() -> None:
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    stop = StopSignals()
    asyncio.get_running_loop().call_soon(stop.receive)
    with pytest.raises(Stopped):
        await stop.unless_stopped(work())
    assert cleaned


async def test_exceptions_of_the_work_are_raised() -> None:
    async def work() -> None:
        raise ValueError("expected")

    with pytest.raises(ValueError, match="expected"):
        await StopSignals().unless_stopped(work())
