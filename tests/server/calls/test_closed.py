"""server/calls/closed.py over real sockets: a practice outside its hours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.engines.personas import load_personas
from moshi_phone.records.call_row import Outcome
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.closed import HoursUnusable, check_hours
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import TwilioOptions
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.phone import Phone, serving, start_message

PUBLIC = "https://phone.example.com"
CALL = "CA" + "1" * 32
OPEN, CLOSED = datetime(2026, 11, 30, 10, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)
HOURS = 'hours = "Mon-Fri 08:00-17:00"\ntimezone = "Europe/Berlin"\n'


class AskedEngine(FakeEngine):
    """Records the requests of its calls."""

    supported_overrides = frozenset({"persona", "greeting"})

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[CallOverrides] = []

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> FakeSession:
        self.requests.append(request)
        return super().open_session(request)


@asynccontextmanager
async def line(
    folder: Path, default: str, now: datetime = CLOSED, **calls: object
) -> AsyncIterator[tuple[FakeTwilioVoice, AskedEngine, ServerState]]:
    (folder / "personas.toml").write_text(f"[default]\n{HOURS}{default}\n")
    engine = AskedEngine()
    state = ServerState(
        engine,
        Settings(
            twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN),
            calls=CallOptions(**calls),  # type: ignore[arg-type]
            taps=TapOptions(fallback_record=folder),
        ),
        auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)),
        personas=load_personas(folder / "personas.toml"),
        now=lambda: now,
    )
    async with serving(state) as address:
        yield FakeTwilioVoice(PUBLIC, address), engine, state


async def rings(voice: FakeTwilioVoice) -> ET.Element:
    """Call in; return the TwiML."""
    return ET.fromstring(await voice.call_in(f"{PUBLIC}/twiml", CALL))  # noqa: S314 - our own server's


async def test_within_its_hours_a_call_is_answered(tmp_path: Path) -> None:
    async with line(tmp_path, 'when_closed = "say"', OPEN) as (voice, _, state):
        assert [verb.tag for verb in await rings(voice)] == ["Connect", "Redirect"]
        (row,) = state.history.rows
        assert row.outcome is Outcome.CONNECTING


async def test_a_text_is_said_by_twilio(tmp_path: Path) -> None:
    default = 'when_closed = "say"\nclosed_say = "We open at eight."'
    async with line(tmp_path, default) as (voice, engine, state):
        (say,) = await rings(voice)
        assert (say.tag, say.text) == ("Say", "We open at eight.")
        assert not state.reservations.count(0, besides=""), "no session is held"
        (row,) = state.history.rows
        assert (row.outcome, row.reason) == (Outcome.CLOSED, "the line was closed")
    assert engine.opened == 0


async def test_a_message_is_taken(tmp_path: Path) -> None:
    async with line(tmp_path, 'when_closed = "message"', message_secs=60) as (voice, _, __):
        say, record, hangup = await rings(voice)
    assert say.text == "Nobody can take your call now. Please leave a message after the tone."
    assert record.attrib["action"] == f"{PUBLIC}/recorded"
    assert (record.attrib["maxLength"], record.attrib["finishOnKey"]) == ("60", "#")
    assert hangup.tag == "Hangup"


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ('when_closed = "transfer"', "+15559990000"),
        ('when_closed = "transfer"\nclosed_transfer_to = "+15558880000"', "+15558880000"),
    ],
)
async def test_a_call_is_transferred(tmp_path: Path, default: str, expected: str) -> None:
    async with line(tmp_path, default, transfer_to="+15559990000") as (voice, _, __):
        (dial,) = await rings(voice)
    assert [number.text for number in dial] == [expected]
    assert dial.attrib["action"] == f"{PUBLIC}/transferred"


async def test_a_transfer_to_its_own_number_is_not_made(tmp_path: Path) -> None:
    default = f'when_closed = "transfer"\nclosed_transfer_to = "{NUMBER}"'
    async with line(tmp_path, default) as (voice, _, __):
        assert [verb.tag for verb in await rings(voice)] == ["Say"]


async def test_another_persona_gets_the_time(tmp_path: Path) -> None:
    default = 'persona = "You are Anna."\nclosed_persona = "It is {weekday}, {now}, and we are closed."'
    async with line(tmp_path, default) as (voice, engine, state):
        twiml = await voice.call_in(f"{PUBLIC}/twiml", CALL)
        async with voice.obey(twiml, CALL) as (phone, _):
            await phone.say(bytes([0x10, 0x90] * 80), times=8)
            await phone.listen(1)
        await state.calls.wait_until_idle()
    (request,) = engine.requests
    assert request.persona == "It is Monday, 2026-11-30 21:00, and we are closed."


def test_missing_options_are_reported_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "personas.toml"
    file.write_text(f'[desk]\n{HOURS}when_closed = "message"\n')
    with pytest.raises(HoursUnusable, match=r'\[desk\] when_closed = "message" needs --fallback-record DIR'):
        check_hours(load_personas(file), Settings())
    check_hours(load_personas(file), Settings(taps=TapOptions(fallback_record=tmp_path)))
    file.write_text(f'[desk]\n{HOURS}when_closed = "transfer"\n')
    with pytest.raises(HoursUnusable, match="needs closed_transfer_to, or --transfer-to"):
        check_hours(load_personas(file), Settings())
    check_hours(load_personas(file), Settings(calls=CallOptions(transfer_to="+15559990000")))


async def test_an_engine_without_personas_answers_too(tmp_path: Path) -> None:
    """The parrot, without an accelerator: --personas is left out, and so is the time in it."""
    default = 'persona = "You are Anna, and it is {now}."\ngreeting = "It is {weekday}."'
    async with line(tmp_path, default, OPEN) as (voice, engine, state):
        engine.supported_overrides = frozenset()
        twiml = await voice.call_in(f"{PUBLIC}/twiml", CALL)
        async with voice.obey(twiml, CALL) as (phone, _):
            await phone.say(bytes([0x10, 0x90] * 80), times=8)
            await phone.listen(1)
        await state.calls.wait_until_idle()
    assert engine.requests == [NO_OVERRIDES]


async def test_placeholders_are_filled_without_a_webhook(tmp_path: Path) -> None:
    async with line(tmp_path, 'persona = "You are Anna, and it is {now}."', OPEN) as (voice, engine, state):
        token = state.mint(CALL)
        async with Phone.calling(
            voice._local, start_message(parameters={"token": token}, call_sid=CALL)
        ) as phone:
            await phone.say(bytes([0x10, 0x90] * 80), times=8)
            await phone.listen(1)
        await state.calls.wait_until_idle()
    assert [request.persona for request in engine.requests] == ["You are Anna, and it is 2026-11-30 11:00."]
