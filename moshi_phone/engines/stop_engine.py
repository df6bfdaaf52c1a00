"""Stops an engine, of ours or of the user's, within a time limit."""

from __future__ import annotations

import asyncio

from loguru import logger

from moshi_phone.engines.duplex import DuplexEngine

STOP_SECS = 5.0


async def stop_engine(engine: DuplexEngine, within_secs: float = STOP_SECS) -> None:
    """Stop an engine, and abandon it if it takes too long. Never raises: other parts must still be stopped.

    Args:
        engine: any.
        within_secs: the time limit.
    """
    stopping = asyncio.create_task(_stop(engine))
    # Not asyncio.timeout, which waits for the cancelled task.
    await asyncio.wait((stopping,), timeout=within_secs)
    if not stopping.done():
        stopping.cancel()
        logger.error("The engine {} did not stop within {:g} s; abandoned", engine.name, within_secs)


async def _stop(engine: DuplexEngine) -> None:
    try:
        await engine.stop()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit as well: in a task it would end the event loop
        logger.opt(exception=error).error("The engine {} failed to stop", engine.name)
