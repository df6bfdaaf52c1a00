r"""Moshi in a pipecat pipeline, in one file, on every transport of pipecat's runner.

    uv run --extra runner --extra webrtc python -m examples.foundational -t webrtc
    uv run --extra runner python -m examples.foundational -t twilio -x your-name.ngrok.app

Without turn detection, recognizer and synthesizer: ``MoshiProcessor`` listens and speaks at the same time,
and pushes the words of both sides. Phone calls need the provider's credentials in the environment, under
pipecat's names. ``bot.py`` does more (its own Twilio line, recordings, limits).
"""

from __future__ import annotations

import asyncio

from loguru import logger
from pipecat.observers.loggers.transcription_log_observer import TranscriptionLogObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams
from pipecat.workers.runner import WorkerRunner

from moshi_phone.audio.formats import SAMPLE_RATE_HZ
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.options import EngineOptions
from processors.moshi import MoshiProcessor


def socket_params() -> FastAPIWebsocketParams:
    """Return the parameters of a telephone provider's WebSocket; pipecat adds the serializer."""
    return FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)


TRANSPORTS = {
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
    "twilio": socket_params,
    "telnyx": socket_params,
    "plivo": socket_params,
}

engine = create_engine(EngineOptions()).engine  # Moshi where it can run, otherwise a parrot
starting = asyncio.Lock()


async def bot(runner_args: RunnerArguments) -> None:
    """Hold one call; pipecat's runner calls this for each connection."""
    transport = await create_transport(runner_args, TRANSPORTS)
    async with starting:  # loaded with the first call, for all of them
        if engine.error is not None:
            await engine.start(logger.info)
    session = engine.open_session()
    worker = PipelineWorker(
        Pipeline([transport.input(), MoshiProcessor(session), transport.output()]),
        params=PipelineParams(
            audio_in_sample_rate=SAMPLE_RATE_HZ, audio_out_sample_rate=SAMPLE_RATE_HZ, enable_metrics=True
        ),
        observers=[TranscriptionLogObserver()],
        idle_timeout_secs=None,
    )

    async def on_client_disconnected(_: BaseTransport, __: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    try:
        await runner.run()
    finally:
        await session.close()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
