"""Callers who keep real time: they speak Twilio's protocol, and hear what its playout buffer would play.

``python -m benchmarks.callers --port 5001 --calls 8 --secs 20`` prints one JSON object a call.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import time
from dataclasses import asdict, dataclass

from websockets.asyncio.client import ClientConnection, connect

from audio import g711, pcm
from benchmarks.bursts import RATE_HZ, Talk, delays_s, talk
from rehearse.playback import Playback

PACKET_SAMPLES = RATE_HZ // 50
_AFTER_S = 1.5  # keeps listening for so long after the last word


@dataclass(frozen=True)
class Heard:
    """What one caller found.

    Attributes:
        delays_ms: mouth to ear, for each burst; None where it was lost.
        first_audio_ms: from the start message to the first audio.
        gaps: times the playout buffer ran dry for 1 ms or more.
        late_ms: the longest that a packet left after its time; the caller's own fault.
    """

    delays_ms: list[float | None]
    first_audio_ms: float
    gaps: int
    late_ms: float


async def call(port: int, seed: int, secs: float) -> Heard:
    """Call once, talk for ``secs``, and measure."""
    said = talk(secs, seed)
    await asyncio.sleep(random.Random(seed).uniform(0, 0.5))  # callers do not dial in step
    async with connect(f"ws://127.0.0.1:{port}/stream", compression=None) as socket:
        await socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        sid = f"MZ{seed:032x}"
        await socket.send(json.dumps(_start(sid, seed)))
        began_s = time.perf_counter()
        playback = Playback(began_s)
        listening = asyncio.create_task(_listen(socket, playback))
        late_ms = await _speak(socket, said, sid, began_s)
        await asyncio.sleep(_AFTER_S)
        await socket.send(json.dumps({"event": "stop", "streamSid": sid, "stop": {}}))
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    ear = pcm.to_float(g711.decode(playback.heard(time.perf_counter()).tobytes()))
    return Heard(
        delays_ms=[None if delay is None else round(delay * 1000, 3) for delay in delays_s(said, ear)],
        first_audio_ms=(playback.segments[0].arrived_s - began_s) * 1000 if playback.segments else -1,
        gaps=sum(gap.ms >= 1 for gap in playback.gaps),
        late_ms=late_ms,
    )


async def _speak(socket: ClientConnection, said: Talk, sid: str, began_s: float) -> float:
    mulaw = g711.encode(pcm.to_bytes(said.samples))
    worst_s = 0.0
    for index, at in enumerate(range(0, len(mulaw), PACKET_SAMPLES)):
        # A packet leaves when its last sample was spoken.
        due_s = began_s + (at + PACKET_SAMPLES) / RATE_HZ
        wait_s = due_s - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            wait_s = due_s - time.perf_counter()
        worst_s = max(worst_s, -wait_s)
        media = {
            "track": "inbound",
            "chunk": str(index + 1),
            "timestamp": str(at * 1000 // RATE_HZ),
            "payload": base64.b64encode(mulaw[at : at + PACKET_SAMPLES]).decode(),
        }
        message = {"event": "media", "sequenceNumber": str(index + 2), "streamSid": sid, "media": media}
        await socket.send(json.dumps(message))
    return worst_s * 1000


async def _listen(socket: ClientConnection, playback: Playback) -> None:
    loop = asyncio.get_running_loop()

    def echo() -> None:
        for due in playback.echoes(time.perf_counter()):
            message = {"event": "mark", "streamSid": "", "mark": {"name": due.name}}
            echoing.append(asyncio.ensure_future(socket.send(json.dumps(message))))
        if playback.next_echo_s is not None:
            loop.call_later(max(0.001, playback.next_echo_s - time.perf_counter()), echo)

    echoing: list[asyncio.Future[None]] = []
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "media":
            playback.media(base64.b64decode(message["media"]["payload"]), time.perf_counter())
        elif message["event"] == "mark":
            playback.mark(message["mark"]["name"], time.perf_counter())
            echo()


def _start(sid: str, seed: int) -> dict[str, object]:
    media_format = {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1}
    return {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": sid,
        "start": {
            "accountSid": f"AC{0:032x}",
            "streamSid": sid,
            "callSid": f"CA{seed:032x}",
            "tracks": ["inbound"],
            "mediaFormat": media_format,
            "customParameters": {},
        },
    }


async def _main(arguments: argparse.Namespace) -> None:
    heard = await asyncio.gather(
        *(call(arguments.port, arguments.seed + n, arguments.secs) for n in range(arguments.calls))
    )
    for one in heard:
        print(json.dumps(asdict(one)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--secs", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_main(parser.parse_args()))
