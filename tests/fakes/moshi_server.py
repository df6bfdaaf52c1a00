"""Servers that speak ``/api/chat`` as the three real ones do, including their peculiarities.

The model is a mirror: it returns its input in frames of 80 ms, except for the first ones, which it swallows.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import numpy as np
import sphn
from aiohttp import WSMsgType, web
from numpy.typing import NDArray

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tests.fakes.moshi_behaviour import Behaviour, Visit


class FakeMoshiServer:
    """One server; it can be killed and started again on its port.

    Args:
        behaviour: may be changed at any time.
        tls: to speak https.
    """

    def __init__(self, behaviour: Behaviour | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.visits: list[Visit] = []
        self.gets = 0
        self.port = 0
        self.loaded_voices: list[str] = []
        self._tls = tls
        self._lock = asyncio.Lock()
        self._persona = ""
        self._runner: web.AppRunner | None = None
        self._requests: list[web.Request] = []

    @property
    def url(self) -> str:
        """The value for ``--server``."""
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    def talking(self) -> int:
        """The number of connected clients."""
        return sum(not visit.over for visit in self.visits)

    async def start(self) -> None:
        """Listen, on the previous port if there was one."""
        self._lock = asyncio.Lock()
        app = web.Application()
        app.router.add_get("/api/chat", self._chat)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """Close everything at once, without a farewell."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for request in list(self._requests):
            if request.transport is not None:
                request.transport.abort()
        await runner.cleanup()

    # A chat, as each of the three does it.

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        behaviour = self.behaviour
        if behaviour.token and request.headers.get("Authorization") != f"Bearer {behaviour.token}":
            raise web.HTTPUnauthorized
        if "Upgrade" not in request.headers:
            self.gets += 1
        if behaviour.dies == "upgrade" and "Upgrade" in request.headers:
            raise web.HTTPInternalServerError
        ws = web.WebSocketResponse()
        await ws.prepare(request)  # refuses a plain GET with 400
        visit = Visit(dict(request.query), dict(request.headers))
        self.visits.append(visit)
        self._requests.append(request)
        try:
            await {"kyutai": self._kyutai, "rust": self._rust, "personaplex": self._personaplex}[
                behaviour.kind
            ](ws, visit, request)
        except ConnectionResetError:
            pass  # it left
        finally:
            visit.over = True
            self._requests.remove(request)
            if not ws.closed:
                await ws.close()
        return ws

    async def _kyutai(self, ws: web.WebSocketResponse, visit: Visit, request: web.Request) -> None:
        visit.waited = self._lock.locked()
        async with self._lock:
            await self._load(self.behaviour.load_s, request)
            if await self._shake_hands(ws, b"\x00", request):
                await self._talk(ws, visit, request)

    async def _rust(self, ws: web.WebSocketResponse, visit: Visit, request: web.Request) -> None:
        await ws.send_bytes(b'\x04{"mimi":"1","lm":"2"}')
        await self._load(self.behaviour.load_s, request)
        if await self._shake_hands(ws, bytes(9), request):
            await self._talk(ws, visit, request)

    async def _personaplex(self, ws: web.WebSocketResponse, visit: Visit, request: web.Request) -> None:
        if "seed" in visit.query:
            raise KeyError("seed")
        voice, prompt = visit.query["voice_prompt"], visit.query["text_prompt"]  # KeyError, as there
        self.loaded_voices.append(voice)
        if not prompt:
            raise TypeError("object of type 'NoneType' has no len()")
        self._persona = prompt  # before the lock: a waiting client replaces the running one's
        visit.waited = self._lock.locked()
        async with self._lock:
            for _ in range(self.behaviour.prompt_steps):
                try:
                    message = await asyncio.wait_for(ws.receive(), max(self.behaviour.load_s, 0.001))
                except TimeoutError:
                    continue
                if message.type is not WSMsgType.BINARY:
                    return
                visit.eaten += 1
            visit.persona = self._persona
            if await self._shake_hands(ws, b"\x00", request):
                await self._talk(ws, visit, request)

    async def _load(self, load_s: float, request: web.Request) -> None:
        if self.behaviour.dies == "waiting":
            self._hang_up(request)
        await asyncio.sleep(load_s)

    async def _shake_hands(self, ws: web.WebSocketResponse, first: bytes, request: web.Request) -> bool:
        if not self.behaviour.handshakes:
            await ws.receive()
            return False
        if self.behaviour.babbles:
            await ws.send_bytes(b"\x06")
        await ws.send_bytes(first)
        if self.behaviour.dies == "handshake":
            self._hang_up(request)
        return True

    async def _talk(self, ws: web.WebSocketResponse, visit: Visit, request: web.Request) -> None:
        behaviour = self.behaviour
        reader = sphn.OpusStreamReader(SAMPLE_RATE_HZ)
        writer = sphn.OpusStreamWriter(SAMPLE_RATE_HZ)
        rest = np.zeros(0, np.float32)
        async for message in ws:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            if message.data[0] != 1:
                visit.unknown_kinds.append(message.data[0])
                if behaviour.kind == "rust":
                    return
                continue
            rest = np.concatenate((rest, reader.append_bytes(message.data[1:])))
            while rest.size >= FRAME_SAMPLES:
                frame, rest = rest[:FRAME_SAMPLES], rest[FRAME_SAMPLES:]
                visit.heard.append(frame)
                await asyncio.sleep(behaviour.step_s)
                if not await self._answer(ws, visit, request, writer, frame):
                    return

    async def _answer(
        self,
        ws: web.WebSocketResponse,
        visit: Visit,
        request: web.Request,
        writer: sphn.OpusStreamWriter,
        frame: NDArray[np.float32],
    ) -> bool:
        """Answer one frame; return False if it was the last."""
        behaviour, number = self.behaviour, len(visit.heard)
        if (behaviour.dies == "first frame" and number == 1) or (
            behaviour.dies == "talk" and number == behaviour.dies_at
        ):
            self._hang_up(request)
        if (behaviour.dies == "model" and number == behaviour.dies_at) or (
            behaviour.kind == "rust" and number >= min(behaviour.limit_frames, _max_steps(visit))
        ):
            return False
        if behaviour.error and number == 3:
            await ws.send_bytes(b"\x05" + behaviour.error.encode())
        if number <= behaviour.swallows or 0 < behaviour.silent_at <= number:
            return True
        ogg = writer.append_pcm(frame)
        if behaviour.garbles:
            ogg = b"Ogg" + ogg
            if number % 10 == 0:
                ogg = ogg[:-30] + bytes(30)
        parts = [ogg[: len(ogg) // 3], ogg[len(ogg) // 3 :]] if behaviour.splits else [ogg]
        for part in parts:
            await ws.send_bytes(b"\x01" + part)
        said = number - behaviour.swallows - 1
        if said < len(behaviour.words):
            await ws.send_bytes(b"\x02" + behaviour.words[said].encode())
        if behaviour.babbles:
            for extra in (b"", b"\x03\x00", b"\x04{}", b"\x06", b"\x07?", b"\xff", b"\x02"):
                await ws.send_bytes(extra)
            await ws.send_str("text")
        return True

    @staticmethod
    def _hang_up(request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError


def _max_steps(visit: Visit) -> int:
    return int(visit.query.get("max_steps", "4500"))


@asynccontextmanager
async def moshi_server(
    behaviour: Behaviour | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FakeMoshiServer]:
    """Run a server while the block runs."""
    server = FakeMoshiServer(behaviour, tls)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@contextmanager
def moshi_server_beside(behaviour: Behaviour | None = None) -> Iterator[FakeMoshiServer]:
    """Run a server in its own thread, for clients with their own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeMoshiServer(behaviour)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.kill(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
