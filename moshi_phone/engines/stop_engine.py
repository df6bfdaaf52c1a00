"""Stops an engine, whoever wrote it, within a bound."""

from __future__ import annotations

import asyncio

from loguru import logger

from moshi_phone.engines.duplex import DuplexEngine

STOP_SECS = 5.0


async def stop_engine(engine: DuplexEngine, within_secs: float = STOP_SECS) -> None:
    """Stop an engine, and leave it behind where it takes too long. Never raises: more is to be ended.

    Args:
        engine: of anybody.
        within_secs: what it may take.
    """
    stopping = asyncio.create_task(_stop(engine))
    # Not asyncio.timeout, which waits for what it has cancelled.
    await asyncio.wait((stopping,), timeout=within_secs)
    if not stopping.done():
        stopping.cancel()
        logger.error("The engine {} did not stop in {:g} s; it is left behind", engine.name, within_secs)


async def _stop(engine: DuplexEngine) -> None:
    try:
        await engine.stop()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit as well: in a task it would end the event loop
        logger.opt(exception=error).error("The engine {} did not stop in order", engine.name)
