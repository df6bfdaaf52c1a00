"""server/calls/call_rows.py: whole calls over real sockets, and the row of each."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.personas import Personas
from moshi_phone.hooks.options import HookOptions
from moshi_phone.records import call_database
from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_queries import find_rows
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_search import CallSearch
from moshi_phone.records.call_store import CallStore
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER, Rejected
from tests.server.talking_line import CALL, OTHER, PERSON, PUBLIC, Line, TalkingEngine, press, talk
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message


def told(row: CallRow) -> tuple[Outcome, str]:
    return row.outcome, row.reason


async def only_row(state: ServerState) -> CallRow:
    await state.calls.wait_until_idle()
    (row,) = state.history.rows
    return row


async def test_an_answered_call(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    made = Line(twilio, TalkingEngine())
    made.state.settings = replace(made.state.settings, taps=TapOptions(record=tmp_path))
    made.state.personas = Personas(sections={"dentist": CallOverrides()}, names_by_number={NUMBER: "dentist"})
    async with made.serving() as line:
        await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        (row,) = line.state.history.rows
        assert (row.outcome, row.from_number, row.to_number) == (Outcome.CONNECTING, CALLER, NUMBER)
        twiml = await line.voice.call_in(f"{PUBLIC}/twiml", CALL)  # requested twice
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            (row,) = line.state.history.rows
            assert (row.outcome, row.is_open) == (Outcome.RUNNING, True)
            await phone.send({"event": "stop"})
            await phone.closed()
        row = await only_row(line.state)
    assert told(row) == (Outcome.ANSWERED, "the caller hung up")
    assert (row.section, row.engine, row.direction, row.call_sid) == ("dentist", "fake", "inbound", CALL)
    assert row.secs > 0
    assert row.metrics["frames"] >= 2
    assert not row.is_open
    assert list(row.files) == ["recording"]
    assert row.files["recording"].startswith(f"{tmp_path}/{row.began_at[:10]}T")


@pytest.mark.parametrize(
    ("hooks", "options", "capacity", "expected"),
    [
        ({"deny": (CALLER,)}, {}, 1, (Outcome.DENIED, "the number is on the --deny list")),
        ({}, {}, 0, (Outcome.BUSY, "all 0 sessions are taken")),
        ({}, {"fallback_say": "Sorry."}, 0, (Outcome.FALLBACK, "all 0 sessions are taken")),
    ],
)
async def test_a_call_that_is_not_accepted(
    twilio: FakeTwilioApi,
    hooks: Mapping[str, object],
    options: Mapping[str, object],
    capacity: int,
    expected: tuple[Outcome, str],
) -> None:
    made = Line(twilio, TalkingEngine(capacity=capacity), **options)
    made.state.settings = replace(made.state.settings, hooks=HookOptions(**hooks))  # type: ignore[arg-type]
    async with made.serving() as line:
        for _ in range(2):
            await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        row = await only_row(line.state)
    assert told(row) == expected
    assert (row.secs, row.is_open, row.engine) == (0.0, False, "")


async def test_a_call_that_the_hook_refuses(twilio: FakeTwilioApi) -> None:
    async with hook(says('{"accept": false}')) as asked:
        made = Line(twilio, TalkingEngine())
        made.state.settings = replace(made.state.settings, hooks=HookOptions(on_call=asked.url))
        async with made.serving() as line:
            with pytest.raises(Rejected):
                async with line.call():
                    pass
            row = await only_row(line.state)
    assert told(row) == (Outcome.REFUSED, "--on-call does not accept it")


async def test_a_call_without_a_stream(twilio: FakeTwilioApi) -> None:
    made = Line(twilio, TalkingEngine())
    async with made.serving() as line:
        await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        await line.voice.tell(f"{PUBLIC}/status", CALL, CallStatus="completed")
        row = await only_row(line.state)
    assert told(row) == (Outcome.NO_STREAM, "the call ended before its audio came")


async def test_a_stream_that_finds_no_session(twilio: FakeTwilioApi) -> None:
    made = Line(twilio, engine := TalkingEngine(capacity=1))
    async with made.serving() as line:
        twiml = await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        engine.open_session()  # another call was faster
        async with line.call(twiml=twiml) as phone:
            assert (await phone.closed())[0] == 1013
        row = await only_row(line.state)
    assert row.outcome is Outcome.BUSY


async def test_a_call_whose_engine_fails(twilio: FakeTwilioApi) -> None:
    made = Line(twilio, TalkingEngine(fails_at=2))
    async with made.serving() as line, line.call() as phone:
        await talk(phone, 1)
        await phone.say(times=8)
        await phone.closed()
        row = await only_row(line.state)
    assert told(row)[0] is Outcome.FAILED


@pytest.mark.parametrize(("how", "secs"), [("completed", 42.0), ("no-answer", None)])
async def test_a_transfer_with_its_result(twilio: FakeTwilioApi, how: str, secs: float | None) -> None:
    made = Line(twilio, TalkingEngine(), transfer_to=PERSON, transfer_key="0")
    async with made.serving() as line:
        async with line.call() as phone:
            await talk(phone)
            await press(phone, "0")
            await phone.closed()
        row = await only_row(line.state)
        assert (row.outcome, row.transfer_to, row.transfer_outcome) == (Outcome.TRANSFERRED, PERSON, None)
        form = {"CallSid": CALL, "From": CALLER, "To": NUMBER, "DialCallStatus": how}
        form |= {"DialCallDuration": "42"} if secs else {}
        _, twiml = await line.voice.post(f"{PUBLIC}/transferred", form)
        (row,) = line.state.history.rows
        assert (row.transfer_outcome, row.transfer_secs) == (how, secs)
        if secs is None:  # the caller is back
            async with line.call(twiml=twiml) as phone:
                await talk(phone)
                assert line.state.history.rows[0].outcome is Outcome.RUNNING
                await phone.send({"event": "stop"})
                await phone.closed()
            again = await only_row(line.state)
            assert told(again) == (Outcome.ANSWERED, "the caller hung up")
            assert (again.began_at, again.secs >= row.secs) == (row.began_at, True)  # one row: both streams


async def test_a_call_of_the_page_and_a_stream_without_a_webhook() -> None:
    state = ServerState(FakeEngine())
    async with serving(state) as address, aiohttp.ClientSession() as http:
        async with http.post(f"http://{address}/web/call") as answer:
            made = await answer.json()
        start = start_message(call_sid=made["callSid"], parameters={"token": made["token"]})
        for message in (start, start_message(call_sid=OTHER)):
            async with Phone.calling(address, message) as phone:
                await talk(phone)
        await state.calls.wait_until_idle()
    rows = sorted(state.history.rows, key=lambda row: row.began_at)
    assert [(row.direction, row.outcome, row.from_number) for row in rows] == [
        ("browser", Outcome.ANSWERED, ""),
        ("stream", Outcome.ANSWERED, ""),
    ]


async def test_a_stranger_without_a_token_leaves_no_row() -> None:
    state = ServerState(FakeEngine(), auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)))
    async with serving(state) as address, Phone.calling(address, start_message(call_sid=CALL)) as phone:
        await phone.closed()
    assert state.history.rows == []


async def test_a_fallback_call_that_is_answered(twilio: FakeTwilioApi) -> None:
    made = Line(twilio, TalkingEngine(capacity=0), fallback_to=PERSON)
    async with made.serving() as line:
        await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        form = {"CallSid": CALL, "From": CALLER, "To": NUMBER, "DialCallStatus": "completed"}
        await line.voice.post(f"{PUBLIC}/transferred", form | {"DialCallDuration": "42"})
        row = await only_row(line.state)
    assert row.outcome is Outcome.FALLBACK
    assert (row.transfer_to, row.transfer_outcome, row.transfer_secs) == (PERSON, "completed", 42.0)


async def test_calls_continue_while_the_database_is_locked(
    twilio: FakeTwilioApi, tmp_path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_database, "BUSY_SECS", 0.05)
    path = tmp_path / "calls.db"
    check_database(path)
    made = Line(twilio, TalkingEngine())
    made.state.history = CallHistory(store := CallStore(path, pauses_secs=(0.05,)))
    locker = sqlite3.connect(path, isolation_level=None)
    async with made.state.background(), made.serving() as line:
        assert await asyncio.to_thread(store.flush, 5)
        locker.execute("BEGIN IMMEDIATE")
        async with line.call() as phone:
            await talk(phone)
            await logged.says("Cannot write rows of calls to")
            await phone.send({"event": "stop"})
            await phone.closed()
            await line.state.calls.wait_until_idle()
        told = await HistorySource(line.state).find(CallSearch())
        assert [call["outcome"] for call in told["calls"]] == ["answered"]
        assert "database is locked" in told["error"]
        locker.execute("ROLLBACK")
        assert await asyncio.to_thread(store.flush, 5)
        told = await HistorySource(line.state).find(CallSearch())
        assert (told["total"], told["error"]) == (1, None)
    locker.close()


async def test_rows_are_stored_during_the_call(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    check_database(path)
    made = Line(twilio, TalkingEngine())
    made.state.history = CallHistory(store := CallStore(path))
    async with made.state.background(), made.serving() as line, line.call() as phone:
        await talk(phone)
        assert await asyncio.to_thread(store.flush, 5)
        with open_database(path, read_only=True) as database:
            assert [row.outcome for row in find_rows(database, CallSearch())] == [Outcome.RUNNING]
        await phone.send({"event": "stop"})
        await phone.closed()
        await line.state.calls.wait_until_idle()
    with open_database(path, read_only=True) as database:
        assert find_rows(database, CallSearch()) == made.state.history.rows
