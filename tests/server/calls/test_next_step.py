"""A phone call outlives its stream and its session: whole calls over sockets, and Twilio's instructions."""

from __future__ import annotations

import asyncio
import re
from xml.etree import ElementTree

import pytest

from moshi_phone.access.public_address import PublicAddress
from moshi_phone.server.calls import next_step as module
from tests.fakes.twilio_api import FakeTwilioApi
from tests.fakes.twilio_voice import HungUp
from tests.server.talking_line import CALL, LOUD, OTHER, PERSON, PUBLIC, Line, TalkingEngine, press, talk
from tests.support.phone import Phone
from tests.support.waiting import until


def line_of(twilio: FakeTwilioApi, engine: TalkingEngine | None = None, **options: object) -> Line:
    """Create a server whose sessions end with their streams, like those of a killed process."""
    return Line(twilio, engine or TalkingEngine(), resume_secs=0, **options)


async def ring(line: Line, call_sid: str = CALL) -> str:
    return await line.voice.call_in(f"{PUBLIC}/twiml", call_sid)


async def lose(phone: Phone, line: Line) -> None:
    """Reset the stream's socket, and wait until the server has seen it."""
    phone.socket.transport.abort()
    await until(lambda: not line.state.calls.running)


def verbs(twiml: str) -> list[str]:
    return [verb.tag for verb in ElementTree.fromstring(twiml)]  # noqa: S314 - our own


async def test_a_broken_stream_is_followed_by_another(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    async with line_of(twilio, engine, resume_notice="Sorry, we were cut off.").serving() as line:
        twiml = await ring(line)
        assert re.search(r"/twiml/next\?q=\w+&amp;resumes=0#rc=5&amp;rp=all&amp;ct=2000&amp;rt=5000<", twiml)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            await lose(phone, line)
        twiml = await line.voice.after(twiml, CALL)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            assert line.updates() == [], "nobody was hung up"
            await phone.send({"event": "stop"})
            await phone.closed()
    assert engine.opened == 2
    assert engine.spoken == ["Sorry, we were cut off."]


async def test_after_too_many_streams_the_fallback_follows(twilio: FakeTwilioApi) -> None:
    async with line_of(twilio, resumes=2, fallback_to=PERSON).serving() as line:
        twiml = await ring(line)
        for _ in range(3):
            async with line.call(twiml=twiml) as phone:
                await talk(phone)
                await lose(phone, line)
            twiml = await line.voice.after(twiml, CALL)
    assert verbs(twiml) == ["Dial"]


async def test_a_regularly_ended_call_is_not_resumed(twilio: FakeTwilioApi) -> None:
    async with line_of(twilio).serving() as line:
        line.state.rest = None  # so that only the answer to Twilio's question can end it
        twiml = await ring(line)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            next(iter(line.state.calls.running)).request_end("the caller pressed #")
            await phone.closed()
            await line.state.calls.wait_until_idle()
        with pytest.raises(HungUp):
            async with line.call(twiml=await line.voice.after(twiml, CALL)):
                pass


async def test_an_engine_failure_leads_to_the_fallback_without_the_rest_api(twilio: FakeTwilioApi) -> None:
    async with line_of(twilio, TalkingEngine(fails_at=4), fallback_to=PERSON).serving() as line:
        line.state.rest = None
        twiml = await ring(line)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            await phone.say(LOUD, times=12)
            await phone.closed()
            await line.state.calls.wait_until_idle()
        assert verbs(await line.voice.after(twiml, CALL)) == ["Dial"]


async def test_another_server_at_the_same_url_continues_the_call(twilio: FakeTwilioApi) -> None:
    """Servers that share a URL, each with its own ``--stream-url``."""
    async with line_of(twilio).serving() as line:
        line.state.webhook_base_url = line.state.auth.address
        twiml = await ring(line)
    other = line_of(twilio)
    other.state.webhook_base_url = PublicAddress(PUBLIC)
    other.state.auth.address = PublicAddress("https://w2.example.com")
    async with other.serving() as line:
        twiml = await line.voice.after(twiml, CALL)
        assert 'url="wss://w2.example.com/stream"' in twiml
        assert re.search(rf"{PUBLIC}/twiml/next\?q=\w+&amp;resumes=1#", twiml)
        line.voice._workers = {"w2.example.com": line.voice._local}
        async with line.call(twiml=twiml) as phone:
            await talk(phone)


async def test_a_restarted_server_continues_its_earlier_calls(twilio: FakeTwilioApi) -> None:
    async with line_of(twilio).serving() as line:
        twiml = await ring(line)
    engine = TalkingEngine()
    async with line_of(twilio, engine).serving() as line:
        twiml = await line.voice.after(twiml, CALL)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            (call,) = line.state.calls.running
            assert call.expected.incoming is not None
            assert (call.expected.incoming.from_, call.expected.resumes) == ("+15551234567", 1)


async def test_a_caller_without_a_session_is_on_hold(twilio: FakeTwilioApi) -> None:
    made = line_of(twilio, TalkingEngine(capacity=1), hold_say="One moment, please.", hold_secs=4)
    async with made.serving() as line:
        twiml = await ring(line)
        line.state.reservations.release(CALL)
        async with line.call(OTHER) as other:
            await talk(other)
            twiml = await line.voice.after(twiml, CALL)
            assert verbs(twiml) == ["Say", "Pause", "Redirect"]
            twiml = await line.voice.after(twiml, CALL)
            assert verbs(twiml) == ["Pause", "Redirect"]
            assert verbs(await line.voice.after(twiml, CALL)) == ["Hangup"], "in the end"
            await other.send({"event": "stop"})
            await other.closed()
            await line.state.calls.wait_until_idle()
        twiml = await line.voice.after(twiml.replace("held=4", "held=1"), CALL)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)


