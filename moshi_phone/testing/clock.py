"""Simulated time: an event loop whose clock jumps to the next timer when it is idle.

Minutes of a call take only its computing time, independent of the machine's speed.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _InstantSelector(selectors.DefaultSelector):
    """Advances the clock instead of waiting."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.now_s += timeout
        return ready


def run_simulated(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop whose clock is simulated.

    ``asyncio.sleep``, timeouts and ``loop.time()`` follow that clock; ``time.monotonic()``, threads and
    sockets to other processes do not.

    Args:
        main: such as ``run_test(…)``, called in a test that is no coroutine itself.

    Returns:
        The coroutine's result.
    """
    selector = _InstantSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now_s  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
