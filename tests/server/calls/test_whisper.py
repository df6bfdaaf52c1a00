"""server/calls/whisper.py over real sockets: what the person who answers a transfer hears first."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import CALL, PERSON, PUBLIC, Line, TalkingEngine, press, talk
from tests.support.logs import Logged
from tests.support.waiting import until

URL = f"{PUBLIC}/whisper?call={CALL}"


async def test_the_colleague_hears_the_caller_and_the_last_words(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.capabilities = frozenset({"listen"})
    engine.script = {1: " My tooth", 2: " hurts."}
    made = Line(
        twilio, engine, transfer_to=PERSON, transfer_key="0", transfer_whisper="A call from the practice."
    )
    async with made.serving() as line, line.call() as phone:
        await talk(phone, 4)
        await press(phone, "0")
        await phone.closed()
        await line.state.calls.wait_until_idle()
        ((document,),) = [update["Twiml"] for update in line.updates()]
        number = ET.fromstring(document)[0][0]  # noqa: S314 - our own
        assert (number.text, number.attrib["url"]) == (PERSON, URL)
        _, twiml = await line.voice.post(URL, {"CallSid": "CA" + "9" * 32, "To": PERSON})
        assert ET.fromstring(twiml)[0].text == "A call from the practice. The caller said: My tooth hurts."  # noqa: S314
        _, unknown = await line.voice.post(f"{PUBLIC}/whisper?call=CA0", {"CallSid": "CA" + "9" * 32})
        assert ET.fromstring(unknown)[0].text == "A call from the practice."  # noqa: S314


async def test_without_a_whisper_no_url_is_given(twilio: FakeTwilioApi) -> None:
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await phone.closed()
        assert "url=" not in line.updates()[0]["Twiml"][0]


async def test_a_caller_is_told_of_a_failed_transfer(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        twilio.fail(400, 21215, "Account not authorized to call that country", only="POST")
        await press(phone, "0")
        for _ in range(50):
            await talk(phone, 1)
            if engine.spoken:
                break
        await phone.send({"event": "stop"})
    assert engine.spoken == ["I am sorry, I cannot reach anybody at the moment."]


async def test_if_the_bot_cannot_say_it_twilio_does_and_the_call_continues(twilio: FakeTwilioApi) -> None:
    """The parrot cannot say given words: the caller used to wait in silence."""
    engine = TalkingEngine(capacity=1)
    engine.spoken = None
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line:
        async with line.call() as phone:
            await talk(phone)
            (call,) = line.state.calls.running
            twilio.fail(400, 21215, "Account not authorized to call that country", only="POST")
            await press(phone, "0")
            await until(lambda: len(line.updates()) == 2)
            twiml = line.updates()[1]["Twiml"][0]
            said = ET.fromstring(twiml)  # noqa: S314 - our own
            assert [verb.tag for verb in said] == ["Say", "Connect", "Redirect"]
            assert said[0].text == "I am sorry, I cannot reach anybody at the moment."
            await phone.send({"event": "stop"})
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            assert (line.state.calls.running, engine.opened) == ({call}, 1), "the same conversation"
            assert not call.awaits_stream
            await phone.send({"event": "stop"})
            assert await phone.closed() == (1000, "the caller hung up")
        await line.state.calls.wait_until_idle()


async def test_if_twilio_cannot_say_it_either_the_stream_continues(
    twilio: FakeTwilioApi, logged: Logged
) -> None:
    engine = TalkingEngine()
    engine.spoken = None
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        twilio.fail(400, 21215, "Account not authorized to call that country", times=2, only="POST")
        await press(phone, "0")
        await until(lambda: "could not be informed" in logged.text)
        await talk(phone)
        await phone.send({"event": "stop"})
        assert await phone.closed() == (1000, "the caller hung up")
