"""Transfers, goodbyes, fallbacks: whole calls over real sockets, and the exact requests to Twilio's API."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from access.auth import StreamAuth
from access.public_address import PublicAddress
from access.refusal import INTERNAL_ERROR
from engines.duplex import NO_REQUEST, CallerText, CallRequest, DuplexStep, Unsupported
from server.call_options import CallOptions
from server.state import ServerState
from server.voicemail import Voicemail
from telephony.rest import TwilioApi
from tests.fake_engines import FakeEngine, FakeSession
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice, Rejected
from tests.logs import Logged
from tests.naps import Naps
from tests.phone import Phone, serving

PUBLIC = "https://phone.example.com"
CALL = "CA" + "0" * 32
OTHER = "CA" + "1" * 32
PERSON = "+15559990000"
LOUD = bytes([0x10, 0x90] * 80)
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
TO_THE_PERSON = (
    f'{HEAD}<Response><Dial action="{PUBLIC}/transferred" timeout="20">'
    f"<Number>{PERSON}</Number></Dial></Response>"
)


class TalkingSession(FakeSession):
    """Says what it is given, and hears what the test's script has for each step."""

    def __init__(self, engine: TalkingEngine) -> None:
        super().__init__(engine)
        self._script = engine.script
        self._bot_script = engine.bot_script
        self.spoken = engine.spoken

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        async for step in super().outputs():
            words = self._script.get(self.steps, "")
            text = self._bot_script.get(self.steps, "")
            yield DuplexStep(step.pcm, text, caller_text=(CallerText(words, 0.1),) if words else ())

    def say(self, text: str) -> None:
        if self.spoken is None:
            raise Unsupported("The fake engine cannot say given words.")
        self.spoken.append(text)

    async def said(self) -> None:
        await asyncio.sleep(0.05)


