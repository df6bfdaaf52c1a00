"""Runs the program on uvloop, or on asyncio's own loop where there is no uvloop (Windows)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from moshi_phone.runtime.last_resort import last_resort

T = TypeVar("T")

CLEANUP_SECS = 3.0  # for remaining tasks and threads at the end


def run(main: Coroutine[Any, Any, T], *, exit_code: Callable[[T], int] = lambda _: 0) -> T:
    """Run a coroutine to its end, on the fastest loop of this system.

    Remaining tasks and threads have some seconds to end. Then the process ends without them.

    Args:
        main: the coroutine.
        exit_code: returns the exit code for its result.
    """

    async def main_and_its_end() -> T:
        try:
            result = await main
        except BaseException:
            last_resort.arm(CLEANUP_SECS, 1)
            raise
        # Only asyncio's own shutdown follows, which waits without limit for threads and tasks.
        last_resort.arm(CLEANUP_SECS, exit_code(result))
        return result

    try:
        return _run(main_and_its_end())
    finally:
        last_resort.disarm()


def _run(main: Coroutine[Any, Any, T]) -> T:
    try:
        import uvloop  # noqa: PLC0415 - it is not made for every system
    except ModuleNotFoundError:
        return asyncio.run(main)
    return uvloop.run(main)
