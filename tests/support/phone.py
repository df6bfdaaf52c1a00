"""A test's server on real sockets, and a caller with Twilio's protocol."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from streamdouble.protocol import StreamIdentity, build_connected, build_media, build_start
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bot import run_call
from moshi_phone.audio.g711 import SILENCE
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.web.app import create_app

SILENT_PACKET = bytes([SILENCE]) * 160


def start_message(
    sid: str = "MZ1",
    parameters: dict[str, str] | None = None,
    media_format: dict[str, Any] | None = None,
    call_sid: str = "CA1",
) -> dict[str, Any]:
    """Return a start message as Twilio sends it."""
    message: dict[str, Any] = build_start(
        StreamIdentity(sid, "AC1", call_sid), 1, custom_parameters=parameters
    )
    if media_format is not None:
        message["start"]["mediaFormat"] = media_format
    return message


@asynccontextmanager
async def serving(line: ServerState, port: int = 0) -> AsyncIterator[str]:
    """Serve on this machine, by default on a free port, with a started engine; yield its address."""
    await line.startup.run(line.engine, lambda _: None)
    try:
        async with serving_app(uvicorn_config(create_app(line, run_call)), port) as address:
            yield address
    finally:
        await line.engine.stop()
        assert await asyncio.to_thread(line.files.flush, 5), "the disk does not keep up"


@asynccontextmanager
async def serving_app(config: uvicorn.Config, port: int = 0) -> AsyncIterator[str]:
    """Serve any app on a port of this machine (0: a free one); yield ``127.0.0.1:PORT``."""
    listener = listen("127.0.0.1", port)
    listener.listen()  # uvicorn would do it later: connections wait from now on
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    except BaseException:
        server.force_exit = True  # a test that fails during a call leaves the call open
        raise
    finally:
        server.should_exit = True
        await running


class Phone:
    """One connection to ``/stream``."""

    def __init__(self, socket: ClientConnection, stream_sid: str = "MZ1") -> None:
        self.socket = socket
        self.stream_sid = stream_sid
        self.packets_sent = 0
        self.heard = b""
        self.marks: list[str] = []

    @classmethod
    @asynccontextmanager
    async def calling(
        cls, address: str, start: dict[str, Any] | None = None, path: str = "/stream"
    ) -> AsyncIterator[Phone]:
        """Connect and send the first messages of a call."""
        # Without a limit: unread messages would delay the other side's close by 10 s.
        async with connect(f"ws://{address}{path}", max_queue=None) as socket:
            start = start or start_message()
            phone = cls(socket, start["streamSid"])
            await phone.send(build_connected())
            await phone.send(start)
            yield phone

    async def send(self, message: object) -> None:
        """Send anything as JSON."""
        await self.socket.send(json.dumps(message))

    async def say(self, mulaw: bytes = SILENT_PACKET, times: int = 1) -> None:
        """Send packets at once; the server accepts fast callers."""
        for _ in range(times):
            sent = self.packets_sent
            await self.send(
                build_media(StreamIdentity(self.stream_sid), sent + 2, sent + 1, sent * 20, mulaw)
            )
            self.packets_sent += 1

    async def listen(self, frames: int) -> bytes:
        """Wait for frames of 80 ms, and return all audio received since the start."""
        wanted = len(self.heard) + frames * 640
        while len(self.heard) < wanted:
            message = json.loads(await self.socket.recv())
            if message["event"] == "media":
                self.heard += base64.b64decode(message["media"]["payload"])
            elif message["event"] == "mark":
                self.marks.append(message["mark"]["name"])
        return self.heard

    async def closed(self) -> tuple[int, str]:
        """Wait until the other side closes; return code and reason."""
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed:
            return self.socket.close_code or 0, self.socket.close_reason or ""
