"""A server that speaks the protocol of pipecat's ``openai/live/events.py``; its model is a mirror."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

KEY = "sk-of-the-tests"


@dataclass
class FakeOpenAILive:
    """The server's behaviour, and what it got.

    Attributes:
        piece_bytes: the size of its pieces of audio, whatever the size of those received.
        refuses: why it does not start the session, or empty.
        hangs_up_after: the number of pieces of audio after which it closes; 0 for never.
        session: the requested configuration of the session.
        keys: the ``Authorization`` headers.
        events: the type of each received event.
        context: the texts appended to the model's context.
        heard: the caller's audio, 24 kHz.
        asked: set when the context is not empty.
    """

    piece_bytes: int = 9602  # 200 ms and a sample: nothing that a frame of ours would fit
    refuses: str = ""
    hangs_up_after: int = 0
    url: str = ""
    session: dict[str, Any] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    context: list[str] = field(default_factory=list)
    heard: bytes = b""
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, socket: ServerConnection) -> None:
        """Run one session."""
        assert socket.request is not None
        self.keys.append(socket.request.headers.get("Authorization", ""))
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await self._take(socket, json.loads(message))

    async def _take(self, socket: ServerConnection, event: dict[str, Any]) -> None:
        kind = event["type"]
        self.events.append(kind)
        assert (len(self.events) == 1) == (kind == "session.start")  # the first, and exactly once
        if kind == "session.start":
            self.session = event["session"]
            if self.refuses:
                await self._say(socket, "error", error={"type": "invalid", "message": self.refuses})
            else:
                await self._say(socket, "session.started", session={"id": "sess_1", **self.session})
        elif kind == "session.input_audio.append":
            before = len(self.heard) // self.piece_bytes
            self.heard += base64.b64decode(event["audio"])
            for number in range(before, len(self.heard) // self.piece_bytes):
                piece = self.heard[number * self.piece_bytes : (number + 1) * self.piece_bytes]
                await self._say(socket, "session.output_audio.delta", delta=base64.b64encode(piece).decode())
                if number == 0:
                    await self._say(socket, "session.output_transcript.delta", delta="Hello there.")
                    await self._say(socket, "session.of_tomorrow", more=1)
                if number + 1 == self.hangs_up_after:
                    await socket.close(1011)
        elif kind == "session.commentary.append":
            self.context.append(event["content"])
            self.asked.set()
        elif kind == "session.close":
            await self._say(socket, "session.closed", reason="client")

    @staticmethod
    async def _say(socket: ServerConnection, kind: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": kind, "event_id": "evt_1", **fields}))


@asynccontextmanager
async def openai_live(**settings: Any) -> AsyncIterator[FakeOpenAILive]:
    """Run a server while the block runs."""
    fake = FakeOpenAILive(**settings)
    async with serve(fake.answer, "127.0.0.1", 0) as server:
        fake.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/live/sessions"
        yield fake
