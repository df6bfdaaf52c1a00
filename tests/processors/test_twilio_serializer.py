from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import Frame, InputDTMFFrame, InterruptionFrame, TextFrame

from processors.frames import MarkInputFrame, MarkOutputFrame, MulawInputFrame, MulawOutputFrame
from processors.twilio_serializer import STOPPED, VIOLATED, TwilioSerializer
from tests.support.logs import Logged
from tests.support.phone import start_message
from tests.support.simulated import run_simulated
from tests.telephony.test_media_stream import JSON, NEARLY


def media(payload: bytes, timestamp: int | None = None) -> str:
    body = {"payload": base64.b64encode(payload).decode()}
    if timestamp is not None:
        body["timestamp"] = str(timestamp)
    return json.dumps({"event": "media", "media": body})


async def test_messages_become_frames() -> None:
    serializer = TwilioSerializer("MZ1")
    assert await serializer.deserialize('{"event":"connected"}') is None
    for n in range(3):
        assert await serializer.deserialize(media(bytes([n]) * 160, n * 20)) is None
    heard = await serializer.deserialize(media(bytes([3]) * 160, 60))
    assert isinstance(heard, MulawInputFrame)
    assert heard.mulaw == b"".join(bytes([n]) * 160 for n in range(4))
    key = await serializer.deserialize('{"event":"dtmf","dtmf":{"digit":"#"}}')
    assert isinstance(key, InputDTMFFrame)
    assert key.button is KeypadEntry.POUND
    mark = await serializer.deserialize('{"event":"mark","mark":{"name":"played-1"}}')
    assert isinstance(mark, MarkInputFrame)
    assert mark.mark == "played-1"
    assert serializer.bad_messages == 0


async def test_frames_become_messages() -> None:
    serializer = TwilioSerializer("MZ1")
    said = await serializer.serialize(MulawOutputFrame(b"\xff"))
    assert json.loads(str(said)) == {"event": "media", "streamSid": "MZ1", "media": {"payload": "/w=="}}
    mark = await serializer.serialize(MarkOutputFrame("m"))
    assert json.loads(str(mark)) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m"}}
    assert await serializer.serialize(TextFrame("not for a phone")) is None


async def test_what_is_awaited_completes_a_frame_or_acknowledges_a_mark() -> None:
    serializer = TwilioSerializer("MZ1")
    assert serializer.awaited_bytes() == 0  # before the first packet
    packet = media(bytes(160))
    missing: list[float] = []
    for _ in range(4):
        await serializer.deserialize(packet)
        missing.append(serializer.awaited_bytes() / len(packet))
    # More than all but the last packet, less than all; with one missing, any message may matter.
    assert [round(packets, 1) for packets in missing] == [2.8, 1.8, 0, 3.8]
    await serializer.deserialize('{"event":"dtmf","dtmf":{"digit":"5"}}')
    assert serializer.awaited_bytes() / len(packet) == missing[-1]
    for mark in ("a", "b"):
        await serializer.serialize(MarkOutputFrame(mark))
        assert serializer.awaited_bytes() == 0
    await serializer.deserialize('{"event":"mark","mark":{"name":"a"}}')
    assert serializer.awaited_bytes() == 0
    await serializer.deserialize('{"event":"mark","mark":{"name":"b"}}')
    assert serializer.awaited_bytes() / len(packet) == missing[-1]
    await serializer.deserialize(media(bytes(640)))  # a packet of a whole frame
    assert serializer.awaited_bytes() == 0
    serializer.restart("MZ2")
    assert serializer.awaited_bytes() == 0


async def test_bad_messages_are_counted_and_skipped() -> None:
    serializer = TwilioSerializer("MZ1")
    for bad in (b"\0", "no", "[]", '{"event":"x"}', '{"event":"dtmf","dtmf":{"digit":"F"}}', "{}"):
        assert await serializer.deserialize(bad) is None
    assert serializer.bad_messages == 6


@pytest.mark.parametrize("foreign", [{"streamSid": "MZ2"}, {"track": "outbound"}, {"streamSid": 1}])
async def test_media_of_other_tracks_is_counted_and_skipped(
    foreign: dict[str, object], logged: Logged
) -> None:
    serializer = TwilioSerializer("MZ1")
    serializer.media_s = -1.0
    body = {"track": "inbound", "payload": "AAAA" * 160}
    own = {"event": "media", "streamSid": "MZ1", "media": body}
    other = {**own, "streamSid": foreign.get("streamSid", "MZ1")}
    other["media"] = {**body, "track": foreign.get("track", "inbound")}
    for _ in range(3):
        assert await serializer.deserialize(json.dumps(other)) is None
    assert serializer.media_s == -1.0  # it keeps no call alive either
    heard = [await serializer.deserialize(json.dumps(own)) for _ in range(2)]
    assert [frame.mulaw for frame in heard if isinstance(frame, MulawInputFrame)] == [bytes(640)]
    assert (serializer.foreign_media, serializer.bad_messages) == (3, 0)
    assert logged.text.count("Skipped media that is not the caller's") == 1


async def test_an_interruption_empties_twilios_buffer() -> None:
    said = await TwilioSerializer("MZ1").serialize(InterruptionFrame())
    assert json.loads(str(said)) == {"event": "clear", "streamSid": "MZ1"}


async def test_events_of_the_stream() -> None:
    serializer = TwilioSerializer("MZ1")
    seen: list[str] = []

    async def on_stopped(_: TwilioSerializer) -> None:
        seen.append("stopped")

    async def on_violated(_: TwilioSerializer, reason: str) -> None:
        seen.append(reason)

    serializer.add_event_handler(STOPPED, on_stopped)
    serializer.add_event_handler(VIOLATED, on_violated)
    await serializer.deserialize(json.dumps(start_message()))
    await serializer.deserialize('{"event":"stop"}')
    await serializer.cleanup()  # type: ignore[no-untyped-call] # waits for the handlers
    assert seen == ["expected one start, got a second", "stopped"]


@given(
    st.lists(st.text() | st.binary() | (JSON | NEARLY).map(json.dumps), max_size=8), st.binary(max_size=900)
)
def test_any_input_leaves_the_call_running(messages: list[str | bytes], packet: bytes) -> None:
    """Arbitrary text, JSON and packet sizes raise nothing, and later audio passes."""

    async def main() -> list[Frame | None]:
        serializer = TwilioSerializer("MZ1")
        for message in messages:
            await serializer.deserialize(message)
        await serializer.deserialize(media(packet))
        return [await serializer.deserialize(media(bytes(640)))]

    heard = run_simulated(main())[0]
    assert isinstance(heard, MulawInputFrame)


@pytest.mark.parametrize("gaps", [False, True])
async def test_audio_faster_than_real_time_ends_the_stream(gaps: bool) -> None:
    """190 times real time used to be accepted and recorded: 143 MB in 10 s."""
    serializer, reasons = TwilioSerializer("MZ1"), list[str]()

    async def on_violated(_: TwilioSerializer, reason: str) -> None:
        reasons.append(reason)

    serializer.add_event_handler(VIOLATED, on_violated)
    # All of it, or a packet and a gap in the timestamps, which is filled with silence.
    seconds = [media(b"\xff" * (160 if gaps else 8_000), timestamp=1_000 * n) for n in range(20)]
    for second in seconds[:10]:
        assert await serializer.deserialize(second) is not None or second is seconds[0]
    assert reasons == []
    assert [await serializer.deserialize(second) for second in seconds[10:]][-1] is None
    await asyncio.sleep(0.01)
    assert set(reasons) == {"audio came 10 s ahead of its time"}
