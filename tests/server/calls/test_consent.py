"""server/calls/consent.py: whole calls over real sockets, and their files on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.consent import what_is_kept
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.server.unused_options import unused_options
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.twilio_api import NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER
from tests.server.talking_line import (
    CALL,
    LOUD,
    PERSON,
    PUBLIC,
    Line,
    TalkingEngine,
    TalkingSession,
    press,
    talk,
)
from tests.support.logs import Logged
from tests.support.phone import Phone, serving
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_stalls")

NOTICE = "This call is recorded; press 9 if you mind."
SAYS = f"<Say>{NOTICE}</Say><Connect>"


@asynccontextmanager
async def recording_line(
    twilio: FakeTwilioApi, folder: Path, *, says: bool, **more: object
) -> AsyncIterator[tuple[Line, TalkingEngine]]:
    engine = TalkingEngine(capabilities=frozenset({"say"} if says else ()))
    engine.bot_script = {number: f" word{number}." for number in range(1, 60)}
    if not says:
        engine.spoken = None
    made = Line(twilio, engine, transfer_to=PERSON, transfer_key="0")
    taps = TapOptions(
        record=folder,
        transcripts=folder,
        record_notice=NOTICE,
        record_optout_key="9",
        **more,  # type: ignore[arg-type]
    )
    made.state.settings = replace(made.state.settings, taps=taps)
    async with made.serving() as line:
        yield line, engine


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


async def talk_on(phone: Phone) -> None:
    """Talk for more than a second, after which a recording is written; answers do not matter."""
    await phone.say(LOUD, times=56)
    await asyncio.sleep(0.2)


async def ended(line: Line, phone: Phone) -> None:
    await phone.send({"event": "stop"})
    await phone.closed()
    await line.state.calls.wait_until_idle()
    assert await asyncio.to_thread(line.state.files.flush, 5)


async def test_the_bot_says_the_notice_and_nothing_is_stored_before(
    twilio: FakeTwilioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = asyncio.Event()

    async def said(_: TalkingSession) -> None:
        await heard.wait()

    monkeypatch.setattr(TalkingSession, "said", said)
    async with recording_line(twilio, tmp_path, says=True) as (line, engine), line.call() as phone:
        await talk_on(phone)
        assert engine.spoken == [NOTICE]
        assert (names(tmp_path), line.state.history.rows[0].consent) == ([], None)
        heard.set()
        await until(lambda: line.state.history.rows[0].consent == "told")
        session, answered = engine.sessions[-1], engine.sessions[-1].steps
        await talk_on(phone)
        await until(lambda: session.steps >= answered + 14)  # a busy machine may answer late
        await ended(line, phone)
    assert names(tmp_path) == [".jsonl", ".txt", ".wav"]
    (row,) = line.state.history.rows
    assert row.files.keys() == {"recording", "transcript"}
    both, _ = soundfile.read(row.files["recording"], dtype="int16")
    assert not both[:2_000].any()
    assert both.any()
    words = await asyncio.to_thread(Path(row.files["transcript"]).read_text)
    assert f"from: {CALLER}\nto: {NUMBER}\ndirection: inbound\nsecs: " in words
    assert "reason: the caller hung up\n\n" in words
    assert "word2." not in words
    assert "word" in words


async def test_twilio_says_the_notice_once_if_the_bot_cannot(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    async with recording_line(twilio, tmp_path, says=False) as (line, _):
        twiml = await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        assert SAYS in twiml
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            await press(phone, "0")
            await phone.closed()
            await line.state.calls.wait_until_idle()
            assert await asyncio.to_thread(line.state.files.flush, 5)
        assert (line.state.history.rows[0].consent, "wav" in str(names(tmp_path))) == ("told", True)
        again = await line.transferred("no-answer")
        assert "<Say>" not in again
        async with line.call(twiml=again) as phone:
            await talk(phone)
            await ended(line, phone)
    (row,) = line.state.history.rows
    assert (row.consent, names(tmp_path).count(".wav")) == ("told", 2)


@pytest.mark.parametrize("says", [True, False])
async def test_after_the_opt_out_key_nothing_is_stored(
    twilio: FakeTwilioApi, tmp_path: Path, says: bool
) -> None:
    async with recording_line(twilio, tmp_path, says=says) as (line, _):
        async with line.call() as phone:
            await talk(phone, 2)
            await until(lambda: line.state.history.rows[0].consent == "told")
            await talk_on(phone)
            await until(lambda: ".wav" in names(tmp_path))
            await press(phone, "9")
            await talk_on(phone)
            await press(phone, "0")
            await phone.closed()
            await line.state.calls.wait_until_idle()
        assert await asyncio.to_thread(line.state.files.flush, 5)
        # And it counts when the caller comes back.
        async with line.call(twiml=await line.transferred("busy")) as phone:
            await talk_on(phone)
            await ended(line, phone)
    (row,) = line.state.history.rows
    assert (names(tmp_path), row.consent, row.files) == ([], "refused", {})


async def test_a_call_without_a_possible_notice_is_not_stored(tmp_path: Path, logged: Logged) -> None:
    """One of the browser phone: the engine has the only voice, and cannot say given words."""
    taps = TapOptions(record=tmp_path, transcripts=tmp_path, record_notice=NOTICE)
    state = ServerState(FakeEngine(), Settings(taps=taps))
    async with serving(state) as address, Phone.calling(address) as phone:
        await talk_on(phone)
        await phone.send({"event": "stop"})
        await phone.closed()
        await state.calls.wait_until_idle()
    assert (names(tmp_path), state.history.rows[0].files) == ([], {})
    assert "the call is not recorded" in logged.text


def test_the_start_logs_what_is_stored_and_what_has_no_effect(tmp_path: Path) -> None:
    assert what_is_kept(TapOptions()) is None
    assert what_is_kept(TapOptions(record=Path("r"), record_notice="x")) == (
        "Calls are recorded into r; callers are informed first."
    )
    kept = what_is_kept(TapOptions(record=Path("r"), transcripts=Path("t")))
    assert kept is not None
    assert kept.startswith("Calls are recorded into r and transcribed into t; callers are not informed")
    (sentence,) = unused_options(Settings(taps=TapOptions(record_notice="x")))
    assert "--record-notice and --record-optout-key change nothing" in sentence
    both = Settings(taps=TapOptions(record_optout_key="#"))
    with pytest.raises(SettingsError, match="--record-optout-key and --hangup-key are both #"):
        replace(both, server=replace(both.server, hangup_key="#")).check()
