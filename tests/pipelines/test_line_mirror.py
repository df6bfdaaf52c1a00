from __future__ import annotations

import numpy as np
from fastapi import WebSocket
from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.runner import WorkerRunner

from benchmarks.bursts import delays_s, talk
from engines.duplex import DuplexSession
from pipelines.line_mirror import line_mirror
from processors.twilio import STOPPED, TwilioSerializer, TwilioTransport
from server.app import create_app
from server.calls import Call
from server.state import ServerState
from tests.fake_engines import FakeEngine
from tests.phone import start_message
from tests.simulated import SimulatedPhone, run_simulated


async def run_mirror(websocket: WebSocket, call: Call, session: DuplexSession, line: ServerState) -> None:
    """What ``bot.run_call`` does, at its simplest, with another pipeline."""
    serializer = TwilioSerializer(call.start.stream_sid)
    worker = PipelineWorker(
        line_mirror(TwilioTransport(websocket, serializer)),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    async def on_stopped(_: TwilioSerializer) -> None:
        await worker.cancel()

    serializer.add_event_handler(STOPPED, on_stopped)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def test_the_caller_hears_themselves_one_frame_later() -> None:
    said = talk(8, seed=1)

    async def main() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        line = ServerState(FakeEngine())
        await line.engine.start(lambda _: None)
        return await SimulatedPhone(create_app(line, run_mirror), start_message()).talk(said.samples)

    delays = delays_s(said, run_simulated(main()))
    assert delays == [0.083] * len(said.spoken)
