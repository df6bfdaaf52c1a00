"""pipecat's own line, for comparison: ``TwilioFrameSerializer`` in a 24 kHz pipeline, with a mirror.

It does the same work as ``bot.py --engine parrot --parrot-delay 0``: collects 80 ms of the caller's audio at
24 kHz and sends them back. Everything else is pipecat's, with its defaults.
"""

from __future__ import annotations

import argparse
import json
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.runtime import event_loop

FRAME_BYTES = FRAME_SAMPLES * 2


class FrameMirror(FrameProcessor):
    """Collects the caller's audio into frames of 80 ms, as Moshi needs them, and sends them back."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send back every frame that is complete."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        self._buffer += frame.audio
        while len(self._buffer) >= FRAME_BYTES:
            audio = bytes(self._buffer[:FRAME_BYTES])
            del self._buffer[:FRAME_BYTES]
            await self.push_frame(OutputAudioRawFrame(audio, SAMPLE_RATE_HZ, num_channels=1))


app = FastAPI()


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """One call, as pipecat's own Twilio examples answer it."""
    await websocket.accept()
    await websocket.receive_text()
    start = json.loads(await websocket.receive_text())["start"]
    serializer = TwilioFrameSerializer(
        start["streamSid"], params=TwilioFrameSerializer.InputParams(auto_hang_up=False)
    )
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), FrameMirror(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=SAMPLE_RATE_HZ, audio_out_sample_rate=SAMPLE_RATE_HZ),
    )

    async def on_client_disconnected(_: FastAPIWebsocketTransport, __: WebSocket) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


@app.get("/healthz")
def health_router() -> dict[str, bool]:
    """Answer the health check: the server is ready once its port is open."""
    return {"ready": True}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    event_loop.run(  # as in this line, so that the event loop makes no difference
        uvicorn.Server(
            uvicorn.Config(app, port=arguments.port, log_level="warning", access_log=False)
        ).serve()
    )
