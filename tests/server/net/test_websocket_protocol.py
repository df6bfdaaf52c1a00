"""Limits of one WebSocket's cost: peers that do not read, that ping endlessly, that send in tiny pieces."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from bot import run_call
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.runtime.direct_messages import direct_messages_of
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net import receive_threshold
from moshi_phone.server.net.connections import (
    AFTER_CLOSE,
    CLOSE_TIMEOUT,
    FLOOD,
    FRAGMENTS,
    NO_HANDSHAKE,
    NO_PONG,
    SEND_STALLED,
    ConnectionLimits,
    Connections,
)
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.net.socket_closing import close_socket
from moshi_phone.server.net.websocket_protocol import WebSocketProtocol, connection_of
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from tests.support.logs import Logged
from tests.support.phone import Phone, serving_app, start_message
from tests.support.raw_socket import CONTINUATION, PING, TEXT, RawSocket, frame, raw_socket, text
from tests.support.waiting import until

IMPATIENT = ConnectionLimits(head_secs=0.3, stalled_secs=0.3, closing_secs=0.3, check_secs=0.05)


@pytest.fixture
def connections() -> Connections:
    return Connections(IMPATIENT)


class App:
    """Accepts, then runs ``serve``: here, it counts the messages that it receives."""

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
    """Send endlessly, until the connection is cut off or nothing is accepted any more."""
    with suppress(ConnectionError, TimeoutError):
        while True:
            await peer.send(data, within_secs=1)


async def test_pings_of_a_peer_that_does_not_read_take_little_memory(connections: Connections) -> None:
    """A regression: one socket took 690 MB in 38 s, because every pong was queued."""
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


async def test_one_large_read_is_parsed_in_parts(connections: Connections) -> None:
    """A read of 40,000 messages never fills the queue, and the app receives all of them."""
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

        watching = asyncio.ensure_future(watch())
        await peer.send(frame(TEXT, b"{}") * 40_000)
        await until(lambda: app.received == 40_000)
        watching.cancel()
    assert longest < 1_000


class Taker(App):
    """Handles texts on arrival, except those that contain "later"."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.waits = asyncio.Event()  # cleared while the app does not receive
        self.waits.set()
        self.awaited = 0  # bytes

    def awaited_bytes(self) -> int:
        return self.awaited

    async def serve(self, websocket: WebSocket) -> None:
        connection, direct = connection_of(websocket), direct_messages_of(websocket)
        assert connection is not None
        assert direct is connection
        connection.admitted()
        direct.take_with(self.take, self.awaited_bytes)
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            self.received += 1
            self.texts.append(message.get("taken") or message["text"])
            await self.waits.wait()

    def take(self, text: str) -> str | None:
        if "later" in text:
            return f"taken {text}"
        self.texts.append(text)
        return None


@pytest.mark.parametrize("piece_bytes", [1, 7, 30, 10_000])
async def test_texts_are_handled_on_arrival_in_pieces_of_any_size(
    connections: Connections, piece_bytes: int
) -> None:
    app = Taker()
    texts = ["1", "2 later", "3", "é" * 100, "5 later"]
    sent = [frame(TEXT, one.encode()) for one in texts]
    sent.insert(3, frame(TEXT, b"in ", last=False) + frame(PING) + frame(CONTINUATION, b"two"))
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: app.sockets)
        data = b"".join(sent)
        for begin in range(0, len(data), piece_bytes):
            await peer.send(data[begin : begin + piece_bytes])
            await asyncio.sleep(0.001)
        await until(lambda: len(app.texts) == 6)
    assert [text.removeprefix("taken ") for text in app.texts] == [*texts[:3], "in two", *texts[3:]]
    assert 2 <= app.received < 6


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, each packet wakes the loop")
async def test_packets_wake_the_loop_once_enough_have_arrived(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_threshold, "MAX_WAIT_S", 60)
    app, reads = Taker(), list[int]()
    received = WebSocketProtocol.data_received

    def counting(self: WebSocketProtocol, data: bytes) -> None:
        reads.append(len(data))
        received(self, data)

    monkeypatch.setattr(WebSocketProtocol, "data_received", counting)
    packet = frame(TEXT, b"x" * 300)
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: app.sockets)
        reads.clear()
        app.awaited = 4 * 300
        await peer.send(packet)  # read at once: from now on, four are awaited
        await until(lambda: len(app.texts) == 1)
        for _ in range(8):
            await peer.send(packet)
            await asyncio.sleep(0.02)
        await until(lambda: len(app.texts) == 9)
        assert reads == [len(packet), 4 * len(packet), 4 * len(packet)]
        app.awaited = 0  # a mark has been sent: each message may be its acknowledgement
        direct = direct_messages_of(app.sockets[0])
        assert direct is not None
        assert direct.send_now("mark")
        await peer.send(frame(TEXT, b"played"))
        await until(lambda: len(app.texts) == 10)


