"""How the process is asked to end: once, to let the running calls finish; twice, to go at once."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from asyncio import Future
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

REPEAT_SECS = 0.4
"""A signal that comes so soon after another one is no second request.

Where a terminal closes, or a service manager tells all processes of a group, it comes from there, from the
shell, and from ``uv run``, which passes signals on to what it runs (uv 0.13: SIGINT after 0.2 s).
"""

CANCEL_SECS = 5.0  # what work that is broken off may take to clean up

STOPPING = tuple(
    getattr(signal, name)
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
        "SIGBREAK",
    )  # the third when a terminal closes; the last on Windows
    if hasattr(signal, name)
)


class Stopped(Exception):
    """The process was asked to end before what it was doing was done."""


@dataclass
class StopSignals:
    """What the signals of ``STOPPING`` have said so far.

    Attributes:
        stop_requested: set by the first.
        force_requested: set by the second.
    """

    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    force_requested: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> None:
        """Take one signal."""
        (self.force_requested if self.stop_requested.is_set() else self.stop_requested).set()

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that may take long, and break it off when the process is asked to end.

        Raises:
            Stopped: when it was broken off; the work has cleaned up by then, or has not within five seconds.
        """
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self.stop_requested.wait())
        try:
            await asyncio.wait((task, asked), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=CANCEL_SECS)
                raise Stopped
            return task.result()
        finally:
            task.cancel()
            asked.cancel()

    async def wait_unless_forced(
        self, work: Future[Any], *, within_secs: float | None = None, forced_secs: float = 0.0
    ) -> bool:
        """Wait for something that should be done before the process ends; it goes on if it is not done.

        Args:
            work: what to wait for; what it raises is left in it.
            within_secs: how long to wait; None for as long as it takes.
            forced_secs: how much longer to wait once somebody insists on going.

        Returns:
            Whether it is done.
        """
        forced = asyncio.ensure_future(self.force_requested.wait())
        try:
            await asyncio.wait((work, forced), timeout=within_secs, return_when=asyncio.FIRST_COMPLETED)
            if forced.done() and not work.done() and forced_secs:
                await asyncio.wait((work,), timeout=forced_secs)
        finally:
            forced.cancel()
        return work.done()


@contextmanager
def stop_signals(on_request: Callable[[int], None] = lambda _: None) -> Iterator[StopSignals]:
    """Take the signals of ``STOPPING``, instead of whatever they did before, while the block runs.

    One that is ignored stays ignored: ``nohup`` has asked for that. Those that come within ``REPEAT_SECS`` of
    each other count as one, also where the block has ended by then: what they did before would cut the
    process's own end short.

    Args:
        on_request: called with 1 by the first request, with 2 by the second: at once, in the handler,
            also while the event loop hangs.
    """
    stop = StopSignals()
    requests = 0
    loop = asyncio.get_running_loop()
    came_s = -math.inf

    def is_repeated() -> bool:
        nonlocal came_s
        last_s, came_s = came_s, time.monotonic()
        return came_s - last_s < REPEAT_SECS

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal requests
        if not is_repeated():
            requests += 1
            on_request(requests)
            # Not loop.add_signal_handler, which Windows does not have.
            loop.call_soon_threadsafe(stop.take)

    def handle_late(number: int, _: FrameType | None) -> None:
        if not is_repeated():
            signal.signal(number, before[number])
            signal.raise_signal(number)

    before: dict[int, Any] = {
        number: signal.signal(number, handle)
        for number in STOPPING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if came_s == -math.inf else handle_late)
