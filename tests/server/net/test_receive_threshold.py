from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from moshi_phone.server.net import receive_threshold
from moshi_phone.server.net.receive_threshold import ReceiveThreshold
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, connections are read at once")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Reads(asyncio.Protocol):
    """Records what is read at once."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.threshold = ReceiveThreshold(transport)
        self.threshold.wait_for(1000)

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Reads, asyncio.StreamWriter]]:
    """Yield a server's connection that waits for 1,000 bytes, and the peer's writer."""
    made: list[Reads] = []

    def make() -> Reads:
        made.append(Reads())
        return made[0]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await until(lambda: made)
    yield made[0], writer
    writer.close()
    server.close()
    await until(lambda: made[0].is_over)


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait much longer for the rest than any test lasts."""
    monkeypatch.setattr(receive_threshold, "MAX_WAIT_S", 60)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run a test on asyncio's loop and on the one that the server uses."""

    def run_on_loop(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main)

    return run_on_loop


@pytest.mark.usefixtures("_patient")
def test_bytes_wait_for_the_rest(run: Callable[..., None]) -> None:
    async def test() -> None:
        async with connected() as (connection, peer):
            for _ in range(4):
                peer.write(b"x" * 300)
                await asyncio.sleep(0.02)
            await until(lambda: connection.reads)
            assert list(map(len, connection.reads)) == [1200]
            connection.threshold.wait_for(0)
            peer.write(b"y")
            await until(lambda: len(connection.reads) == 2)

    run(test())


@pytest.mark.usefixtures("_patient")
def test_waiting_bytes_are_read_when_fewer_are_enough(run: Callable[..., None]) -> None:
    async def test() -> None:
        async with connected() as (connection, peer):
            peer.write(b"stop")
            await asyncio.sleep(0.05)
            assert not connection.reads
            connection.threshold.wait_for(0)
            await until(lambda: connection.reads == [b"stop"])

    run(test())


def test_a_peer_that_stops_in_mid_frame_is_read(run: Callable[..., None]) -> None:
    async def test() -> None:
        async with connected() as (connection, peer):
            peer.write(b"stop")
            await until(lambda: connection.reads == [b"stop"])

    run(test())


@pytest.mark.usefixtures("_patient")
def test_the_end_of_the_connection_is_noticed_at_once(run: Callable[..., None]) -> None:
    async def test() -> None:
        async with connected() as (connection, peer):
            peer.write(b"last")
            peer.close()
            await until(lambda: connection.is_over)
            assert connection.reads == [b"last"]
            connection.threshold.wait_for(1000)  # a closed socket cannot be set: ignored
            connection.threshold.wait_for(0)

    run(test())


async def test_a_transport_without_a_socket_is_read_as_usual() -> None:
    threshold = ReceiveThreshold(asyncio.Transport())
    threshold.wait_for(1000)
    threshold.wait_for(0)
