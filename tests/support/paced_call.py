"""A real-time caller of a mirror that records the delay of each frame."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from streamdouble.protocol import StreamIdentity, build_connected, build_media
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import FRAME_MS, PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from tests.support.phone import start_message
from tests.support.waiting import until

PACKETS_A_FRAME = 4
PACKET_S = 0.020
PACKET_BYTES = 160
_LAST_FRAME_SECS = 5


def _tone() -> bytes:
    """Return a second of a tone, which no playout control shortens: µ-law."""
    times = np.arange(PHONE_RATE_HZ) / PHONE_RATE_HZ
    return g711.encode(pcm.to_bytes((0.3 * np.sin(2 * np.pi * 400 * times)).astype(np.float32)))


@dataclass
class PacedCall:
    """The frames that a caller sent and received.

    Attributes:
        sent_frames: whole frames of 80 ms that were said.
        delays_ms: for each that came back, from its first sample at the mouth to its arrival.
        closed: code and reason, where the other side closed the socket.
    """

    sent_frames: int = 0
    delays_ms: list[float] = field(default_factory=list[float])
    closed: tuple[int, str] | None = None

    @property
    def lost_frames(self) -> int:
        """The number of frames that never returned."""
        return self.sent_frames - len(self.delays_ms)

    def p95_ms(self, from_s: float = 0, to_s: float = math.inf) -> float:
        """Return the 95th percentile of the delays of frames sent between two times of the call."""
        said = enumerate(self.delays_ms)
        delays_ms = [delay for n, delay in said if from_s * 1000 <= n * FRAME_MS < to_s * 1000]
        return float(np.percentile(delays_ms, 95))


async def paced_call(address: str, secs: float, *, call_sid: str = "CA" + "c" * 32) -> PacedCall:
    """Call a mirror, talk for a given time, and hang up.

    Args:
        address: ``HOST:PORT``.
        secs: how long.
        call_sid: names the call.
    """
    call = PacedCall()
    start = start_message(call_sid=call_sid)
    async with connect(f"ws://{address}/stream", max_queue=None, open_timeout=30) as socket:
        await socket.send(json.dumps(build_connected()))
        await socket.send(json.dumps(start))
        began_s = asyncio.get_running_loop().time()
        hearing = asyncio.create_task(_hear(socket, call, began_s))
        await _talk(socket, StreamIdentity(start["streamSid"], "AC1", call_sid), call, began_s, secs)
        with suppress(TimeoutError):
            await until(lambda: not call.lost_frames or call.closed, _LAST_FRAME_SECS)
        hearing.cancel()
        await asyncio.wait([hearing])
    return call


async def _talk(
    socket: ClientConnection, stream: StreamIdentity, call: PacedCall, began_s: float, secs: float
) -> None:
    loop, tone = asyncio.get_running_loop(), _tone()
    for number in range(round(secs / PACKET_S) // PACKETS_A_FRAME * PACKETS_A_FRAME):
        await asyncio.sleep(began_s + (number + 1) * PACKET_S - loop.time())
        at = number * PACKET_BYTES % len(tone)
        try:
            await socket.send(
                json.dumps(
                    build_media(stream, number + 2, number + 1, number * 20, tone[at : at + PACKET_BYTES])
                )
            )
        except ConnectionClosed:
            return
        call.sent_frames = (number + 1) // PACKETS_A_FRAME


async def _hear(socket: ClientConnection, call: PacedCall, began_s: float) -> None:
    loop, heard_bytes = asyncio.get_running_loop(), 0
    try:
        async for text in socket:
            message = json.loads(text)
            if message["event"] != "media":
                continue
            heard_bytes += len(base64.b64decode(message["media"]["payload"]))
            while (done := len(call.delays_ms)) < heard_bytes // PHONE_FRAME_SAMPLES:
                call.delays_ms.append((loop.time() - began_s) * 1000 - done * FRAME_MS)
    finally:
        if socket.close_code is not None:
            call.closed = socket.close_code, socket.close_reason or ""
