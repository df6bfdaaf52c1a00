"""One engine for all calls of a process, loaded with the first: what examples under a runner share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.workers.runner import WorkerRunner

from moshi_phone.commands.options import from_environment
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.duplex import DuplexEngine, DuplexSession
from moshi_phone.engines.options import EngineOptions

_loading = asyncio.Lock()
_engines: list[DuplexEngine] = []


@asynccontextmanager
async def session() -> AsyncIterator[DuplexSession]:
    """Give a session of the engine that ``MOSHI_ENGINE`` and the other variables choose, for one call.

    Raises:
        EngineUnavailable, EngineBusy: in one sentence.
    """
    async with _loading:  # who calls meanwhile waits, and does not load another
        if not _engines:
            choice = create_engine(from_environment(EngineOptions))
            logger.info(choice.line)
            await choice.engine.start(logger.info)
            _engines.append(choice.engine)
    opened = _engines[0].open_session()
    try:
        yield opened
    finally:
        await opened.close()


def worker_of(pipeline: Pipeline, rate_hz: int) -> PipelineWorker:
    """Make what runs a call's pipeline, with audio of this rate at both ends."""
    params = PipelineParams(audio_in_sample_rate=rate_hz, audio_out_sample_rate=rate_hz)
    return PipelineWorker(pipeline, params=params, idle_timeout_secs=None, enable_rtvi=False)


async def run(worker: PipelineWorker) -> None:
    """Run a call to its end."""
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
