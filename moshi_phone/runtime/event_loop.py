"""Which event loop the program runs on: uvloop, and asyncio's own where there is no uvloop (Windows)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run this to its end, on the fastest loop that this system has."""
    try:
        import uvloop  # noqa: PLC0415 - it is not made for every system
    except ModuleNotFoundError:
        return asyncio.run(main)
    return uvloop.run(main)