async def test_a_call_about_which_twilio_does_not_ask_is_redirected(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twilio keeps a dead socket, or the URL that it would request is gone with its tunnel."""
    monkeypatch.setattr(module, "ASK_SECS", 0.05)
    async with line_of(twilio).serving() as line, line.call() as phone:
        await talk(phone)
        await lose(phone, line)
        await until(line.updates)
        (update,) = line.updates()
        async with line.call(twiml=update["Twiml"][0]) as resumed:
            await talk(resumed)


async def test_a_replaced_tunnel_keeps_its_calls(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_SECS", 0.05)
    other = "https://other-name.trycloudflare.com"
    async with line_of(twilio).serving() as line, line.call() as phone:
        await talk(phone)
        await lose(phone, line)
        await until(line.updates)  # with the URL that is gone: Twilio's stream fails there
        line.state.auth.address.base = line.voice.public = other
        await module.bring_along(line.state)
        update = line.updates()[-1]
        assert f"{other}/twiml/next" in update["Twiml"][0]
        async with line.call(twiml=update["Twiml"][0]) as moved:
            await talk(moved)
            assert line.state.next_steps.broken_off() == []


async def test_a_caller_who_hung_up_is_not_redirected(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_SECS", 1.0)
    async with (
        line_of(twilio, TalkingEngine(capacity=1)).serving() as line,
        line.call() as phone,
    ):
        await talk(phone)
        await lose(phone, line)
        await line.voice.tell(f"{PUBLIC}/status", CALL, CallStatus="completed")
        await asyncio.sleep(1.2)
        assert line.updates() == []
        async with line.call(OTHER) as other:
            await talk(other)


async def test_a_repeated_request_has_no_second_effect(twilio: FakeTwilioApi) -> None:
    async with line_of(twilio).serving() as line:
        twiml = await ring(line)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            await lose(phone, line)
        again = await line.voice.after(twiml, CALL)
        async with line.call(twiml=again) as phone:
            await talk(phone)
            assert await line.voice.after(twiml, CALL) == again, "with the token that is spent"
            await talk(phone)


async def test_a_transfer_is_not_a_broken_stream(twilio: FakeTwilioApi) -> None:
    made = line_of(twilio, transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await phone.closed()
        await line.state.calls.wait_until_idle()
        assert line.state.next_steps.peek(CALL) is None
        assert len(line.updates()) == 1


async def test_a_stranger_who_knows_the_call_gets_nothing(twilio: FakeTwilioApi) -> None:
    async with line_of(twilio).serving() as line:
        line.voice._validator = type(line.voice._validator)("another token")
        status, _ = await line.voice.post(f"{PUBLIC}/twiml/next?resumes=0", {"CallSid": CALL})
        assert status == 403
