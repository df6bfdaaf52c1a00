"""How the pipeline's input handles a real socket's messages, with this server's protocol and another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import ErrorFrame, Frame, InputDTMFFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.runner import WorkerRunner

from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.telephony.stream_start import read_start
from pipelines.call_worker import CallWorker
from processors.frames import MarkInputFrame, MulawInputFrame, MulawOutputFrame
from processors.stage import Stage
from processors.twilio import DISCONNECTED, TwilioSerializer, TwilioTransport
from tests.processors.simulated_line import call
from tests.support.phone import Phone, serving_app


class OwnSerializer(TwilioSerializer):
    """A user's serializer, which counts all messages."""

    messages = 0

    async def deserialize(self, data: str | bytes) -> Frame | None:
        self.messages += 1
        return await super().deserialize(data)


class Mirror(Stage):
    """Returns the caller's audio at once."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, (MulawInputFrame, MarkInputFrame, InputDTMFFrame)):
            self.heard.append(frame)
        if isinstance(frame, MulawInputFrame):
            frame = MulawOutputFrame(frame.mulaw)
        await self.push_frame(frame, direction)


@pytest.mark.parametrize(
    ("serializer", "is_ours", "is_direct"),
    [(TwilioSerializer, True, True), (OwnSerializer, True, False), (TwilioSerializer, False, False)],
)
async def test_packets_wake_the_call_once_they_complete_a_frame(
    serializer: type[TwilioSerializer], *, is_ours: bool, is_direct: bool
) -> None:
    app, mirror, messages = FastAPI(), Mirror(), list[Any]()
    over = asyncio.Event()

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        start = await read_start(websocket, within_secs=10)
        receive = websocket.receive

        async def counting() -> Any:
            messages.append(await receive())
            return messages[-1]

        websocket.receive = counting  # type: ignore[method-assign]
        transport = TwilioTransport(websocket, serializer(start.stream_sid))
        worker = CallWorker(Pipeline([transport.input(), mirror, transport.output()]), idle_timeout_secs=None)

        async def disconnected(*_: object) -> None:
            await worker.cancel()

        transport.add_event_handler(DISCONNECTED, disconnected)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()
        over.set()

    config = uvicorn_config(app) if is_ours else uvicorn.Config(app, log_level="warning")
    async with serving_app(config) as address:
        async with Phone.calling(address) as phone:
            for byte in range(4):
                await phone.say(bytes([byte]) * 160, times=4)
                if byte == 1:
                    await phone.send({"event": "dtmf", "dtmf": {"digit": "5"}})
                await phone.listen(frames=1)
        await asyncio.wait_for(over.wait(), 10)
    assert phone.heard == b"".join(bytes([byte]) * 640 for byte in range(4))
    kinds = [type(frame) for frame in mirror.heard]
    assert kinds == [MulawInputFrame, MulawInputFrame, InputDTMFFrame, MulawInputFrame, MulawInputFrame]
    # Four frames, the key and the end; packets that come before the input reads are not taken directly.
    assert len(messages) <= 6 + 4 if is_direct else len(messages) == 16 + 2


def test_an_exception_in_a_user_s_serializer_ends_the_call() -> None:
    """Otherwise the engine would get no more audio, and a hang-up would not be noticed."""
    errors, events = list[str](), list[str]()

    async def broken(_: str | bytes) -> Frame | None:
        raise ZeroDivisionError("of the user")

    async def break_it(worker: PipelineWorker, transport: TwilioTransport) -> None:
        async def on_error(_: PipelineWorker, frame: ErrorFrame) -> None:
            errors.append(frame.error)

        async def on_disconnected(*_: object) -> None:
            events.append(DISCONNECTED)

        worker.add_event_handler("on_pipeline_error", on_error)
        transport.add_event_handler(DISCONNECTED, on_disconnected)
        await asyncio.sleep(0.5)
        transport._serializer.deserialize = broken  # type: ignore[method-assign, assignment]

    call(lambda transport: [transport.input(), Mirror(), transport.output()], 0.5, script=break_it)
    (error,) = errors
    assert error.startswith("The call cannot be read: ZeroDivisionError: of the user")
    assert events == [DISCONNECTED]
