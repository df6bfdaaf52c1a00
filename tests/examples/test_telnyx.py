"""A call through examples/telnyx.py, run by pipecat's own runner, with messages as Telnyx documents them.

https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming
"""

from __future__ import annotations

import base64
import json

from websockets.asyncio.client import ClientConnection, connect

from moshi_phone.audio import g711
from moshi_phone.audio.g711 import SILENCE
from moshi_phone.runtime.ports import free_port
from tests.support.program import ROOT, program

TONE = bytes([0x10, 0x90] * 80)


async def say(socket: ClientConnection, mulaw: bytes) -> None:
    payload = base64.b64encode(mulaw).decode()
    await socket.send(json.dumps({"event": "media", "media": {"track": "inbound", "payload": payload}}))


async def hear(socket: ClientConnection, wanted_bytes: int) -> bytes:
    heard = b""
    while len(heard) < wanted_bytes:
        message = json.loads(await socket.recv())
        if message["event"] == "media":
            assert message.keys() == {"event", "media"}
            heard += base64.b64decode(message["media"]["payload"])
    return heard


async def test_a_call_through_telnyx() -> None:
    port = free_port()
    arguments = ["-t", "telnyx", "-x", "phone.example.com", "--port", str(port)]
    environment = {"MOSHI_ENGINE": "parrot", "MOSHI_PARROT_DELAY": "0"}
    python = ["-m", "examples.telnyx"]
    async with (
        program(*arguments, environment=environment, python=python, folder=str(ROOT)) as runner,
    ):
        await runner.says("Uvicorn running")
        async with connect(f"ws://localhost:{port}/ws") as socket:
            start = {
                "event": "start",
                "stream_id": "stream-1",
                "start": {
                    "call_control_id": "call-1",
                    "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
                    "from": "+15551234567",
                    "to": "+15550001111",
                },
            }
            await socket.send(json.dumps({"event": "connected", "version": "1.0.0"}))
            await socket.send(json.dumps(start))
            for _ in range(50):
                await say(socket, TONE)
            heard = await hear(socket, 8 * 640)
        assert heard.count(SILENCE) < len(heard) // 10, "the mirror gives the tone back"
        assert len(set(g711.decode(heard[-640:]))) > 1
    assert "Traceback" not in runner.said
