"""Anything that strangers send costs at most one log line, and no traceback."""

from __future__ import annotations

import logging
import re

import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.server.calls.state import ServerState
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving
from tests.support.raw_socket import TEXT, frame, raw_socket

FRAMES = {
    "no such opcode": frame(0x3, b"x"),
    "not masked": b"\x81\x01x",
    "no UTF-8": frame(TEXT, b"\xff\xfe"),
    "no UTF-8, in pieces": frame(TEXT, b"\xff", last=False) + frame(0x0, b"\xfe"),
    "reserved bits": b"\xf1\x80\0\0\0\0",
    "too long": b"\x81\xff" + (1 << 40).to_bytes(8) + b"\0\0\0\0",
    "a piece of nothing": frame(0x0, b"x"),
    "half a close code": frame(0x8, b"x"),
    "a close code that is none": frame(0x8, b"\xff\xff"),
    "a ping of 256 bytes": b"\x89\xfe\x01\x00\0\0\0\0" + b"x" * 256,
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "a stop before start": frame(TEXT, b'{"event":"stop"}'),
}


def line_of_the_stream() -> ServerState:
    return ServerState(
        FakeEngine(), auth=StreamAuth.for_account("f" * 32, PublicAddress("https://a.example"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMES)
async def test_a_malformed_frame_is_logged_in_one_line(
    name: str, logged: Logged, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(line_of_the_stream()) as address:
        monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)  # uvicorn's config said False
        async with raw_socket(address) as peer:
            await peer.upgrade()
            await peer.send(FRAMES[name])
            await peer.read()
        async with Phone.calling(address) as phone:
            assert (await phone.closed())[0] == 1008  # the next one is heard
    of_the_peer = [each for each in logged.lines if re.match("WARNING|ERROR", each)][:-1]
    assert len(of_the_peer) <= 1, of_the_peer
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