async def test_direct_messages_do_not_overtake_waiting_ones(connections: Connections) -> None:
    """A burst of many pieces; every fourth message goes to the app, as with a phone's packets."""
    app = Taker()
    app.waits.clear()
    texts = [f"{n} {'later' if n % 4 == 3 else ''}".ljust(400) for n in range(100)]
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: app.sockets)
        await peer.send(b"".join(frame(TEXT, one.encode()) for one in texts))
        await asyncio.sleep(0.05)
        app.waits.set()
        await until(lambda: len(app.texts) == 100)
    assert [text.removeprefix("taken ") for text in app.texts] == texts


async def test_a_flood_of_direct_messages_does_not_block_the_loop(connections: Connections) -> None:
    app = Taker()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        most = before = 0

        async def watch() -> None:
            nonlocal most, before
            while True:
                most, before = max(most, len(app.texts) - before), len(app.texts)
                await asyncio.sleep(0)

        watching = asyncio.ensure_future(watch())
        await peer.send(frame(TEXT, b"{}") * 20_000)
        await until(lambda: len(app.texts) == 20_000)
        watching.cancel()
    assert most < 10_000  # 2 ms of parsing at a time; all at once without the turns


async def test_send_now_sends_at_once_or_not_at_all(connections: Connections) -> None:
    app = Taker()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: app.sockets)
        direct = direct_messages_of(app.sockets[0])
        assert direct is not None
        assert direct.send_now("é")
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 10) == b"\x81\x02" + "é".encode()
        sent = 0
        while direct.send_now("x" * 900):  # the peer does not read
            sent += 1
        assert 16 < sent < 10_000
        await until(lambda: connections.cut_off[SEND_STALLED])
        assert not direct.send_now("cut off")


