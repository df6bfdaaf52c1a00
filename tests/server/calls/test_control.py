"""Transfers, goodbyes, fallbacks: whole calls over real sockets, and the exact requests to Twilio's API."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from websockets.exceptions import ConnectionClosed

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.refusal import INTERNAL_ERROR
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.hooks.options import HookOptions
from moshi_phone.server.calls.answering import connect
from moshi_phone.server.calls.pending import PendingCall
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import Rejected
from tests.server.talking_line import (
    CALL,
    HEAD,
    LOUD,
    OTHER,
    PERSON,
    PUBLIC,
    TO_THE_PERSON,
    Line,
    TalkingEngine,
    press,
    talk,
)
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_stalls")


async def test_a_key_transfers_the_caller_after_a_notice(twilio: FakeTwilioApi, logged: Logged) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0", transfer_notice="One moment, please.")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await press(phone, "0")  # impatient
        assert await phone.closed() == (1000, "the call was transferred to a person")
        await line.state.calls.wait_until_idle()
    assert engine.spoken == ["One moment, please."]
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}], "and it is not hung up behind that"
    assert PERSON not in logged.text


async def test_twilio_ends_the_stream_before_it_has_answered(twilio: FakeTwilioApi) -> None:
    """As in reality: a redirected call leaves its stream, which is not a hang-up."""
    loop = asyncio.get_running_loop()
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:

        async def stop() -> None:
            await phone.send({"event": "stop"})
            await phone.closed()

        twilio.on_redirect = lambda _: asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        await talk(phone)
        (call,) = line.state.calls.running
        await press(phone, "0")
        assert await call.wait_for_end() == ("the call was transferred to a person", 1000)
        await line.state.calls.wait_until_idle()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]


async def test_a_socket_closed_during_the_transfer_is_not_a_hang_up(twilio: FakeTwilioApi) -> None:
    loop = asyncio.get_running_loop()
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        (call,) = line.state.calls.running

        async def leave() -> None:
            await phone.socket.close()
            await line.state.calls.wait_until_idle()

        twilio.on_redirect = lambda _: asyncio.run_coroutine_threadsafe(leave(), loop).result(10)
        await press(phone, "0")
        assert (await call.wait_for_end())[0] == "the call was transferred to a person"
        await line.state.calls.wait_until_idle()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]


async def test_a_hang_up_during_the_notice_cancels_the_transfer(
    twilio: FakeTwilioApi, logged: Logged
) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0", transfer_notice="One moment, please.")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await phone.send({"event": "stop"})
        assert await phone.closed() == (1000, "the caller hung up")
        await line.state.calls.wait_until_idle()
        await logged.says("ended before the transfer")
    assert engine.spoken == ["One moment, please."]
    assert line.updates() == []


async def test_a_phrase_transfers_the_caller(twilio: FakeTwilioApi, logged: Logged) -> None:
    engine = TalkingEngine()
    engine.script = {2: " Let me speak", 3: " to a human", 4: ", please."}
    made = Line(twilio, engine, transfer_to=PERSON, transfer_phrase=("Speak to a human!",))
    async with made.serving() as line, line.call() as phone:
        await phone.say(LOUD, times=24)
        assert (await phone.closed())[1] == "the call was transferred to a person"
        await line.state.calls.wait_until_idle()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]
    assert "CA00000000 the caller asked for it" in logged.text
    assert "human" not in logged.text


async def test_an_unanswered_transfer_returns_the_caller(twilio: FakeTwilioApi) -> None:
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


async def test_a_caller_returning_after_long_ringing_keeps_the_persona(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.supported_overrides = frozenset({"persona"})
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    calls = replace(made.state.settings.calls, transfer_ring_secs=600)
    made.state.settings = replace(made.state.settings, calls=calls)
    asked: list[CallOverrides] = []
    open_session = engine.open_session
    engine.open_session = lambda request=NO_OVERRIDES: asked.append(request) or open_session(request)  # type: ignore[method-assign, func-returns-value]
    now_s = 1000.0
    made.state.clock = lambda: now_s
    async with made.serving() as line:
        line.state.expected.add(CALL, PendingCall(request=CallOverrides("You are Anna.")), now_s)
        async with line.call(twiml=connect(CALL, line.state)) as phone:
            await talk(phone)
            await press(phone, "0")
            await phone.closed()
        now_s += 600
        async with line.call(twiml=await line.transferred("no-answer")) as phone:
            await talk(phone)
    assert asked == [CallOverrides("You are Anna.")] * 2


async def test_the_hook_may_name_the_transfer_s_number(twilio: FakeTwilioApi) -> None:
    other = "+15558887777"
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    async with hook(says(f'{{"transfer_to": "{other}"}}')) as asked:
        made.state.settings = replace(made.state.settings, hooks=HookOptions(on_call=asked.url))
        async with made.serving() as line:
            async with line.call() as phone:
                await talk(phone)
                await press(phone, "0")
                await phone.closed()
            # No answer there: the caller is back, and may ask once more, without a second hook.
            async with line.call(twiml=await line.transferred("busy")) as phone:
                await talk(phone)
                await press(phone, "0")
                await phone.closed()
            await line.state.calls.wait_until_idle()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON.replace(PERSON, other)]}] * 2
    assert len(asked.told) == 1


async def test_an_engine_without_words_transfers_without_a_notice(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.spoken = None
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0", transfer_notice="One moment.")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await phone.closed()
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]


async def test_a_transfer_that_twilio_refuses_does_not_change_the_call(
    twilio: FakeTwilioApi, logged: Logged
) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        twilio.fail(400, 21220, "Call is not in-progress. Cannot redirect.")
        await press(phone, "0")
        while "The transfer failed" not in logged.text:
            await talk(phone)
        await phone.send({"event": "stop"})
        assert await phone.closed() == (1000, "the caller hung up")


def shown(twiml: str) -> tuple[str | None, str]:
    """Return the caller ID that the other phone shows, and its number."""
    verb = ElementTree.fromstring(twiml)[0]  # noqa: S314 - our own
    return verb.get("callerId"), verb.findtext("Number") or ""


@pytest.mark.parametrize(
    ("caller", "called", "caller_id"),
    [
        ("+15551234567", NUMBER, None),
        ("anonymous", NUMBER, NUMBER),
        ("+266696687", NUMBER, NUMBER),
        ("sip:anna@example.com", NUMBER, NUMBER),
        ("sip:+15551234567@example.com", NUMBER, NUMBER),
        ("client:anna", NUMBER, NUMBER),
        ("whatsapp:+15551234567", NUMBER, NUMBER),
        ("", NUMBER, NUMBER),
        # To a SIP domain or an app of the account, which have no number: the line's, if it is known.
        ("sip:anna@example.com", "sip:line@example.sip.twilio.com", NUMBER),
        ("client:anna", "", NUMBER),
        ("+15551234567", "sip:line@example.sip.twilio.com", None),
    ],
)
async def test_a_caller_without_a_number_is_transferred_with_the_server_s_number(
    twilio: FakeTwilioApi, caller: str, called: str, caller_id: str | None
) -> None:
    """Without it, Twilio refuses the call (13214)."""
    made = Line(twilio, TalkingEngine(capacity=1), transfer_to=PERSON, transfer_key="0", fallback_to=PERSON)
    made.state.line_number = NUMBER
    async with made.serving() as line:
        twiml = await line.voice.call_in(f"{PUBLIC}/twiml", CALL, caller, called)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            fallback = await line.voice.call_in(f"{PUBLIC}/twiml", OTHER, caller, called)
            await press(phone, "0")
            await phone.closed()
            await line.state.calls.wait_until_idle()
    (update,) = line.updates()
    assert shown(update["Twiml"][0]) == shown(fallback) == (caller_id, PERSON)


async def test_the_reason_of_a_failed_transfer_is_logged(twilio: FakeTwilioApi, logged: Logged) -> None:
    async with Line(twilio, TalkingEngine()).serving() as line:
        form = {
            "CallSid": CALL, "DialCallStatus": "failed", "ErrorCode": "13214",
            "ErrorMessage": f"Dial->Number: invalid callerId sip:anna for {PERSON}",
        }  # fmt: skip
        await line.voice.post(f"{PUBLIC}/transferred", form)
    assert "The transfer failed: Twilio's error 13214: Dial->Number: invalid" in logged.text
    assert PERSON not in logged.text


async def test_a_hang_up_while_the_other_phone_rings_frees_the_session(twilio: FakeTwilioApi) -> None:
    async with Line(twilio, TalkingEngine()).serving() as line:
        form = {"CallSid": CALL, "DialCallStatus": "no-answer", "CallStatus": "completed"}
        assert await line.voice.post(f"{PUBLIC}/transferred", form) == (200, f"{HEAD}<Response />")
        assert line.state.reservations.count(line.state.clock(), besides="") == 0


async def test_its_own_number_is_never_dialled(twilio: FakeTwilioApi, logged: Logged) -> None:
    """It would ring here again, endlessly."""
    made = Line(
        twilio,
        TalkingEngine(capacity=1),
        transfer_to="+1 (500) 555-0006",
        transfer_key="0",
        fallback_to=NUMBER,
    )
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        with pytest.raises(Rejected, match="busy"):
            async with line.call(OTHER):
                pass
        await press(phone, "0")
        async with asyncio.timeout(10):
            await logged.says("the number for it is this line's own")
        await talk(phone)
    assert not any("Twiml" in update for update in line.updates())


@pytest.mark.parametrize("is_done", [True, False])
async def test_a_transfer_without_a_response_is_retried_while_the_stream_runs(
    twilio: FakeTwilioApi, is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    if not is_done:
        monkeypatch.setattr(
            "bot.HEARD_SECS", 10.0
        )  # a busy machine may keep the packets for longer than 0.3 s

    async def end_stream(phone: Phone) -> None:
        await phone.send({"event": "stop"})
        await phone.closed()

    async with made.serving() as line, line.call() as phone:
        assert line.state.rest is not None
        line.state.rest._requests._sleep = asyncio.sleep
        twilio.fail(504, None, only="POST")
        if is_done:  # Twilio has carried it out, and only its answer is lost
            twilio.on_failure = lambda: asyncio.run_coroutine_threadsafe(end_stream(phone), loop).result(10)
        await talk(phone)
        (call,) = line.state.calls.running
        await press(phone, "0")
        while call._action is None or not call._action.done():  # it outlives the stream
            with suppress(ConnectionClosed):
                await phone.say(LOUD)
            await asyncio.sleep(0.02)
    assert len(line.updates()) == (1 if is_done else 2)


async def test_without_an_account_the_log_names_the_missing_options(
    twilio: FakeTwilioApi, logged: Logged
) -> None:
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    made.state.rest = None
    async with made.serving() as line, line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        while "but TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN is not set" not in logged.text:
            await talk(phone)


async def test_goodbye_said_by_both_ends_the_call(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    engine.script, engine.bot_script = {2: " Goodbye."}, {4: " Good", 5: "bye!"}
    async with Line(twilio, engine, hangup_phrase=("goodbye",)).serving() as line, line.call() as phone:
        await phone.say(LOUD, times=32)
        assert await phone.closed() == (1000, "both said goodbye")
        await line.state.calls.wait_until_idle()
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
async def test_a_caller_without_a_session_gets_the_fallback(
    twilio: FakeTwilioApi, options: dict[str, str], document: str
) -> None:
    engine = TalkingEngine(capacity=1, fails_at=4)
    async with Line(twilio, engine, **options).serving() as line, line.call() as phone:
        await talk(phone)
        assert await line.voice.call_in(f"{PUBLIC}/twiml", OTHER) == document
        await phone.say(LOUD, times=12)
        code, _ = await phone.closed()
        assert code == INTERNAL_ERROR
        await line.state.calls.wait_until_idle()
    assert line.updates() == [{"Twiml": [document]}]


async def test_without_a_fallback_there_is_a_busy_tone_or_a_hang_up(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine(capacity=1, fails_at=4)
    async with Line(twilio, engine).serving() as line, line.call() as phone:
        await talk(phone)
        with pytest.raises(Rejected, match="busy"):
            async with line.call(OTHER):
                pass
        await phone.say(LOUD, times=12)
        await phone.closed()
        await line.state.calls.wait_until_idle()
    assert line.updates() == [{"Status": ["completed"]}]


async def test_a_stranger_cannot_return_a_call(twilio: FakeTwilioApi) -> None:
    async with Line(twilio, TalkingEngine()).serving() as line:
        line.voice._validator = type(line.voice._validator)("another token")
        form = {"CallSid": CALL, "DialCallStatus": "no-answer"}
        assert (await line.voice.post(f"{PUBLIC}/transferred", form))[0] == 403


@pytest.mark.parametrize("cause", ["busy", "engine", "closing"])
async def test_a_stream_without_a_session_is_redirected_before_it_is_closed(
    twilio: FakeTwilioApi, cause: str, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    twilio.on_redirect = lambda _: order.append("led elsewhere")
    engine = TalkingEngine(capacity=1)
    async with Line(twilio, engine, fallback_to=PERSON).serving() as line:
        twiml = await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        line.state.reservations.release(CALL)  # its stream comes later than any reservation is held
        if cause == "busy":
            engine.open_session()
        elif cause == "engine":
            monkeypatch.setattr(engine, "open_session", lambda _: 1 / 0)
        else:
            line.state.calls.closing = "the line is shutting down"
        async with line.call(twiml=twiml) as phone:
            await phone.closed()
            order.append("closed")
    assert order == ["led elsewhere", "closed"]
    (update,) = line.updates()
    assert shown(update["Twiml"][0])[1] == PERSON
    assert line.state.refusals.by_cause == {cause: 1}
    assert "CA00000000 Refused a stream" in logged.text
    assert "; the caller gets the fallback" in logged.text


async def test_a_second_webhook_invalidates_the_first_s_token(twilio: FakeTwilioApi) -> None:
    async with Line(twilio, TalkingEngine()).serving() as line:
        first = await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        second = await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        async with line.call(twiml=first) as phone:
            assert await phone.closed() == (1008, "the stream's token was replaced by a newer one")
        async with line.call(twiml=second) as phone:
            await talk(phone)
    assert line.state.refusals.by_cause == {"token_replaced": 1}


async def test_a_newer_stream_of_a_call_replaces_the_older_without_a_hang_up(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.HEARD_SECS", 0.0)  # while the older brings media, no newer one is offered
    async with Line(twilio, TalkingEngine()).serving() as line, line.call() as older:
        await talk(older)
        async with line.call() as newer:
            await talk(newer)
            assert await older.closed() == (1000, "a newer stream of the call took its place")
            await talk(newer)
            assert line.updates() == [], "the phone call goes on"


async def test_streams_of_one_call_without_tokens_do_not_end_each_other(
    twilio: FakeTwilioApi,
) -> None:
    made = Line(twilio, TalkingEngine())
    made.state.auth = StreamAuth()
    async with serving(made.state) as address:
        start = start_message(call_sid=CALL)
        async with Phone.calling(address, start) as one, Phone.calling(address, start) as other:
            await talk(one)
            await talk(other)
            await one.socket.close()
            await until(lambda: len(made.state.calls.running) == 1)
            await talk(other)
            assert made.updates() == []
