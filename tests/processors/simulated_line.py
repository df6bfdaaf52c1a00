"""A pipeline of any stages between the two ends of a real ``TwilioTransport``, in simulated time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import EndFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from moshi_phone.audio import g711, pcm
from moshi_phone.rehearse.playback import Playback
from pipelines.call_worker import CallWorker
from processors.twilio import TwilioSerializer, TwilioTransport
from tests.support.simulated import run_simulated

PACKET_BYTES, PACKET_S = 160, 0.02
RATE_HZ = 8_000


class PhoneSocket:
    """A WebSocket with Twilio at its other end: audio is played, marks are acknowledged in time.

    Args:
        said: what the caller says, 8 kHz; silence before and after it.
    """

    def __init__(self, said: NDArray[np.float32] | None = None) -> None:
        self.playback = Playback(_now_s())
        self.messages: list[dict[str, Any]] = []
        self.supported_overrides = asyncio.Event()  # cleared: sends get stuck
        self.supported_overrides.set()
        self._said = g711.encode(pcm.to_bytes(said)) if said is not None else b""
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._talk = asyncio.ensure_future(self._speak())

    async def receive(self) -> dict[str, Any]:
        return await self._inbox.get()

    async def send_text(self, text: str) -> None:
        await self.supported_overrides.wait()
        event = json.loads(text)
        self.messages.append(event)
        if event["event"] == "media":
            self.playback.media(base64.b64decode(event["media"]["payload"]), _now_s())
        elif event["event"] == "mark":
            self.playback.mark(event["mark"]["name"], _now_s())
        else:
            self.playback.clear(_now_s())

    def hang_up(self) -> None:
        """Close it from the caller's side."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    def heard(self) -> NDArray[np.float32]:
        """What was played until now, 8 kHz."""
        return pcm.to_float(g711.decode(self.playback.heard(_now_s()).tobytes()))

    async def close(self) -> None:
        self._talk.cancel()
        await asyncio.gather(self._talk, return_exceptions=True)

    async def _speak(self) -> None:
        began_s, n = _now_s(), 0
        while True:
            n += 1
            await asyncio.sleep(began_s + n * PACKET_S - _now_s())
            for echo in self.playback.echoes(_now_s()):
                self._say({"event": "mark", "mark": {"name": echo.name}})
            packet = self._said[(n - 1) * PACKET_BYTES : n * PACKET_BYTES].ljust(PACKET_BYTES, b"\xff")
            payload = base64.b64encode(packet).decode()
            media = {"track": "inbound", "timestamp": str((n - 1) * 20), "payload": payload}
            self._say({"event": "media", "streamSid": "MZ1", "media": media})

    def _say(self, message: dict[str, Any]) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})


Script = Callable[[PipelineWorker, TwilioTransport], Awaitable[None]]


def call(
    stages: Callable[[TwilioTransport], Sequence[FrameProcessor]],
    secs: float,
    said: NDArray[np.float32] | None = None,
    *,
    script: Script | None = None,
    params: TransportParams | None = None,
    worker_params: PipelineParams | None = None,
    observers: Sequence[Any] = (),
    on_socket: Callable[[PhoneSocket], None] = lambda _: None,
) -> tuple[NDArray[np.float32], PhoneSocket]:
    """Run a call of some seconds; return what the caller heard (8 kHz) and the socket."""

    async def main() -> tuple[NDArray[np.float32], PhoneSocket]:
        socket = PhoneSocket(said)
        on_socket(socket)
        transport = TwilioTransport(socket, TwilioSerializer("MZ1"), params)  # type: ignore[arg-type]
        worker = CallWorker(  # a call's own: without observers, its stages pass audio past pipecat's events
            Pipeline(list(stages(transport))),
            transport,
            params=worker_params
            or PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
            idle_timeout_secs=None,
            enable_turn_tracking=False,
            enable_rtvi=False,
            observers=list(observers),
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)

        async def play() -> None:
            if script:
                await script(worker, transport)
            await asyncio.sleep(secs)
            await worker.queue_frame(EndFrame())

        playing = asyncio.ensure_future(play())
        await runner.run()
        await playing
        heard = socket.heard()
        await socket.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # as asyncio.run does: pipecat leaves some to it
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return heard, socket

    coroutine: Coroutine[Any, Any, tuple[NDArray[np.float32], PhoneSocket]] = main()
    return run_simulated(coroutine)


def loud_s(heard: NDArray[np.float32], over: float = 0.02) -> float:
    """Return how many seconds are not silent, in steps of 20 ms."""
    pieces = heard[: heard.size // 160 * 160].reshape(-1, 160)
    return float((np.abs(pieces).max(axis=1) > over).sum() * 0.02)


def tone(secs: float, rate_hz: int, hz: float = 400.0) -> NDArray[np.float32]:
    """A tone that is never silent."""
    phase = np.arange(round(secs * rate_hz)) * (2 * np.pi * hz / rate_hz)
    wave: NDArray[np.float32] = (0.3 * np.sin(phase)).astype(np.float32)
    return wave


def _now_s() -> float:
    return asyncio.get_running_loop().time()
