from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.websockets import WebSocket

from moshi_phone.server.net.socket_closing import close_socket, shortened
from tests.support.logs import Logged
from tests.support.simulated import run_simulated

# Metal's own words, as mlx raises them.
OUT_OF_MEMORY = (
    "[METAL] Command buffer execution failed: Insufficient Memory (00000008:"
    "kIOGPUCommandBufferCallbackErrorOutOfMemory). The session is lost; the engine may live on, or may not."
)


def test_a_short_reason_is_unchanged() -> None:
    assert shortened("the caller hung up") == "the caller hung up"
    assert shortened("x" * 123) == "x" * 123


def test_a_long_reason_is_cut_at_a_character_boundary() -> None:
    assert shortened(OUT_OF_MEMORY).encode() == OUT_OF_MEMORY.encode()[:120] + "…".encode()
    assert shortened("ü" * 62) == "ü" * 60 + "…"
    assert shortened("🦜" * 31) == "🦜" * 30 + "…"


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_reason_fits(reason: str) -> None:
    assert len(shortened(reason).encode()) <= 123


async def accepted(send: Any) -> WebSocket:
    async def receive() -> Any:
        return {"type": "websocket.connect"}

    websocket = WebSocket({"type": "websocket", "headers": [], "path": "/"}, receive, send)
    await websocket.accept()
    return websocket


def test_an_unwritable_socket_is_given_up(logged: Logged) -> None:
    """uvicorn's ``send`` waits until the socket can be written to, which may be never."""

    async def main() -> None:
        async def send(message: Any) -> None:
            if message["type"] == "websocket.close":
                await asyncio.Event().wait()

        await close_socket(await accepted(send), 1000, "enough", within_secs=3)
        assert asyncio.get_running_loop().time() == 3

    run_simulated(main())
    assert "could not be closed in 3 s" in logged.text


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed before")])
async def test_the_other_side_may_close_first(error: Exception) -> None:
    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            raise error

    await close_socket(await accepted(send), 1000, "enough")


async def test_it_is_closed_once() -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    websocket = await accepted(send)
    await close_socket(websocket, 1000, "enough")
    await close_socket(websocket, 1000, "enough")
    assert sent == ["websocket.accept", "websocket.close"]
