"""server/calls/reports.py: the hooks' reports of whole calls over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.personas import Personas
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.options import HookOptions
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.call_database import open_database
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_queries import put_rows
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_store import CallStore
from moshi_phone.server.calls import answering, pending
from moshi_phone.server.calls.reports import MAX_HELD, MAX_PENDING, Reports
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import row_report
from tests.fakes.hook import FakeHook, hook, says
from tests.fakes.twilio_api import NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER
from tests.server.talking_line import CALL, HEAD, PERSON, PUBLIC, Line, TalkingEngine, press, talk
from tests.support.logs import Logged
from tests.support.waiting import until


@asynccontextmanager
async def told_line(
    twilio: FakeTwilioApi, folder: Path, engine: TalkingEngine | None = None, **hooks: object
) -> AsyncIterator[tuple[Line, FakeHook]]:
    """A server whose ``--on-end`` is a real hook, and which ends like the program."""
    async with hook(says()) as told:
        made = Line(twilio, engine or TalkingEngine(), transfer_to=PERSON, transfer_key="0")
        made.state.settings = replace(made.state.settings, hooks=HookOptions(**hooks))  # type: ignore[arg-type]
        made.state.outbox = Outbox(Hook(told.url), folder)
        made.state.personas = Personas(
            sections={"dentist": CallOverrides()}, names_by_number={NUMBER: "dentist"}
        )
        async with made.state.background(), made.serving() as line:
            yield line, told
            await line.state.calls.wait_until_idle()


async def put_through(line: Line) -> None:
    async with line.call() as phone:
        await talk(phone)
        await press(phone, "0")
        await phone.closed()
    await line.state.calls.wait_until_idle()


async def test_a_transfer_is_reported_when_its_result_is_known(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    async with told_line(twilio, tmp_path) as (line, told):
        await put_through(line)
        assert told.bodies == []
        assert held_in(tmp_path) == 1
        form = {"CallSid": CALL, "From": CALLER, "To": NUMBER, "DialCallStatus": "completed"}
        await line.voice.post(f"{PUBLIC}/transferred", form | {"DialCallDuration": "95"})
        await until(lambda: len(told.bodies) == 1)
        await line.voice.tell(f"{PUBLIC}/status", CALL, CallStatus="completed")
    (event,) = told.told
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240
    assert (event["event"], event["kind"], event["section"]) == ("end", "call", "dentist")
    assert event["outcome"] == "transferred"
    assert event["transfer"] == {"to": PERSON, "outcome": "completed", "secs": 95.0}
    assert event["metrics"]["frames"] >= 2


async def test_a_transfer_without_a_result_is_reported_at_the_end(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    async with told_line(twilio, tmp_path) as (line, told):
        await put_through(line)
    (event,) = told.told
    assert event["transfer"] == {"to": PERSON, "outcome": None, "secs": None}


async def test_a_transfer_is_reported_after_the_program_was_killed(tmp_path: Path) -> None:
    reports, row = Reports(), CallRow(call_sid=CALL, outcome=Outcome.TRANSFERRED, transfer_to=PERSON)
    async with hook(says()) as told:
        await reports.end(Outbox(Hook(told.url), tmp_path), row_report(row, None))
        assert held_in(tmp_path) == 1
        (tmp_path / "x.held").write_text('{"call_sid": "CAx"}')
        again = Outbox(Hook(told.url), tmp_path)
        await again.delete({"CAx"})
        again.start()
        await until(lambda: len(told.bodies) == 1)
        await again.stop()
    assert told.told[0]["transfer"] == {"to": PERSON, "outcome": None, "secs": None}


def held_in(folder: Path) -> int:
    return len(list(folder.glob("*.held")))


async def test_refused_calls_are_reported_once(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    async with told_line(twilio, tmp_path, deny=(CALLER,)) as (line, told):
        for _ in range(2):
            await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
    (event,) = told.told
    assert (event["outcome"], event["reason"]) == ("denied", "the number is on the --deny list")
    assert (event["from"], event["to"], event["direction"]) == (CALLER, NUMBER, "inbound")
    assert (event["secs"], event["words"], event["engine"]) == (0.0, [], "")


async def test_a_call_without_a_stream_is_reported(
    twilio: FakeTwilioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "STREAM_SECS", 0.05)
    monkeypatch.setattr(answering, "HOLD_SECS", 0.1)
    async with told_line(twilio, tmp_path) as (line, told):
        await line.voice.call_in(f"{PUBLIC}/twiml", CALL)
        await until(lambda: len(told.bodies) == 1)
    assert told.told[0]["outcome"] == Outcome.NO_STREAM
    assert told.told[0]["from"] == CALLER
    assert pending.HOLD_SECS == 20.0


async def test_the_start_of_a_call_is_reported(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    async with (
        hook(says()) as begins,
        told_line(twilio, tmp_path, on_begin=begins.url) as (line, _),
        line.call() as phone,
    ):
        await talk(phone)
        await until(lambda: len(begins.bodies) == 1)
        await phone.send({"event": "stop"})
        await phone.closed()
    (event,) = begins.told
    assert (event["event"], event["call_sid"], event["from"]) == ("begin", CALL, CALLER)
    assert (event["section"], event["engine"]) == ("dentist", "fake")


@pytest.mark.parametrize(
    ("instead", "twiml", "outcome"),
    [
        ({"busy": True}, '<Reject reason="busy" />', "refused"),
        ({"say": "We moved."}, "<Say>We moved.</Say>", "refused"),
        (
            {"transfer_to": PERSON},
            f'<Dial action="{PUBLIC}/transferred" timeout="20"><Number>{PERSON}</Number></Dial>',
            "transferred",
        ),
        ({"transfer_to": NUMBER}, '<Reject reason="busy" />', "refused"),  # it would ring here again
        ({"message": "Speak."}, '<Reject reason="busy" />', "refused"),  # there is no --fallback-record
    ],
)
async def test_the_alternative_to_a_refusal_is_reported(
    twilio: FakeTwilioApi, tmp_path: Path, instead: Mapping[str, Any], twiml: str, outcome: str
) -> None:
    answer = json.dumps({"accept": False, "instead": instead})
    engine = TalkingEngine(capacity=1)
    async with hook(says(answer)) as asked, told_line(twilio, tmp_path, engine, on_call=asked.url) as made:
        line, told = made
        for sid in (CALL, "CA" + "2" * 32):  # the session that was held is free again
            assert await line.voice.call_in(f"{PUBLIC}/twiml", sid) == f"{HEAD}<Response>{twiml}</Response>"
    assert {event["outcome"] for event in told.told} == {outcome}
    assert len(told.told) == 2
    assert engine.opened == 0


async def test_waiting_reports_are_bounded(tmp_path: Path, logged: Logged) -> None:
    class Stalled(Outbox):
        def __init__(self) -> None:
            self.added: list[str] = []

        async def hold(self, event: Mapping[str, object]) -> Path | None:
            return None

        async def add(self, event: Mapping[str, object]) -> None:
            self.added.append(str(event["call_sid"]))
            await asyncio.sleep(3600)

    reports, outbox = Reports(), Stalled()
    for number in range(MAX_HELD + 3):
        row = CallRow(call_sid=f"CA{number}", outcome=Outcome.TRANSFERRED)
        await reports.end(outbox, row_report(row, None))
    await asyncio.sleep(0)
    assert outbox.added == ["CA0", "CA1", "CA2"], "the oldest are told without a result"
    for _ in range(MAX_PENDING):
        reports.send(outbox, row_report(CallRow(), None))
    await asyncio.sleep(0)
    assert len(outbox.added) == MAX_PENDING
    assert logged.text.count("A report for --on-end is dropped") == 3
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_a_call_of_a_killed_process_is_reported_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    killed = CallRow(id="0a1b2c3d4e5f", call_sid=CALL, from_number=CALLER, outcome=Outcome.RUNNING)
    with open_database(path) as database:
        put_rows(database, [killed])
    async with hook(says()) as told:
        outbox = Outbox(Hook(told.url), tmp_path / "outbox")
        state = ServerState(TalkingEngine(), history=CallHistory(CallStore(path)), outbox=outbox)
        async with state.storing():
            await until(lambda: bool(told.told))
    (event,) = told.told
    assert (event["event"], event["call_sid"], event["from"]) == ("end", CALL, CALLER)
    assert (event["outcome"], event["reason"]) == ("interrupted", "the program ended meanwhile")
