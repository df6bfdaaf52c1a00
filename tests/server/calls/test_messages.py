"""server/calls/messages.py over real sockets: a message is left, fetched, stored and reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.call_row import Kind, Outcome
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import TwilioOptions
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.support.logs import Logged
from tests.support.phone import serving
from tests.support.waiting import until

PUBLIC = "https://phone.example.com"
CALL = "CA" + "1" * 32
RECORDING = "RE" + "d" * 32
WAV = b"RIFF" + bytes(2_000)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moshi_phone.server.calls.messages.PAUSES_SECS", (0.0, 0.0))


@asynccontextmanager
async def line(
    twilio: FakeTwilioApi, folder: Path, **more: object
) -> AsyncIterator[tuple[FakeTwilioVoice, ServerState]]:
    """A server whose only session is never free."""
    state = ServerState(
        FakeEngine(capacity=0),
        Settings(
            twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url), taps=TapOptions(fallback_record=folder)
        ),
        auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)),
        **more,  # type: ignore[arg-type]
    )
    async with serving(state) as address:
        yield FakeTwilioVoice(PUBLIC, address), state


async def leaves(voice: FakeTwilioVoice, **fields: str) -> str:
    """Report a message as Twilio does; return the TwiML that follows."""
    form = {
        "AccountSid": ACCOUNT_SID,
        "CallSid": CALL,
        "CallStatus": "completed",
        "Direction": "inbound",
        "From": CALLER,
        "To": NUMBER,
        "RecordingSid": RECORDING,
        "RecordingUrl": "https://evil.example.com/steal",
        "RecordingDuration": "7",
    }
    status, twiml = await voice.post(f"{PUBLIC}/recorded", form | fields)
    assert status == 200
    return twiml


async def test_a_caller_without_a_session_leaves_a_message(
    twilio: FakeTwilioApi, tmp_path: Path, logged: Logged
) -> None:
    twilio.recordings[RECORDING] = WAV
    async with hook(says()) as told:
        outbox = Outbox(Hook(told.url, None), tmp_path / "outbox")
        outbox.start()
        async with line(twilio, tmp_path, outbox=outbox) as (voice, state):
            twiml = ET.fromstring(await voice.call_in(f"{PUBLIC}/twiml", CALL))  # noqa: S314 - our own
            assert [verb.tag for verb in twiml] == ["Say", "Record", "Hangup"]
            (row,) = state.history.rows
            assert (row.kind, row.outcome) == (Kind.CALL, Outcome.FALLBACK)
            assert "<Hangup" in await leaves(voice)
            await until(lambda: not twilio.recordings)
            (row,) = state.history.rows
        await until(lambda: bool(told.told))
        await outbox.stop()
    wav = Path(row.files["recording"])
    assert (wav.parent, wav.read_bytes()) == (tmp_path, WAV)  # noqa: ASYNC240
    assert wav.stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240
    assert (row.kind, row.outcome, row.secs) == (Kind.MESSAGE, Outcome.MESSAGE, 7.0)
    missed, event = sorted(told.told, key=lambda one: str(one["kind"]))  # they may overtake each other
    assert (missed["kind"], missed["outcome"]) == ("call", "fallback")
    assert (event["event"], event["reason"], event["from"]) == ("end", "a message was left", CALLER)
    assert event["files"] == {"recording": str(wav)}
    assert len([one for one in twilio.requests if one.path.endswith(".wav")]) == 1, "fetched once"
    assert CALLER not in logged.text


async def test_a_recording_that_is_not_ready_is_requested_again(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    async with line(twilio, tmp_path) as (voice, state):
        twilio.fail(404, 20404, times=2, only=".wav")
        twilio.recordings[RECORDING] = WAV
        await leaves(voice)
        await until(lambda: not twilio.recordings)
        (row,) = state.history.rows  # a program that was restarted has no row of the call
    assert (row.from_number, row.kind) == (CALLER, Kind.MESSAGE)


async def test_a_message_that_cannot_be_stored_stays_at_twilio(
    twilio: FakeTwilioApi, tmp_path: Path, logged: Logged
) -> None:
    async with line(twilio, tmp_path) as (voice, _):
        await leaves(voice)  # Twilio does not have it
        await logged.says("HTTP 404 for a recording")
        twilio.recordings[RECORDING] = WAV
    (tmp_path / "file").touch()
    async with line(twilio, tmp_path / "file") as (voice, _):
        await leaves(voice)
        await logged.says("A message cannot be kept")
    assert RECORDING in twilio.recordings


async def test_a_silent_caller_leaves_no_message(
    twilio: FakeTwilioApi, tmp_path: Path, logged: Logged
) -> None:
    async with line(twilio, tmp_path) as (voice, state):
        await leaves(voice, RecordingSid="")
        await leaves(voice, RecordingSid="../../Accounts")
        await asyncio.sleep(0.05)
        assert not state.history.rows
    assert logged.text.count("The caller left no message") == 2
    assert not [one for one in twilio.requests if "Recordings" in one.path]


async def test_an_unanswered_transfer_leads_to_a_message(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    async with line(twilio, tmp_path) as (voice, _):
        form = {"AccountSid": ACCOUNT_SID, "CallSid": CALL, "From": CALLER, "To": NUMBER}
        _, twiml = await voice.post(f"{PUBLIC}/transferred", form | {"DialCallStatus": "no-answer"})
    assert [verb.tag for verb in ET.fromstring(twiml)] == ["Say", "Record", "Hangup"]  # noqa: S314


async def test_a_stranger_cannot_leave_a_message(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    async with line(twilio, tmp_path) as (voice, state):
        stranger = FakeTwilioVoice(PUBLIC, voice._local)
        stranger._validator.token = b"0" * 32
        status, _ = await stranger.post(f"{PUBLIC}/recorded", {"CallSid": CALL, "RecordingSid": RECORDING})
        assert status == 403
        assert not state.history.rows