class TalkingEngine(FakeEngine):
    """Makes such sessions."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self.script: dict[int, str] = {}
        self.bot_script: dict[int, str] = {}
        self.spoken: list[str] | None = []

    def open_session(self, request: CallRequest = NO_REQUEST) -> TalkingSession:
        super().open_session(request)
        self.sessions[-1] = session = TalkingSession(self)
        return session


class Line:
    """A line with an account, and Twilio in front of it."""

    def __init__(self, twilio: FakeTwilioApi, engine: TalkingEngine, **options: object) -> None:
        for sid in (CALL, OTHER):
            twilio.calls[sid] = {"sid": sid, "status": "in-progress", "duration": None}
            twilio._steps[sid] = deque()
        self.twilio = twilio
        self.state = ServerState(
            engine,
            rest=TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, sleep=Naps()),
            auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)),
            call_options=CallOptions(ring_secs=20, **options),  # type: ignore[arg-type]
        )
        self.voice = FakeTwilioVoice(PUBLIC, "")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Line]:
        async with serving(self.state) as address:
            self.voice = FakeTwilioVoice(PUBLIC, address)
            yield self

    @asynccontextmanager
    async def call(self, call_sid: str = CALL, twiml: str | None = None) -> AsyncIterator[Phone]:
        """Call in, and talk for a moment."""
        twiml = twiml or await self.voice.call_in(f"{PUBLIC}/twiml", call_sid)
        async with self.voice.obey(twiml, call_sid) as (phone, _):
            yield phone

    def updates(self, call_sid: str = CALL) -> list[dict[str, list[str]]]:
        """What the account was told to do with a call."""
        return self.twilio.made("POST", f"Calls/{call_sid}.json")

    async def transferred(self, how: str) -> str:
        """Report how the other phone did; gives what to do next."""
        form = {"AccountSid": ACCOUNT_SID, "CallSid": CALL, "DialCallStatus": how}
        status, twiml = await self.voice.post(f"{PUBLIC}/transferred", form)
        assert status == 200
        return twiml


async def talk(phone: Phone, frames: int = 2) -> None:
    await phone.say(LOUD, times=4 * frames)
    await phone.listen(frames)


async def press(phone: Phone, digit: str) -> None:
    await phone.send(
        {"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": digit}}
    )


async def test_a_key_puts_the_caller_through_after_a_notice(twilio: FakeTwilioApi, logged: Logged) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0", transfer_notice="One moment, please.")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await press(phone, "0")  # impatient
        assert await phone.closed() == (1000, "the call was put through to a person")
        await line.state.calls.all_over()
    assert engine.spoken == ["One moment, please."]
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}], "and it is not hung up behind that"
    assert PERSON not in logged.text


async def test_words_put_the_caller_through(twilio: FakeTwilioApi, logged: Logged) -> None:
    engine = TalkingEngine()
    engine.script = {2: " Let me speak", 3: " to a human", 4: ", please."}
    made = Line(twilio, engine, transfer_to=PERSON, transfer_phrase=("Speak to a human!",))
    async with made.serving() as line, line.call() as phone:
        await phone.say(LOUD, times=24)
        assert (await phone.closed())[1] == "the call was put through to a person"
        await line.state.calls.all_over()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]
    assert "Call CA00000000: the caller asked for it" in logged.text
    assert "human" not in logged.text


async def test_nobody_answers_there_and_the_caller_is_back(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    async with Line(twilio, engine, transfer_to=PERSON, transfer_key="0").serving() as line:
        async with line.call() as phone:
            await talk(phone)
            await press(phone, "0")
            await phone.closed()
        twiml = await line.transferred("no-answer")
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            await phone.send({"event": "stop"})
            await phone.closed()
        assert await line.transferred("completed") == f"{HEAD}<Response><Hangup /></Response>"
    assert engine.opened == 2


async def test_an_engine_that_cannot_say_puts_through_without_a_word(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.spoken = None
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0", transfer_notice="One moment.")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await phone.closed()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]


async def test_a_transfer_that_twilio_refuses_leaves_the_call_as_it_is(
    twilio: FakeTwilioApi, logged: Logged
) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        twilio.fail(400, 21220, "Call is not in-progress. Cannot redirect.")
        await press(phone, "0")
        while "could not be put through" not in logged.text:
            await talk(phone)
        await phone.send({"event": "stop"})
        assert await phone.closed() == (1000, "the caller hung up")


async def test_without_an_account_the_log_says_what_is_missing(twilio: FakeTwilioApi, logged: Logged) -> None:
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    made.state.rest = None
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        while "but TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN is not set" not in logged.text:
            await talk(phone)


async def test_goodbye_from_both_ends_the_call(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.script, engine.bot_script = {2: " Goodbye."}, {4: " Good", 5: "bye!"}
    async with Line(twilio, engine, hangup_phrase=("goodbye",)).serving() as line, line.call() as phone:
        await phone.say(LOUD, times=32)
        assert await phone.closed() == (1000, "both said goodbye")
        await line.state.calls.all_over()
    assert line.updates() == [{"Status": ["completed"]}]


@pytest.mark.parametrize(
    ("options", "document"),
    [
        (
            {"fallback_to": PERSON, "fallback_say": "Sorry."},
            f'{HEAD}<Response><Dial timeout="20"><Number>{PERSON}</Number></Dial></Response>',
        ),
        ({"fallback_say": "Sorry, Zürich."}, f"{HEAD}<Response><Say>Sorry, Zürich.</Say></Response>"),
    ],
)
async def test_who_finds_no_session_or_loses_it_is_not_left_alone(
    twilio: FakeTwilioApi, options: dict[str, str], document: str
) -> None:
    engine = TalkingEngine(capacity=1, fails_at=4)
    async with Line(twilio, engine, **options).serving() as line, line.call() as phone:
        await talk(phone)
        assert await line.voice.call_in(f"{PUBLIC}/twiml", OTHER) == document
        await phone.say(LOUD, times=12)
        code, _ = await phone.closed()
        assert code == INTERNAL_ERROR
        await line.state.calls.all_over()
    assert line.updates() == [{"Twiml": [document]}]


async def test_without_a_fallback_it_is_the_busy_tone_and_a_hang_up(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine(capacity=1, fails_at=4)
    async with Line(twilio, engine).serving() as line, line.call() as phone:
        await talk(phone)
        with pytest.raises(Rejected, match="busy"):
            async with line.call(OTHER):
                pass
        await phone.say(LOUD, times=12)
        await phone.closed()
        await line.state.calls.all_over()
    assert line.updates() == [{"Status": ["completed"]}]


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
        await line.state.calls.all_over()
    assert engine.spoken == spoken
    assert line.updates() == [{"Status": ["completed"]}]


async def leave(
    twilio: FakeTwilioApi, engine: TalkingEngine, mail: Voicemail, answered_by: str = "machine_end_beep"
) -> str:
    """Call, and have a machine answer; gives why the call ended."""
    async with Line(twilio, engine).serving() as line, line.call() as phone:
        await talk(phone)
        mail.on_status(CALL, answered_by, line.state)
        _, reason = await phone.closed()
        await line.state.calls.all_over()
    return reason


async def test_a_long_message_is_not_cut_short(
    twilio: FakeTwilioApi, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.call_control.NOTICE_SECS", 0.0)
    assert await leave(twilio, TalkingEngine(), Voicemail("message", "Call me.")) == "a message was left"
    assert "took too long" not in logged.text


async def test_a_message_that_could_not_be_said_was_not_left(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.spoken = None
    reason = await leave(twilio, engine, Voicemail("message", "Call me."))
    assert reason == "a machine answered, and no message could be left"


async def test_no_message_is_left_with_a_fax(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    assert await leave(twilio, engine, Voicemail("message", "Call me."), "fax") == "a machine answered"
    assert engine.spoken == []


async def test_a_stranger_cannot_bring_a_call_back(twilio: FakeTwilioApi) -> None:
    async with Line(twilio, TalkingEngine()).serving() as line:
        line.voice._validator = type(line.voice._validator)("another token")
        form = {"CallSid": CALL, "DialCallStatus": "no-answer"}
        assert (await line.voice.post(f"{PUBLIC}/transferred", form))[0] == 403
