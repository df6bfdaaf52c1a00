from __future__ import annotations

import asyncio

import pytest

from moshi_phone.rehearse.reachable import Unreachable, check_reachable


async def test_a_server_of_any_protocol_is_reachable() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await check_reachable(f"ws://127.0.0.1:{port}/stream")
        with pytest.raises(Unreachable, match=r"Nobody answers at 127\.0\.0\.1:\d+ \("):
            await check_reachable(f"wss://127.0.0.1:{port}/stream")  # it speaks no TLS


@pytest.mark.parametrize("url", ["", "127.0.0.1:5001", "http://127.0.0.1:5001/stream", "ws://", "ws://h:x/s"])
async def test_invalid_stream_urls_are_reported(url: str) -> None:
    with pytest.raises(Unreachable, match="expected --url ws://"):
        await check_reachable(url)
