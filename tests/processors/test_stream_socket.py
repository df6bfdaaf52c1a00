from __future__ import annotations

import asyncio

from processors.stream_socket import StreamSocket
from tests.support.simulated import run_simulated


def test_a_socket_is_lost_and_replaced() -> None:
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
