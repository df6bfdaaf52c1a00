"""Stop signals: the first lets running calls finish, the second ends the process at once."""

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
"""A signal that follows another one this soon is not a second request.

When a terminal closes, or a service manager signals a whole process group, the signal also comes from the
shell, and from ``uv run``, which forwards signals to its child (uv 0.13: SIGINT after 0.2 s).
"""

CANCEL_SECS = 5.0  # for cancelled work to clean up

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
    """The process was requested to stop before the work was done."""


@dataclass
class StopSignals:
    """The requests received by the signals of ``STOPPING``.

    Attributes:
        stop_requested: set by the first.
        force_requested: set by the second.
    """

    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    force_requested: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self) -> None:
        """Record one signal."""
        if self.stop_requested.is_set():
            self.force_requested.set()
        else:
            self.stop_requested.set()

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Run long work, and cancel it if a stop is requested.

        Raises:
            Stopped: when it was cancelled; the work has cleaned up by then, or has had five seconds to.
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
        """Wait for work before the process ends; it is not cancelled.

        Args:
            work: the awaited work; its exception is not raised here.
            within_secs: time limit; None for no limit.
            forced_secs: time limit after the second request.

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
    """Handle the signals of ``STOPPING`` while the block runs.

    An ignored signal stays ignored, as under ``nohup``. Signals within ``REPEAT_SECS`` of each other count as
    one, also after the block: a repeat with its previous handler would cut the process's own end short.

    Args:
        on_request: called with 1 by the first request, with 2 by the second, in the handler itself: at once,
            even while the event loop hangs.
    """
    stop = StopSignals()
    requests = 0
    loop = asyncio.get_running_loop()
    came_s = -math.inf  # time of the last signal, to detect repeats

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
            loop.call_soon_threadsafe(stop.receive)

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
