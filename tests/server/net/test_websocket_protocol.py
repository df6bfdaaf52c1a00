"""What one WebSocket may cost: peers who do not read, who ping without end, who send in crumbs."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from bot import run_call
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.lifecycle import uvicorn_config
from moshi_phone.server.net.connections import (
    CLOSE_TIMEOUT,
    FLOOD,
    FRAGMENTS,
    NO_PONG,
    SEND_STALLED,
    ConnectionLimits,
    Connections,
)
from moshi_phone.server.net.socket_closing import close_socket
from moshi_phone.server.net.websocket_protocol import connection_of
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.web.app import create_app
from tests.support.phone import Phone, serving_app, start_message
from tests.support.raw_socket import CONTINUATION, PING, TEXT, RawSocket, frame, raw_socket, text
from tests.support.waiting import until

IMPATIENT = ConnectionLimits(stalled_secs=0.3, closing_secs=0.3, check_secs=0.05)


@pytest.fixture
def connections() -> Connections:
    return Connections(IMPATIENT)


class App:
    """Accepts, and then does what a test says; ``talks`` sends audio without end."""

    def __init__(self) -> None:
        self.received = 0
        self.over = asyncio.Event()
        self.sockets: list[WebSocket] = []

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "websocket":
            return
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        self.sockets.append(websocket)
        with suppress(WebSocketDisconnect):
            await self.serve(websocket)
        self.over.set()

    async def serve(self, websocket: WebSocket) -> None:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            self.received += 1


class Talker(App):
    async def serve(self, websocket: WebSocket) -> None:
        while True:
            await websocket.send_text("x" * 900)


async def flood(peer: RawSocket, data: bytes) -> None:
    """Send without end, until cut off or until nobody takes it any more."""
    with suppress(ConnectionError, TimeoutError):
        while True:
            await peer.send(data, within_secs=1)


async def test_pings_without_reading_cost_next_to_nothing(connections: Connections) -> None:
    """690 MB in 38 s from one socket, where every pong was kept."""
    async with serving_app(uvicorn_config(App(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        tracemalloc.start()
        try:
            await flood(peer, frame(PING, b"x" * 125) * 500)
            _, most_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await until(lambda: connections.cut_off[FLOOD])
    assert most_bytes < 3_000_000


async def test_slow_pings_are_answered(connections: Connections) -> None:
    async with serving_app(uvicorn_config(App(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        for _ in range(20):
            await peer.send(frame(PING, b"hello"))
        loop = asyncio.get_running_loop()
        got = b""
        while len(got) < 20 * 7:
            got += await loop.sock_recv(peer.sock, 4_096)
        assert got == b"\x8a\x05hello" * 20
    assert not connections.cut_off


async def test_one_read_is_not_forty_thousand_messages(connections: Connections) -> None:
    """What one read brings is taken in piece by piece, and the app hears all of it."""
    app = App()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        longest = 0

        async def watch() -> None:
            nonlocal longest
            connection = connection_of(app.sockets[0])
            assert connection is not None
            while True:
                longest = max(longest, connection.queue.qsize())
                await asyncio.sleep(0)

        monitoring_router = asyncio.ensure_future(watch())
        await peer.send(frame(TEXT, b"{}") * 40_000)
        await until(lambda: app.received == 40_000)
        monitoring_router.cancel()
    assert longest < 1_000


async def test_a_message_in_crumbs(connections: Connections) -> None:
    async with serving_app(uvicorn_config(App(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await peer.send(frame(TEXT, last=False))
        await flood(peer, frame(CONTINUATION, last=False) * 100)
    assert connections.cut_off == {FRAGMENTS: 1}


async def test_a_message_that_is_too_long(connections: Connections) -> None:
    async with serving_app(uvicorn_config(App(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await peer.send(frame(TEXT, b"x" * 60_000, last=False) + frame(CONTINUATION, b"x" * 60_000))
        answer = await peer.read()
        assert (answer[0], answer[2:4]) == (0x88, (1009).to_bytes(2))  # closed: message too big


async def test_who_does_not_read_is_gone(connections: Connections) -> None:
    app = Talker()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: connections.cut_off[SEND_STALLED])
        await asyncio.wait_for(app.over.wait(), 10)


async def test_who_answers_no_ping_is_gone() -> None:
    connections = Connections(ConnectionLimits(ping_secs=0.1, check_secs=0.05))
    app = App()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: connections.cut_off[NO_PONG])
        await asyncio.wait_for(app.over.wait(), 10)


class Closer(App):
    """Fills the socket, and then closes it."""

    async def serve(self, websocket: WebSocket) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await Talker().serve(websocket)
        await close_socket(websocket, 1000, "enough", within_secs=0.2)


async def test_closing_waits_for_nobody() -> None:
    connections = Connections(ConnectionLimits(stalled_secs=60, closing_secs=0.3, check_secs=0.05))
    app = Closer()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await asyncio.wait_for(app.over.wait(), 10)
        await until(lambda: connections.cut_off[CLOSE_TIMEOUT])


class Leaver(App):
    """Sends a little more than the system takes, and goes: the rest waits in the write buffer."""

    async def serve(self, websocket: WebSocket) -> None:
        connection = connection_of(websocket)
        assert connection is not None
        while connection.transport.get_write_buffer_size() == 0:
            await websocket.send_text("x" * 900)
        await close_socket(websocket, 1000, "enough")


async def test_what_is_unsent_holds_no_closed_socket() -> None:
    connections = Connections(ConnectionLimits(stalled_secs=60, closing_secs=0.3, check_secs=0.05))
    async with serving_app(uvicorn_config(Leaver(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: connections.cut_off[CLOSE_TIMEOUT])


async def test_the_server_stops_though_somebody_does_not_read() -> None:
    connections = Connections(ConnectionLimits(stalled_secs=600, closing_secs=600))
    loop = asyncio.get_running_loop()
    async with raw_socket_to_a(Leaver(), connections) as peer:
        await peer.upgrade()
        await asyncio.sleep(0.2)
        began_s = loop.time()
    assert loop.time() - began_s < 30


@asynccontextmanager
async def raw_socket_to_a(app: App, connections: Connections) -> AsyncIterator[RawSocket]:
    """Serve an app, and stop serving before the peer goes."""
    async with AsyncExitStack() as peers, serving_app(uvicorn_config(app, connections)) as address:
        yield await peers.enter_async_context(raw_socket(address))


async def test_those_who_wait_too_long_make_room() -> None:
    """Strangers hold every place; a caller comes in all the same."""
    line = ServerState(ParrotEngine(delay_s=0), ServerOptions(start_secs=60))
    await line.engine.start(lambda _: None)
    connections = Connections(ConnectionLimits(waiting=8))
    config = uvicorn_config(create_app(line, run_call), connections)
    async with serving_app(config) as address, AsyncExitStack() as strangers:
        for _ in range(16):
            peer = await strangers.enter_async_context(raw_socket(address))
            await peer.upgrade()
        async with Phone.calling(address) as phone:
            await phone.say(times=4)
            assert len(await phone.listen(frames=1)) == 640
            assert connections.waiting == 7  # a call waits no more


async def test_a_call_is_still_a_call(connections: Connections) -> None:
    """The start in two pieces, media in one with it: as a network may cut it."""
    line = ServerState(ParrotEngine(delay_s=0))
    await line.engine.start(lambda _: None)
    media = {"event": "media", "media": {"payload": "/w=="}}
    async with (
        serving_app(uvicorn_config(create_app(line, run_call), connections)) as address,
        raw_socket(address) as peer,
    ):
        await peer.upgrade()
        start = text(start_message())
        await peer.send(start[:20])
        await asyncio.sleep(0.05)
        await peer.send(start[20:] + text(media) * 10)
        await until(lambda: line.calls.running)
    await asyncio.wait_for(line.calls.all_over(), 10)
