"""server/net/connection_guard.py in simulated time: when a connection is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from moshi_phone.server.net.connection_guard import UNSENT_BYTES, ConnectionGuard
from moshi_phone.server.net.connections import CLOSE_TIMEOUT, SEND_STALLED, ConnectionLimits, Connections
from tests.support.simulated import run_simulated

LIMITS = ConnectionLimits(stalled_secs=5, closing_secs=2, check_secs=0.5)


class Transport(asyncio.Transport):
    """A transport that records its calls."""

    closing = aborted = False
    limit_bytes: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit_bytes = high

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


class Peer:
    """A guarded connection."""

    def __init__(self, overdue: Callable[[float], str | None] = lambda _: None) -> None:
        self.connections = Connections(LIMITS)
        self.transport = Transport()
        loop = asyncio.get_running_loop()
        self.watch = ConnectionGuard(loop, self.transport, self.connections, self, overdue)

    def cut_off(self, cause: str) -> None:
        self.watch.cut_off(cause)


def simulate(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_simulated(test())


def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    async def test() -> None:
        peer = Peer()
        assert peer.transport.limit_bytes == UNSENT_BYTES
        peer.watch.writing_paused()
        await asyncio.sleep(5)
        assert not peer.transport.aborted
        await asyncio.sleep(1)
        assert peer.transport.aborted
        assert peer.connections.cut_off == {SEND_STALLED: 1}
        await asyncio.sleep(100)
        assert peer.connections.cut_off == {SEND_STALLED: 1}

    simulate(test)


def test_a_slow_peer_is_not_cut_off() -> None:
    async def test() -> None:
        peer = Peer()
        for _ in range(10):
            peer.watch.writing_paused()
            await asyncio.sleep(4)
            peer.watch.writing_resumed()
            await asyncio.sleep(4)
        assert not peer.connections.cut_off

    simulate(test)


def test_closing_has_a_time_limit() -> None:
    async def test() -> None:
        peer = Peer()
        await asyncio.sleep(100)
        peer.transport.closing = True
        await asyncio.sleep(2)
        assert not peer.transport.aborted
        await asyncio.sleep(1.1)
        assert peer.connections.cut_off == {CLOSE_TIMEOUT: 1}

    simulate(test)


def test_overdue_states() -> None:
    async def test() -> None:
        peer = Peer(lambda now_s: "it is too late" if now_s > 7 else None)
        await asyncio.sleep(7)
        assert not peer.connections.cut_off
        await asyncio.sleep(1)
        assert peer.connections.cut_off == {"it is too late": 1}

    simulate(test)


def test_a_lost_connection_is_not_cut_off() -> None:
    async def test() -> None:
        peer = Peer()
        peer.watch.writing_paused()
        peer.watch.stop()
        peer.cut_off(SEND_STALLED)
        await asyncio.sleep(100)
        assert not peer.transport.aborted
        assert not peer.connections.cut_off

    simulate(test)
