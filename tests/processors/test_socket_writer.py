from __future__ import annotations

import asyncio

from fastapi import WebSocketDisconnect

from moshi_phone.runtime.direct_messages import EXTENSION, TakeText
from processors.socket_writer import KEPT_MESSAGES, MAX_UNSENT, STUCK_S, SocketWriter
from processors.stream_socket import StreamSocket
from tests.support.logs import Logged
from tests.support.simulated import run_simulated


class Ear:
    """A socket whose peer reads only when the test lets it."""

    def __init__(self) -> None:
        self.heard: list[str | bytes] = []
        self.listens = asyncio.Event()

    async def send_text(self, text: str) -> None:
        await self.listens.wait()
        self.heard.append(text)

    async def send_bytes(self, data: bytes) -> None:
        raise WebSocketDisconnect(1006)


def test_behind_a_stuck_send_the_oldest_messages_are_dropped(logged: Logged) -> None:
    async def main() -> None:
        ear = Ear()
        writer = SocketWriter(StreamSocket(ear))  # type: ignore[arg-type]
        task = asyncio.ensure_future(writer.run())
        kept = []
        for n in range(100):
            kept.append(writer.send(str(n)))
            await asyncio.sleep(0.08)
        ear.listens.set()
        await writer.flush(1)
        # The first one was in flight when the send got stuck.
        assert ear.heard == [str(n) for n in (0, *range(100 - KEPT_MESSAGES, 100))]
        assert writer.dropped_messages == 100 - 1 - KEPT_MESSAGES
        assert kept.index(False) * 0.08 >= STUCK_S
        task.cancel()

    run_simulated(main())
    assert logged.text.count("The peer is not reading") == 1


def test_a_burst_that_the_peer_reads_is_sent_completely() -> None:
    """With a limit on messages alone, all but 16 were dropped, and a healthy peer was blamed."""

    async def main() -> None:
        ear = Ear()
        ear.listens.set()
        writer = SocketWriter(StreamSocket(ear))  # type: ignore[arg-type]
        task = asyncio.ensure_future(writer.run())
        await asyncio.sleep(0)
        kept = [writer.send(str(n)) for n in range(100)]
        assert all(kept)
        await writer.flush(1)
        assert len(ear.heard) == 100
        task.cancel()

    run_simulated(main())


def test_an_endless_burst_is_bounded() -> None:
    async def main() -> None:
        writer = SocketWriter(StreamSocket(Ear()))  # type: ignore[arg-type]
        for n in range(MAX_UNSENT + 5):
            writer.send(str(n))
        assert writer.dropped_messages == 5

    run_simulated(main())


def test_cleared_messages_are_not_sent() -> None:
    async def main() -> None:
        ear = Ear()
        writer = SocketWriter(StreamSocket(ear))  # type: ignore[arg-type]
        writer.send("old")
        writer.clear()
        writer.send("new")
        ear.listens.set()
        task = asyncio.ensure_future(writer.run())
        await writer.flush(1)
        assert ear.heard == ["new"]
        task.cancel()

    run_simulated(main())


def test_after_a_loss_the_next_socket_gets_new_messages_only() -> None:
    async def main() -> None:
        ear, stream = Ear(), StreamSocket(Ear())  # type: ignore[arg-type]
        ear.listens.set()
        writer = SocketWriter(stream)
        task = asyncio.ensure_future(writer.run())
        writer.send(b"its socket is closed")
        await writer.flush(1)
        writer.send("nobody takes it")
        await writer.flush(1)
        stream.lose()
        for n in range(3 * KEPT_MESSAGES):
            assert writer.send(str(n))
        stream.replace(ear)  # type: ignore[arg-type]
        writer.send("new")
        await writer.flush(1)
        assert ear.heard == ["new"]
        assert writer.dropped_messages == 0
        task.cancel()

    run_simulated(main())


class FullEar(Ear):
    """A connection whose buffer is sometimes full."""

    def __init__(self) -> None:
        super().__init__()
        self.listens.set()
        self.scope = {"extensions": {EXTENSION: {"connection": self}}}
        self.has_room = True

    def take_with(self, take: TakeText | None) -> None:
        pass

    def send_now(self, text: str) -> bool:
        if self.has_room:
            self.heard.append(text)
        return self.has_room


def test_messages_are_sent_at_once_if_there_is_room_and_none_waits() -> None:
    async def main() -> None:
        ear = FullEar()
        writer = SocketWriter(StreamSocket(ear))  # type: ignore[arg-type]
        task = asyncio.ensure_future(writer.run())
        await asyncio.sleep(0)
        writer.send("1")
        assert ear.heard == ["1"]
        ear.has_room = False
        writer.send("2")
        ear.has_room = True
        writer.send("3")
        assert ear.heard == ["1"]
        await writer.flush(1)
        writer.send("4")
        assert ear.heard == ["1", "2", "3", "4"]
        task.cancel()

    run_simulated(main())
