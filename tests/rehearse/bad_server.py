"""A server with configurable faults, over real sockets: a mirror, its webhook and its health."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

STREAM = (
    '<Connect><Stream url="wss://a.example/stream"><Parameter name="token" value="t1"/></Stream></Connect>'
)


@dataclass
class BadServer:
    """Mirrors each packet.

    Attributes:
        delay_s: the delay of each answer.
        say: whether the webhook has a <Say> first.
        leaks: whether sessions stay open.
        breaks_after: packets after which it closes the socket.
        refuses: whether it closes each stream at once, as busy.
        stays: whether it leaves the socket open after stop.
        extra: undocumented fields in each message.
        tokens: of the streams.
        echoed: the acknowledged marks.
    """

    delay_s: float = 0.0
    say: bool = False
    leaks: bool = False
    breaks_after: int | None = None
    refuses: bool = False
    stays: bool = False
    extra: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    echoed: list[str] = field(default_factory=list)
    sessions: int = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/twiml", self.twiml)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/stream", self.stream)
        async with TestServer(app) as server:
            yield f"ws://127.0.0.1:{server.port}/stream"

    async def twiml(self, _: web.Request) -> web.Response:
        before = "<Say>Connecting you.</Say>" if self.say else ""
        return web.Response(text=f"<Response>{before}{STREAM}</Response>")

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"ready": True, "engine": "bad", "capacity": 1, "sessions": self.sessions})

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.refuses:
            await socket.close(code=1013, message=b"All 1 sessions are taken.")
            return socket
        self.sessions += 1
        try:
            await self._talk(socket)
        finally:
            self.sessions -= not self.leaks
        return socket

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        loop, packets, sending = asyncio.get_running_loop(), 0, set[asyncio.Task[None]]()
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            event = message.json()
            if event["event"] == "start":
                self.tokens.append(event["start"]["customParameters"].get("token"))
            elif event["event"] == "mark":
                self.echoed.append(event["mark"]["name"])
            elif event["event"] == "stop":
                if self.stays:
                    await asyncio.sleep(60)
                await socket.close()
            elif event["event"] == "media":
                packets += 1
                if packets == self.breaks_after:
                    await socket.close(code=1011, message=b"The engine broke.")
                answer = {"event": "media", "streamSid": event["streamSid"], **self.extra}
                answer["media"] = {"payload": event["media"]["payload"]}
                due_s = loop.time() + self.delay_s

                async def send(answer: dict[str, str] = answer, due_s: float = due_s) -> None:
                    await asyncio.sleep(due_s - loop.time())
                    with contextlib.suppress(ConnectionError):
                        await socket.send_json(answer)

                task = asyncio.ensure_future(send())
                sending.add(task)
                task.add_done_callback(sending.discard)
                if packets == 10:
                    mark = {"event": "mark", "streamSid": event["streamSid"], "mark": {"name": "tenth"}}
                    await socket.send_json(mark)
