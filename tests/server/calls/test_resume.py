"""A session waits for the next stream of its phone call: whole calls over broken sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot import HEARD_SECS
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls import next_step
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.draining import CLOSING
from moshi_phone.server.calls.incoming import answer_call
from tests.fakes.twilio_api import FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice, Rejected
from tests.server.calls.test_next_step import ring, verbs
from tests.server.talking_line import CALL, LOUD, OTHER, PERSON, PUBLIC, Line, TalkingEngine, talk
from tests.support.phone import Phone, start_message
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _ask_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_step, "ASK_SECS", 60.0)


async def lose(phone: Phone, line: Line) -> None:
    """Reset the stream's socket, and wait until the server has seen it."""
    phone.socket.transport.abort()
    await until(line.state.next_steps.broken_off)


def only(line: Line) -> Call:
    (call,) = line.state.calls.running
    return call


@asynccontextmanager
async def broken(line: Line) -> AsyncIterator[str]:
    """Start a call whose stream breaks off; return the TwiML that had connected it."""
    twiml = await ring(line)
    async with line.call(twiml=twiml) as phone:
        await talk(phone)
        await lose(phone, line)
        yield twiml


async def test_the_conversation_continues_in_the_next_stream(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    engine = TalkingEngine(capacity=1)
    engine.bot_script = {2: " Before.", 5: " Unheard."}
    made = Line(twilio, engine, resume_notice="Sorry, we were cut off.", echo_cancel="off")
    taps = TapOptions(record=tmp_path, transcripts=tmp_path)
    made.state.settings = replace(made.state.settings, taps=taps)
    async with made.serving() as line, broken(line) as twiml:
        (session,) = engine.sessions
        call, fed = only(line), len(session.heard)
        with pytest.raises(Rejected, match="busy"):
            await line.voice.obey(await ring(line, OTHER), OTHER).__aenter__()
        await until(lambda: len(session.heard) >= fed + 5)
        async with line.call(twiml=await line.voice.after(twiml, CALL)) as phone:
            await until(lambda: call.expected.resumes == 1)
            lost = len(session.heard) - fed
            engine.bot_script[session.steps + 3] = " After."
            await talk(phone, 6)
            assert only(line) is call, "the same call"
            assert call.session is session
            assert engine.spoken == [], "and the same conversation, which needs no apology"
            await phone.send({"event": "stop"})
            assert await phone.closed() == (1000, "the caller hung up")
        await line.state.calls.wait_until_idle()
        assert (engine.opened, line.state.calls.served, line.updates()) == (1, 1, [])
        # What the session was fed is what one is fed whose caller says nothing meanwhile, bit for bit.
        async with line.call() as phone:
            await talk(phone, fed)
            await phone.say(times=4 * lost)
            await talk(phone, 6)
            (unbroken,) = engine.sessions
            await until(lambda: len(unbroken.heard) >= fed + lost + 6)
            assert len(session.heard) == len(unbroken.heard) == fed + lost + 6
            assert all(map(np.array_equal, session.heard, unbroken.heard))
    assert re.findall(r"[A-Z][a-z]+\.", call.observations.kept["transcript"].path.read_text()) == [
        "Before.",
        "After.",
    ]
    both = np.frombuffer(call.observations.kept["recording"].path.read_bytes()[44:], "<i2").reshape(-1, 2)
    loud = np.abs(both[: len(both) // 640 * 640]).reshape(-1, 640, 2).max(axis=1) > 1000
    for side, least in zip(loud.T, (5, 2), strict=True):  # the bot's audio is played from a buffer
        frames = "".join("#" if frame else "." for frame in side).strip(".")
        assert re.search(rf"#\.{{{least},}}#", frames), f"the gap: {frames}"


@pytest.mark.parametrize("asks", ["by REST", "before the loss is seen", "while the line drains"])
async def test_another_stream_takes_the_session_over(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    engine = TalkingEngine(capacity=1)
    async with Line(twilio, engine).serving() as line:
        twiml = await ring(line)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            call = only(line)
            if asks == "by REST":
                monkeypatch.setattr(next_step, "ASK_SECS", 0.05)
                await lose(phone, line)
                await until(line.updates)
                twiml = line.updates()[0]["Twiml"][0]
            elif asks == "while the line drains":
                line.state.calls.closing = CLOSING
                await lose(phone, line)
                twiml = await line.voice.after(twiml, CALL)
            else:
                held = await line.voice.after(twiml, CALL)
                assert verbs(held) == ["Pause", "Redirect"], "as long as media comes"
                await asyncio.sleep(HEARD_SECS)
                twiml = await line.voice.after(held, CALL)
            async with line.call(twiml=twiml) as newer:
                await talk(newer)
                if asks == "before the loss is seen":
                    assert await phone.closed() == (1000, "a newer stream of the call took its place")
                    await talk(newer)
                assert only(line) is call
    assert engine.opened == 1


async def test_it_waits_for_the_configured_time(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine(capacity=1)
    async with Line(twilio, engine, resume_secs=0.3).serving() as line, broken(line) as twiml:
        assert engine.running == 1
        await line.state.calls.wait_until_idle()
        assert engine.running == 0
        async with line.call(twiml=await line.voice.after(twiml, CALL)) as phone:
            await talk(phone)
            assert engine.opened == 2, "a new conversation"


async def test_it_does_not_wait_for_a_caller_who_hung_up(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Line(twilio, TalkingEngine(), resume_secs=60).serving() as line:
        async with broken(line):
            await line.voice.tell(f"{PUBLIC}/status", CALL, CallStatus="completed")
            await asyncio.wait_for(line.state.calls.wait_until_idle(), 20)
            assert line.updates() == []
        async with line.call() as phone:  # the same where the news comes before the loss is seen
            await talk(phone)
            await line.voice.tell(f"{PUBLIC}/status", CALL, CallStatus="completed")
            phone.socket.transport.abort()
            await asyncio.wait_for(line.state.calls.wait_until_idle(), 20)
            assert line.updates() == []
        monkeypatch.setattr(next_step, "ASK_SECS", 0.05)
        twilio.calls[CALL]["status"] = "completed"
        async with broken(line):  # without a callback, Twilio's API gives the status
            await asyncio.wait_for(line.state.calls.wait_until_idle(), 20)
            assert line.state.reservations.count(line.state.clock(), besides="") == 0


@pytest.mark.parametrize("how", ["stop", "closed"])
async def test_it_does_not_wait_after_a_regular_end(twilio: FakeTwilioApi, how: str) -> None:
    made = Line(twilio, TalkingEngine(), resume_secs=60)
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        if how == "stop":
            await phone.send({"event": "stop"})
        await phone.socket.close()
        await asyncio.wait_for(line.state.calls.wait_until_idle(), 20)


async def test_a_call_that_breaks_off_too_often_is_redirected(twilio: FakeTwilioApi) -> None:
    made = Line(twilio, TalkingEngine(), resume_secs=60, resumes=1, fallback_to=PERSON)
    async with made.serving() as line, broken(line) as first:
        twiml = await line.voice.after(first, CALL)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            phone.socket.transport.abort()
            await asyncio.wait_for(line.state.calls.wait_until_idle(), 20)
        assert verbs(await line.voice.after(twiml, CALL)) == ["Dial"]


async def test_a_replayed_webhook_has_no_second_effect(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same signature gets the same answer again, with a spent token."""
    asked: list[tuple[str, dict[str, str]]] = []
    post = FakeTwilioVoice.post

    async def note(self: FakeTwilioVoice, url: str, form: dict[str, str]) -> tuple[int, str]:
        asked.append((url, form))
        return await post(self, url, form)

    monkeypatch.setattr(FakeTwilioVoice, "post", note)
    async with Line(twilio, TalkingEngine()).serving() as line, broken(line) as twiml:
        again = await line.voice.after(twiml, CALL)
        async with line.call(twiml=again) as phone:
            await talk(phone)
            call = only(line)
            for (url, form), document in zip(asked.copy(), (twiml, again), strict=True):
                assert await line.voice.post(url, form) == (200, document)
                async with line.call(twiml=document) as replayed:
                    assert (await replayed.closed())[0] == 1008
            # And where the answer is not known (another gateway): a stream that lives is not given away.
            monkeypatch.setattr(call, "is_heard", lambda: True)
            assert call.expected.incoming is not None
            for answer in (
                next_step.next_step(call.expected.incoming, 1, 0, line.state),
                answer_call(call.expected.incoming, line.state),
            ):
                assert verbs(await answer) == ["Pause", "Redirect"]
            await talk(phone)
            assert only(line) is call


async def test_a_stranger_who_knows_the_sid_can_neither_take_over_nor_end_the_call(
    twilio: FakeTwilioApi,
) -> None:
    async with Line(twilio, TalkingEngine()).serving() as line, broken(line) as spent:
        asked = await line.voice.after(spent, CALL)
        # Redirected by REST meanwhile, too: the newer token counts.
        call = only(line)
        assert call.expected.incoming is not None
        newest = await next_step.next_step(call.expected.incoming, 0, 0, line.state)
        for twiml in (spent, asked):
            async with line.call(twiml=twiml) as phone:
                assert (await phone.closed())[0] == 1008
        async with Phone.calling(line.voice._local, start_message(call_sid=CALL)) as phone:
            assert (await phone.closed())[0] == 1008
        signed, line.voice._validator = line.voice._validator, type(line.voice._validator)("another token")
        assert await line.voice.tell(f"{PUBLIC}/status", CALL, CallStatus="completed") == 403
        assert (await line.voice.post(f"{PUBLIC}/twiml/next?resumes=9", {"CallSid": CALL}))[0] == 403
        line.voice._validator = signed
        async with line.call(twiml=newest) as phone:
            await talk(phone)
            assert only(line) is call
            await line.voice.tell(f"{PUBLIC}/status", OTHER, CallStatus="completed")
            await phone.say(LOUD, times=4)
            await phone.listen(1)
