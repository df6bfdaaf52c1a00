"""How the process ends: asked once, it lets the running calls finish; asked twice, it goes at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

from telephony.calls import Calls

T = TypeVar("T")
Say = Callable[[str], None]

CLOSING = "the line is shutting down"
HANG_UP_SECS = 8.0  # what ending a call may take: a request to Twilio that nobody answers is given up in 5


class Stopped(Exception):
    """The process was asked to end before what it was doing was done."""


@dataclass
class StopSignals:
    """What SIGINT and SIGTERM have said so far.

    Attributes:
        asked: set by the first.
        insisted: set by the second.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    insisted: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> None:
        """Take one signal."""
        (self.insisted if self.asked.is_set() else self.asked).set()

    async def unless_asked(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that may take long, and break it off when the process is asked to end.

        Raises:
            Stopped: when it was broken off; the work has cleaned up by then.
        """
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait((task, asked), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
                raise Stopped
            return task.result()
        finally:
            task.cancel()
            asked.cancel()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Take SIGINT and SIGTERM, instead of whatever they did before, while the block runs."""
    stop = StopSignals()
    loop = asyncio.get_running_loop()

    def handle(_: int, __: FrameType | None) -> None:
        # Not loop.add_signal_handler, which Windows does not have.
        loop.call_soon_threadsafe(stop.take)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def drain(calls: Calls, stop: StopSignals, drain_secs: float, say: Say) -> None:
    """Take no more calls, let the running ones finish, and hang up what is left.

    Args:
        calls: those of this process.
        stop: ends the waiting when somebody insists.
        drain_secs: how long the running calls may go on.
        say: takes one line for a person to read.
    """
    calls.closing = CLOSING
    if count := len(calls.running):
        say(
            f"No new calls; {count} running may finish within {drain_secs:g} s. "
            "A second signal (or Ctrl-C) hangs up at once."
        )
        over = asyncio.ensure_future(calls.all_over())
        insisted = asyncio.ensure_future(stop.insisted.wait())
        await asyncio.wait((over, insisted), timeout=drain_secs, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (over, insisted):
            waiting.cancel()
    await hang_up_all(calls, say)


async def hang_up_all(calls: Calls, say: Say) -> None:
    """Take no more calls, and end those that run."""
    calls.closing = CLOSING
    if count := len(calls.running):
        say(f"Hanging up {count}.")
        calls.end_all(CLOSING)
    try:
        async with asyncio.timeout(HANG_UP_SECS):
            await calls.all_over()
    except TimeoutError:
        say(f"{len(calls.running)} could not be ended in {HANG_UP_SECS:g} s.")
