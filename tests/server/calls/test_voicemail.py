"""Whole calls of the command are in tests/commands/test_dial_voicemail.py."""

from __future__ import annotations

import asyncio

import pytest

from moshi_phone.server.calls.voicemail import Voicemail
from moshi_phone.server.settings import SettingsError
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import CALL, OTHER, Line, TalkingEngine, talk
from tests.support.logs import Logged

pytestmark = pytest.mark.usefixtures("short_stalls")


def test_talking_to_a_machine_needs_no_detection() -> None:
    Voicemail().check(elsewhere=True)
    assert Voicemail().detection is None
    assert Voicemail("hang-up").detection == "Enable"


@pytest.mark.parametrize(
    ("mail", "sentence"),
    [
        (Voicemail("message"), "--voicemail message needs --voicemail-message TEXT."),
        (Voicemail("talk", "Hello."), "--voicemail-message needs --voicemail message."),
        (Voicemail("hang-up"), "--voicemail is for calls that this program answers itself: leave out --url."),
    ],
)
def test_conflicting_options(mail: Voicemail, sentence: str) -> None:
    with pytest.raises(SettingsError) as unfit:
        mail.check(elsewhere=True)
    assert str(unfit.value) == sentence


@pytest.mark.parametrize(
    ("mail", "answered_by", "reason", "spoken"),
    [
        (Voicemail("hang-up"), "machine_start", "a machine answered", []),
        (Voicemail("message", "Call me."), "machine_end_beep", "a message was left", ["Call me."]),
    ],
)
async def test_a_machine_answers(
    twilio: FakeTwilioApi, mail: Voicemail, answered_by: str, reason: str, spoken: list[str]
) -> None:
    engine = TalkingEngine()
    async with Line(twilio, engine).serving() as line, line.call() as phone:
        await talk(phone)
        mail.on_status(CALL, "human", line.state)
        mail.on_status(OTHER, answered_by, line.state)
        await talk(phone)
        mail.on_status(CALL, answered_by, line.state)
        assert await phone.closed() == (1000, reason)
        await line.state.calls.wait_until_idle()
    assert engine.spoken == spoken
    assert line.updates() == [{"Status": ["completed"]}]


async def leave(
    twilio: FakeTwilioApi, engine: TalkingEngine, mail: Voicemail, answered_by: str = "machine_end_beep"
) -> str:
    """Call, and have a machine answer; return why the call ended."""
    async with Line(twilio, engine).serving() as line, line.call() as phone:
        await talk(phone)
        mail.on_status(CALL, answered_by, line.state)
        _, reason = await phone.closed()
        await line.state.calls.wait_until_idle()
    return reason


async def test_a_long_message_is_not_cut_short(
    twilio: FakeTwilioApi, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moshi_phone.server.calls.control.NOTICE_SECS", 0.0)
    assert await leave(twilio, TalkingEngine(), Voicemail("message", "Call me.")) == "a message was left"
    assert "took too long" not in logged.text


async def test_a_message_that_cannot_be_said_is_not_left(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.spoken = None
    reason = await leave(twilio, engine, Voicemail("message", "Call me."))
    assert reason == "a machine answered, and no message could be left"


async def test_no_message_is_left_with_a_fax(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    assert await leave(twilio, engine, Voicemail("message", "Call me."), "fax") == "a machine answered"
    assert engine.spoken == []


async def test_a_machine_detected_before_its_stream_starts(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    async with Line(twilio, engine).serving() as line:
        twiml = await line.voice.call_in("https://phone.example.com/twiml", CALL)
        Voicemail("message", "Call me.").on_status(CALL, "machine_end_beep", line.state)
        Voicemail("hang-up").on_status(OTHER, "human", line.state)
        await asyncio.sleep(0)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            assert (await phone.closed())[1] == "a message was left"
            await line.state.calls.wait_until_idle()
    assert engine.spoken == ["Call me."]