async def test_a_message_in_too_many_fragments_is_cut_off(connections: Connections) -> None:
    async with serving_app(uvicorn_config(App(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await peer.send(frame(TEXT, last=False))
        await flood(peer, frame(CONTINUATION, last=False) * 100)
    assert connections.cut_off == {FRAGMENTS: 1}


async def test_a_message_that_is_too_long_closes_the_connection(connections: Connections) -> None:
    async with serving_app(uvicorn_config(App(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await peer.send(frame(TEXT, b"x" * 60_000, last=False) + frame(CONTINUATION, b"x" * 60_000))
        answer = await peer.read()
        assert (answer[0], answer[2:4]) == (0x88, (1009).to_bytes(2))  # closed: message too big


async def test_a_peer_that_does_not_read_is_cut_off(connections: Connections) -> None:
    app = Talker()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: connections.cut_off[SEND_STALLED])
        await asyncio.wait_for(app.over.wait(), 10)


async def test_a_peer_that_does_not_answer_pings_is_cut_off() -> None:
    connections = Connections(ConnectionLimits(ping_secs=0.1, check_secs=0.05))
    app = App()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: connections.cut_off[NO_PONG])
        await asyncio.wait_for(app.over.wait(), 10)


class Closer(App):
    """Fills the socket's buffers, then closes it."""

    async def serve(self, websocket: WebSocket) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await Talker().serve(websocket)
        await close_socket(websocket, 1000, "enough", within_secs=0.2)


async def test_closing_does_not_wait_for_a_peer_that_does_not_read() -> None:
    connections = Connections(ConnectionLimits(stalled_secs=60, closing_secs=0.3, check_secs=0.05))
    app = Closer()
    async with serving_app(uvicorn_config(app, connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await asyncio.wait_for(app.over.wait(), 10)
        await until(lambda: connections.cut_off[CLOSE_TIMEOUT])


class Leaver(App):
    """Sends a little more than the system buffers, then closes: the rest stays in the write buffer."""

    async def serve(self, websocket: WebSocket) -> None:
        connection = connection_of(websocket)
        assert connection is not None
        while connection.transport.get_write_buffer_size() == 0:
            await websocket.send_text("x" * 900)
        await close_socket(websocket, 1000, "enough")


async def test_unsent_data_does_not_keep_a_closed_socket_open() -> None:
    connections = Connections(ConnectionLimits(stalled_secs=60, closing_secs=0.3, check_secs=0.05))
    async with serving_app(uvicorn_config(Leaver(), connections)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await until(lambda: connections.cut_off[CLOSE_TIMEOUT])


async def test_the_server_stops_although_a_peer_does_not_read() -> None:
    connections = Connections(ConnectionLimits(stalled_secs=600, closing_secs=600))
    loop = asyncio.get_running_loop()
    async with raw_socket_to_a(Leaver(), connections) as peer:
        await peer.upgrade()
        await asyncio.sleep(0.2)
        began_s = loop.time()
    assert loop.time() - began_s < 30


@asynccontextmanager
async def raw_socket_to_a(app: App, connections: Connections) -> AsyncIterator[RawSocket]:
    """Serve an app, and stop serving before the peer disconnects."""
    async with AsyncExitStack() as peers, serving_app(uvicorn_config(app, connections)) as address:
        yield await peers.enter_async_context(raw_socket(address))


async def test_the_oldest_waiting_connections_make_room_for_a_call() -> None:
    """Idle connections occupy every place; a call is still accepted."""
    line = ServerState(ParrotEngine(delay_s=0), Settings(server=ServerOptions(start_secs=60)))
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


async def test_a_start_in_two_pieces_with_media_behind_it_starts_a_call(connections: Connections) -> None:
    """The network may split the messages like this."""
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
    await asyncio.wait_for(line.calls.wait_until_idle(), 10)


def refusing() -> object:
    """Return the server's app, which refuses every stream, because its engine was not started."""
    return create_app(ServerState(ParrotEngine()), run_call)


@pytest.mark.parametrize(
    "message", [frame(TEXT), frame(TEXT, b"x" * 500), frame(TEXT, last=False) + frame(CONTINUATION)]
)
async def test_a_peer_that_keeps_sending_after_our_close_is_cut_off(message: bytes) -> None:
    """A regression: everything was parsed, and one turn of the loop took 3.4 s, repeatedly."""
    patient = Connections(ConnectionLimits(closing_secs=20, check_secs=0.05))
    async with serving_app(uvicorn_config(refusing(), patient)) as address, raw_socket(address) as peer:
        await peer.upgrade()
        await peer.send(text({"event": "media", "media": {"payload": "AAAA"}}))
        with suppress(ConnectionError):
            await peer.send(message * (300_000 // len(message)))
        await until(lambda: patient.cut_off)
    assert patient.cut_off == {AFTER_CLOSE: 1}


async def test_data_in_flight_at_our_close_does_not_prevent_the_close_code(connections: Connections) -> None:
    async with (
        serving_app(uvicorn_config(refusing(), connections)) as address,
        Phone.calling(address) as phone,
    ):
        for _ in range(100):
            await phone.send({"event": "media", "media": {"payload": "AAAA" * 50}})
        assert (await phone.closed())[0] == 1013
    assert not connections.cut_off


HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)
MALFORMED = {
    "a body": (HANDSHAKE % (b"/stream", b"Content-Length: 3\r\n") + b"abc", 400),
    "a body in chunks": (HANDSHAKE % (b"/stream", b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
    "too many headers": (HANDSHAKE % (b"/stream", b"a: b\r\n" * 125), 431),
    "a header that is too long": (HANDSHAKE % (b"/stream", b"a: " + b"b" * 8_200 + b"\r\n"), 431),
    "a path that is too long": (HANDSHAKE % (b"/" + b"s" * 8_200, b""), 414),
    "a key that is none": (HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"x") % (b"/stream", b""), 400),
    "another version": (HANDSHAKE.replace(b"Version: 13", b"Version: 7") % (b"/stream", b""), 400),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_handshake_is_answered(name: str, connections: Connections) -> None:
    """A regression: some were never answered, and never timed out."""
    data, status = MALFORMED[name]
    async with serving_app(uvicorn_config(refusing(), connections)) as address:
        async with raw_socket(address) as peer:
            await peer.send(data)
            assert (await peer.read()).startswith(b"HTTP/1.1 %d " % status)
        async with Phone.calling(address) as phone:
            assert (await phone.closed())[0] == 1013
    assert connections.waiting == 0


async def test_a_handshake_has_a_time_limit(connections: Connections) -> None:
    async def undecided(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] == "websocket":
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async with serving_app(uvicorn_config(undecided, connections)) as address, raw_socket(address) as peer:
        await peer.send(HANDSHAKE % (b"/stream", b""))
        assert await peer.read() == b""
    assert connections.cut_off == {NO_HANDSHAKE: 1}


async def test_a_message_sent_with_the_handshake_is_read(connections: Connections) -> None:
    async with serving_app(uvicorn_config(refusing(), connections)) as address, raw_socket(address) as peer:
        await peer.send(HANDSHAKE % (b"/stream", b"") + text({"event": "stop"}))
        assert b"expected start first, got stop" in await peer.read()


async def test_frames_sent_with_the_handshake_wait_for_its_answer(
    connections: Connections, logged: Logged
) -> None:
    """A regression: a malformed one ended in a traceback, because a connection cannot be closed before its
    handshake.
    """
    async with serving_app(uvicorn_config(refusing(), connections)) as address:
        for data in (frame(0x3), frame(TEXT, b"\xff"), frame(PING) * 10, frame(0x8, b"x")):
            async with raw_socket(address) as peer:
                await peer.send(HANDSHAKE % (b"/stream", b"") + data)
                await asyncio.sleep(0.05)
                await peer.send(text({"event": "stop"}))
                assert (await peer.read()).startswith(b"HTTP/1.1 101 ")
    assert "could not be parsed" not in logged.text


async def test_a_connection_that_fails_to_close_does_not_affect_the_others(
    monkeypatch: pytest.MonkeyPatch, connections: Connections
) -> None:
    """A regression: an unfinished handshake raised an AssertionError at SIGTERM, and the others got no close
    frame.
    """
    app = App()

    def fails(*_: object) -> None:
        raise AssertionError

    async with AsyncExitStack() as stack:
        async with serving_app(uvicorn_config(app, connections)) as address:
            peers = [await stack.enter_async_context(raw_socket(address)) for _ in range(3)]
            for peer in peers:
                await peer.upgrade()
            await until(lambda: len(app.sockets) == len(peers))
            for broken in (connection_of(websocket) for websocket in app.sockets[::2]):
                assert broken
                monkeypatch.setattr(broken.conn, "send_close", fails)
        farewells = [await peer.read() for peer in peers]
    assert sorted(farewell[:1] for farewell in farewells) == [b"", b"", b"\x88"]
