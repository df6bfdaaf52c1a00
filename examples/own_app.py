r"""The phone call in your own FastAPI app: one route, one engine, without our server.

    uv run uvicorn examples.own_app:app --port 5001

Point a number's TwiML at ``wss://…/stream`` (``<Connect><Stream url="…"/></Connect>``). Access
control is up to you: ``bot.py serve`` checks signatures and tokens and limits strangers; this does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from pipecat.workers.runner import WorkerRunner

from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.call_audio import CallAudio
from moshi_phone.telephony.stream_start import read_start
from pipelines.call_parts import CallParts
from pipelines.phone_call import phone_call
from processors.echo import EchoPath
from processors.recorder import Recorder
from processors.tap import Tap
from processors.twilio import TwilioSerializer, TwilioTransport

engine = ParrotEngine()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Start the engine before the first call."""
    await engine.start(print)
    yield
    await engine.stop()


app = FastAPI(lifespan=lifespan)


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """Hold one call, with a socket, a session and a serializer."""
    await websocket.accept()
    start = await read_start(websocket, within_secs=10)
    session = engine.open_session()
    transport = TwilioTransport(websocket, TwilioSerializer(start.stream_sid))
    # Both ends are tapped, so that the echo of a speakerphone is found and cancelled.
    echo = EchoPath()
    audio = CallAudio([echo])
    parts = CallParts(
        transport, session, inbound_taps=[Tap(Recorder(audio))], taps=[Tap(Recorder(audio))], echo=echo
    )
    worker = parts.worker(phone_call(parts))

    async def on_client_disconnected(_: TwilioTransport, __: WebSocket) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    try:
        await runner.run()
    finally:
        await session.close()
