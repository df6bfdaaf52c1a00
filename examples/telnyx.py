r"""The same call with another phone company: Telnyx, by pipecat's own serializer, under pipecat's own runner.

    TELNYX_API_KEY=… uv run --extra runner python -m examples.telnyx -t telnyx -x phone.example.com

The list is ``pipelines/phone_call.py``'s without the µ-law stages: pipecat's serializer does that.
"""

from __future__ import annotations

import os

from fastapi import WebSocket
from pipecat.pipeline.pipeline import Pipeline
from pipecat.runner.types import RunnerArguments, WebSocketRunnerArguments
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.transports.base_transport import BaseTransport
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

from examples import shared_engine
from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.engines.duplex import DuplexSession
from moshi_phone.records.call_metrics import CallMetrics
from processors.meter import Meter
from processors.moshi import MoshiProcessor
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler
from processors.tap import Tap


def telnyx_call(transport: BaseTransport, session: DuplexSession, metrics: CallMetrics) -> Pipeline:
    """Assemble the call."""
    return Pipeline(
        [
            transport.input(),  # Telnyx's JSON → 16-bit PCM, 8 kHz
            Resampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ),  # → 24 kHz
            MoshiProcessor(session),
            Resampler(SAMPLE_RATE_HZ, PHONE_RATE_HZ),  # → 8 kHz
            PlayoutGovernor(),
            Tap(Meter(metrics)),
            transport.output(),  # → Telnyx's JSON
        ]
    )


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call for pipecat's runner."""
    if not isinstance(runner_args, WebSocketRunnerArguments):
        raise TypeError(f"expected a WebSocket from the runner (-t telnyx), got {type(runner_args).__name__}")
    _, call = await parse_telephony_websocket(runner_args.websocket)
    api_key = os.environ.get("TELNYX_API_KEY")
    serializer = TelnyxFrameSerializer(
        stream_id=call["stream_id"],
        call_control_id=call["call_id"],
        outbound_encoding=call["outbound_encoding"],
        inbound_encoding="PCMU",
        api_key=api_key,
        params=TelnyxFrameSerializer.InputParams(auto_hang_up=bool(api_key)),
    )
    transport = FastAPIWebsocketTransport(
        runner_args.websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer
        ),
    )
    async with shared_engine.session() as session:
        worker = shared_engine.worker_of(telnyx_call(transport, session, CallMetrics()), PHONE_RATE_HZ)

        async def on_client_disconnected(_: FastAPIWebsocketTransport, __: WebSocket) -> None:
            await worker.cancel()

        transport.add_event_handler("on_client_disconnected", on_client_disconnected)
        await shared_engine.run(worker)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
