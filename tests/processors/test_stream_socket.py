from __future__ import annotations

import asyncio
from collections.abc import Callable

from moshi_phone.runtime.direct_messages import EXTENSION, TakeText
from processors.stream_socket import StreamSocket
from tests.support.simulated import run_simulated


def test_a_lost_socket_can_be_replaced() -> None:
    async def main() -> None:
        first, second, third = object(), object(), object()
        stream = StreamSocket(first)  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        for before, after in ((first, second), (second, third)):
            assert stream.websocket is before
            stream.lose()
            assert stream.websocket is None
            assert not await stream.replaced_within(0)
            assert not await stream.replaced_within(1)
            loop.call_later(0.5, stream.replace, after)  # type: ignore[arg-type]
            assert await stream.replaced_within(1)
            assert await stream.replaced_within(0)
        assert stream.replace(first) is third, "which was not lost"  # type: ignore[arg-type]
        assert loop.time() < 3.1

    run_simulated(main())


class Direct:
    """A connection that supports direct messages."""

    def __init__(self) -> None:
        self.scope = {"extensions": {EXTENSION: {"connection": self}}}
        self.take: TakeText | None = None
        self.awaited_bytes: Callable[[], int] | None = None
        self.sent: list[str] = []

    def take_with(self, take: TakeText | None, awaited_bytes: Callable[[], int] | None = None) -> None:
        self.take, self.awaited_bytes = take, awaited_bytes

    def send_now(self, text: str) -> bool:
        self.sent.append(text)
        return True


async def test_direct_messages_follow_the_socket() -> None:
    first, second, elsewhere = Direct(), Direct(), object()
    stream = StreamSocket(first)  # type: ignore[arg-type]
    stream.take_with(str, int)
    assert (first.take, first.awaited_bytes) == (str, int)
    assert stream.send_now("text")
    assert not stream.send_now(b"only texts")
    stream.replace(second)  # type: ignore[arg-type]
    assert (first.take, first.awaited_bytes) == (None, None)
    assert (second.take, second.awaited_bytes) == (str, int)
    stream.lose()
    assert second.take is None
    assert not stream.send_now("lost")
    stream.replace(first)  # type: ignore[arg-type]
    assert first.take is str
    stream.take_with(None)
    assert first.take is None
    stream.replace(elsewhere)  # type: ignore[arg-type]
    assert not stream.send_now("another server's socket")
    assert (first.sent, second.sent) == (["text"], [])
