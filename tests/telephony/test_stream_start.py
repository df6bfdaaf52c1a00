from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import WebSocket
from streamdouble.protocol import build_connected

from moshi_phone.access.refusal import POLICY_VIOLATION, PROTOCOL_ERROR, UNSUPPORTED, StreamRefused
from moshi_phone.telephony.stream_start import MAX_BYTES, MAX_MESSAGES, read_start
from tests.support.phone import start_message


def socket(*messages: object) -> WebSocket:
    """A socket that receives these messages, and then nothing."""
    waiting = [
        message if isinstance(message, dict) and "type" in message else {"text": json.dumps(message)}
        for message in messages
    ]

    async def receive() -> dict[str, Any]:
        if not waiting:
            raise TimeoutError  # as the time limit would
        return {"type": "websocket.receive"} | waiting.pop(0)

    async def send(_: object) -> None:
        pass

    made = WebSocket({"type": "websocket"}, receive, send)
    made.client_state = made.client_state.CONNECTED
    return made


async def refused(*messages: object) -> tuple[str, int]:
    with pytest.raises(StreamRefused) as refusal:
        await read_start(socket(*messages), within_secs=5)
    return refusal.value.refusal.cause, refusal.value.code


async def test_the_start_follows_connected_and_invalid_messages_are_skipped() -> None:
    start = await read_start(
        socket(build_connected(), [], {"event": "strange"}, start_message("MZ7")), within_secs=5
    )
    assert start.stream_sid == "MZ7"


async def test_other_first_messages_are_refused() -> None:
    assert await refused({"event": "stop"}) == ("protocol", PROTOCOL_ERROR)
    assert await refused({"type": "websocket.disconnect", "code": 1006}) == ("protocol", PROTOCOL_ERROR)


async def test_another_audio_format_is_refused() -> None:
    wide = {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1}
    assert await refused(start_message(media_format=wide)) == ("format", UNSUPPORTED)


async def test_a_missing_start_times_out() -> None:
    assert await refused(build_connected()) == ("late", POLICY_VIOLATION)


async def test_the_number_of_messages_before_a_start_is_limited() -> None:
    """Ten seconds of arbitrary data used to be read at full speed: 120 sockets caused gaps in every call."""
    assert await refused(*[{}] * MAX_MESSAGES, start_message()) == ("protocol", PROTOCOL_ERROR)
    assert (await read_start(socket(*[{}] * (MAX_MESSAGES - 1), start_message()), within_secs=5)).call_sid


async def test_the_number_of_bytes_before_a_start_is_limited() -> None:
    halves = "x" * (MAX_BYTES // 2), "y" * (MAX_BYTES // 2)
    assert await refused(*halves, start_message()) == ("protocol", PROTOCOL_ERROR)


async def test_already_read_messages_come_first() -> None:
    first = [json.dumps(build_connected()), json.dumps(start_message("MZ7"))]
    assert (await read_start(socket(), within_secs=5, first=first)).stream_sid == "MZ7"
    assert (
        await read_start(socket(start_message("MZ8")), within_secs=5, first=first[:1])
    ).stream_sid == "MZ8"
