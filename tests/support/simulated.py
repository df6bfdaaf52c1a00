"""A call in simulated time: the real server, pipeline and serializer over a WebSocket without a socket.

The event loop's clock jumps to the next timer whenever there is nothing to do, so minutes of a call take only
the time of its work, and nothing depends on the machine's speed.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from streamdouble.protocol import (
    StreamIdentity,
    build_connected,
    build_dtmf,
    build_mark,
    build_media,
    build_stop,
)

from moshi_phone.audio import g711, pcm
from moshi_phone.rehearse.playback import Playback
from moshi_phone.rehearse.room import Room
from moshi_phone.testing import run_simulated

__all__ = ["SimulatedPhone", "run_simulated"]

PACKET_S = 0.020
PACKET_BYTES = 160


class SimulatedPhone:
    """Twilio's part in a call: sends 20 ms packets on time, plays audio, returns marks.

    Args:
        app: the server.
        start: the start message, as ``tests.support.phone.start_message`` writes it.
        room: what the phone adds to its microphone's signal, such as an echo.

    Attributes:
        playback: the audio as it is heard.
        sent: the phone's audio, µ-law.
        closed: the message by which the server closed the socket, if it did.
    """

    def __init__(self, app: FastAPI, start: dict[str, Any], room: Room | None = None) -> None:
        self._app = app
        self._start = start
        self._room = room
        self.sent = b""
        self._identity = StreamIdentity(start["streamSid"], "AC1", start["start"]["callSid"])
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.playback = Playback()
        self.closed: dict[str, Any] | None = None

    async def talk(
        self, samples: NDArray[np.float32], *, late_s: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Speak (8 kHz), hang up, and return the audio heard (8 kHz, on the same clock).

        Args:
            samples: the caller's speech.
            late_s: the delay in sending each packet; without a value a packet is on time.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self.playback = Playback(began_s)
        self._say(build_connected())
        self._say(self._start)
        server = asyncio.ensure_future(self._serve())
        mulaw = g711.encode(pcm.to_bytes(samples))
        for index, at in enumerate(range(0, len(mulaw), PACKET_BYTES)):
            late = late_s[index] if index < len(late_s) else 0.0
            due_s = began_s + (index + 1) * PACKET_S + late
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self._echo_marks()
            packet = mulaw[at : at + PACKET_BYTES]
            if self._room is not None:
                packet = self._room.packet(packet, self.playback, at)
            self.sent += packet
            self._say(build_media(self._identity, index + 2, index + 1, index * 20, packet))
        await asyncio.sleep(1)
        self._say(build_stop(self._identity, 0))
        await server
        return pcm.to_float(g711.decode(self.playback.heard(loop.time()).tobytes()))

    async def converse(self, next_packet: Callable[[NDArray[np.int16]], bytes | None]) -> bytes:
        """Let a reacting caller speak; return all that was said."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self.playback = Playback(began_s)
        self._say(build_connected())
        self._say(self._start)
        server = asyncio.ensure_future(self._serve())
        said = b""
        for index in count():
            await asyncio.sleep(max(0.0, began_s + (index + 1) * PACKET_S - loop.time()))
            self._echo_marks()
            heard = self.playback.heard_between(index * PACKET_BYTES, (index + 1) * PACKET_BYTES)
            packet = next_packet(np.frombuffer(g711.decode(heard.tobytes()), "<i2"))
            if packet is None or self.closed is not None:
                break
            said += packet
            self._say(build_media(self._identity, index + 2, index + 1, index * 20, packet))
        self._say(build_stop(self._identity, 0))
        await server
        return said

    def press(self, key: str) -> None:
        """Press a key."""
        self._say(build_dtmf(self._identity, 0, key))

    def _say(self, message: dict[str, Any]) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def _echo_marks(self) -> None:
        for echo in self.playback.echoes(asyncio.get_running_loop().time()):
            self._say(build_mark(self._identity, 0, echo.name))

    async def _serve(self) -> None:
        self._inbox.put_nowait({"type": "websocket.connect"})
        # The connect message must come first.
        waiting = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        for message in (waiting[-1], *waiting[:-1]):
            self._inbox.put_nowait(message)
        scope = {
            "type": "websocket",
            "path": "/stream",
            "raw_path": b"/stream",
            "root_path": "",
            "scheme": "ws",
            "query_string": b"",
            "headers": [],
            "subprotocols": [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "asgi": {"version": "3.0"},
            "state": {},
        }
        await self._app(scope, self._inbox.get, self._hear)

    async def _hear(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.closed = dict(message)
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": message.get("code", 1000)})
        if message["type"] != "websocket.send":
            return
        event = json.loads(message["text"])
        now_s = asyncio.get_running_loop().time()
        if event["event"] == "media":
            self.playback.media(base64.b64decode(event["media"]["payload"]), now_s)
        elif event["event"] == "mark":
            self.playback.mark(event["mark"]["name"], now_s)
