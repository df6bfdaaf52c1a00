"""Messages on a real WebSocket, valid and invalid."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

import pytest
from streamdouble.protocol import MEDIA_FORMAT
from websockets.asyncio.client import connect

from moshi_phone.audio.g711 import SILENCE
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message

TONE = bytes([0x10, 0x90]) * 80


@pytest.fixture
def line() -> ServerState:
    return ServerState(ParrotEngine(delay_s=0))


async def test_audio_comes_back_frame_by_frame(line: ServerState) -> None:
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.say(TONE, times=8)
        heard = await phone.listen(frames=2)
        assert len(heard) == 1_280
        assert heard.count(SILENCE) < 40  # the tone, but for the first 3 ms
        assert phone.marks == ["played-1", "played-2"]  # at the start, and behind the first audio
        await phone.send({"event": "stop"})
        assert await phone.closed() == (1000, "the caller hung up")
    assert (line.calls.served, line.engine.running) == (1, 0)


@pytest.mark.parametrize(
    "bad",
    [
        "not JSON",
        "[]",
        "{}",
        '{"event":"unknown"}',
        '{"event":"media"}',
        '{"event":"media","media":{"payload":5}}',
        '{"event":"media","media":{"payload":"*"}}',
        '{"event":"mark"}',
        '{"event":"dtmf","dtmf":{"digit":"X"}}',
        b"\x00binary",
    ],
)
async def test_invalid_messages_are_skipped_and_the_call_continues(
    line: ServerState, bad: str | bytes
) -> None:
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.socket.send(bad)
        await phone.say(TONE, times=2)
        await phone.socket.send(bad)
        await phone.say(TONE, times=2)
        assert len(await phone.listen(frames=1)) == 640


async def test_invalid_messages_before_the_start_are_skipped_too(line: ServerState) -> None:
    async with serving(line) as address, connect(f"ws://{address}/stream") as socket:
        for bad in ("hello", b"\0", "[]", '{"event":"connected"}'):
            await socket.send(bad)
        await socket.send(json.dumps(start_message()))
        phone = Phone(socket)
        await phone.say(times=4)
        assert len(await phone.listen(frames=1)) == 640


async def test_media_before_the_start_closes_the_socket(line: ServerState) -> None:
    async with serving(line) as address, connect(f"ws://{address}/stream") as socket:
        phone = Phone(socket)
        await phone.say()
        assert await phone.closed() == (1002, "expected start first, got media")
    assert line.refusals.by_cause == {"protocol": 1}
    assert line.calls.served == 0


async def test_a_second_start_closes_the_socket(line: ServerState) -> None:
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.send(start_message())
        assert await phone.closed() == (1002, "expected one start, got a second")


@pytest.mark.parametrize("change", [{"encoding": "audio/x-l16"}, {"sampleRate": 16_000}, {"channels": 2}])
async def test_another_audio_format_closes_the_socket(line: ServerState, change: dict[str, object]) -> None:
    start = start_message(media_format={**MEDIA_FORMAT, **change})
    async with serving(line) as address, Phone.calling(address, start) as phone:
        code, reason = await phone.closed()
    assert code == 1003
    assert reason.startswith("expected audio/x-mulaw at 8000 Hz")
    assert line.engine.running == 0


async def test_packets_of_odd_sizes_are_kept_in_order(line: ServerState) -> None:
    async with serving(line) as address, Phone.calling(address) as phone:
        for size in (1, 159, 161, 319, 640, 7, 633):
            payload = base64.b64encode(bytes(size)).decode()
            await phone.send({"event": "media", "media": {"payload": payload}})
        assert len(await phone.listen(frames=3)) == 3 * 640


async def test_a_gap_is_filled_with_silence(line: ServerState) -> None:
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.say(TONE)
        phone.packets_sent += 2  # two that never come
        await phone.say(TONE)
        heard = await phone.listen(frames=1)
    assert len(heard) == 640
    assert heard[220:460].count(SILENCE) > 200


async def test_a_clock_jump_is_followed(line: ServerState) -> None:
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.say(TONE, times=2)
        phone.packets_sent += 1_000_000
        await phone.say(TONE, times=2)
        assert len(await phone.listen(frames=1)) == 640


async def test_no_start_in_time_closes_the_socket() -> None:
    line = ServerState(ParrotEngine(), Settings(server=ServerOptions(start_secs=0.05)))
    async with serving(line) as address, connect(f"ws://{address}/stream") as socket:
        assert await Phone(socket).closed() == (1008, "expected a start within 0.05 s, got none")
    assert line.refusals.by_cause == {"late": 1}


async def test_a_socket_closed_before_the_start_is_not_a_call(line: ServerState) -> None:
    async with serving(line) as address:
        async with connect(f"ws://{address}/stream"):
            pass
        async with Phone.calling(address) as phone:  # the server lives on
            await phone.say(times=4)
            assert await phone.listen(frames=1)
    assert line.refusals.by_cause["protocol"] == 1


async def test_no_media_ends_the_call_and_frees_its_session() -> None:
    line = ServerState(ParrotEngine(), Settings(server=ServerOptions(idle_secs=0.2)))
    async with serving(line) as address, Phone.calling(address) as phone:
        assert await phone.closed() == (1000, "no media came for 0.2 s")
    assert (line.calls.served, line.engine.running) == (1, 0)


async def test_a_broken_socket_frees_the_session(line: ServerState) -> None:
    async with serving(line) as address:
        async with Phone.calling(address) as phone:
            await phone.say(times=4)
            await phone.listen(frames=1)
            assert line.engine.running == 1
            phone.socket.transport.abort()
        await asyncio.wait_for(line.calls.wait_until_idle(), 8)
        assert line.engine.running == 0


async def test_without_a_free_session_a_call_is_refused_and_running_ones_are_unaffected() -> None:
    line = ServerState(ParrotEngine(delay_s=0, capacity=1))
    async with serving(line) as address, Phone.calling(address) as first:
        await first.say(TONE, times=4)
        await first.listen(frames=1)
        async with Phone.calling(address, start_message("MZ2")) as second:
            assert await second.closed() == (1013, "All sessions of the parrot are taken (1).")
        await first.say(TONE, times=4)
        assert len(await first.listen(frames=1)) == 1_280
    assert line.refusals.by_cause == {"busy": 1}


async def test_an_engine_error_ends_that_call_and_no_other() -> None:
    line = ServerState(FakeEngine(fails_at=3))
    async with serving(line) as address, Phone.calling(address) as phone:
        async with Phone.calling(address, start_message("MZ2")) as other:
            await other.say(times=12)
            assert await other.closed() == (1011, "The fake engine failed, as asked.")
        await phone.say(times=4)
        assert len(await phone.listen(frames=1)) == 640
    assert line.calls.served == 2


@pytest.mark.parametrize(
    ("opens", "told"),
    [
        (lambda _: 1 / 0, "ERROR CA1 The engine fake opened no session"),
        (
            lambda _: None,
            "ERROR CA1 expected a DuplexSession from open_session of the engine fake, got NoneType",
        ),
    ],
)
async def test_a_user_s_engine_that_opens_no_session(
    opens: Callable[[object], None], told: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """The first ended in a traceback of 80 lines without a close code, the second in an endless call."""
    line = ServerState(FakeEngine())
    monkeypatch.setattr(line.engine, "open_session", opens)
    async with serving(line) as address, Phone.calling(address) as phone:
        assert await phone.closed() == (1011, "The engine opened no session; the server's log says why.")
    assert line.refusals.by_cause == {"engine": 1}
    assert told in logged.text


async def test_a_hanging_engine_ends_that_call() -> None:
    line = ServerState(FakeEngine(step_secs=lambda _: 3600), Settings(engine=EngineOptions(hang_secs=0.2)))
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.say(times=4)
        assert await phone.closed() == (1011, "The engine gave no answer for 0.2 s")
    assert line.engine.running == 0


async def test_simultaneous_calls_hear_only_their_own_audio(line: ServerState) -> None:
    tones = [bytes([0x10 + n, 0x90 + n]) * 80 for n in range(8)]

    async def call(address: str, n: int) -> bytes:
        async with Phone.calling(address, start_message(f"MZ{n}")) as phone:
            await phone.say(tones[n], times=40)
            return (await phone.listen(frames=10))[640:]

    async with serving(line) as address:
        alone = [await call(address, n) for n in range(8)]
        together = await asyncio.gather(*(call(address, n) for n in range(8)))
    assert together == alone
    assert len(set(alone)) == 8
