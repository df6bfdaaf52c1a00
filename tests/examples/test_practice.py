"""examples/practice: an evening at a dental practice with three numbers, with its own two files."""

from __future__ import annotations

import re
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from dotenv import dotenv_values

from moshi_phone.engines.personas import load_personas
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.closed import check_hours
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.settings import Settings
from tests.deploy.test_names import variables
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.support.program import ROOT, program
from tests.support.waiting import until

PRACTICE = ROOT / "examples" / "practice"
PUBLIC = "https://phone.practice.example"
DESK, APPOINTMENTS, EMERGENCIES = (f"+1555000000{n}" for n in (1, 2, 3))
MONDAY = datetime(2026, 11, 30, 10, tzinfo=UTC)


def test_the_files_name_existing_options_and_sections() -> None:
    values = dotenv_values(PRACTICE / "practice.env")
    assert values.keys() <= variables()
    assert (values["TWILIO_NUMBER"] or "").split(",") == [DESK, APPOINTMENTS, EMERGENCIES]
    personas = load_personas(PRACTICE / "personas.toml")
    assert personas.names == ["desk", "appointments", "emergencies"]
    check_hours(
        personas,
        Settings(
            calls=CallOptions(), taps=TapOptions(fallback_record=Path(values["MOSHI_FALLBACK_RECORD"] or ""))
        ),
    )
    night = MONDAY + timedelta(hours=10)
    for number, when in ((DESK, "message"), (APPOINTMENTS, "message"), (EMERGENCIES, "transfer")):
        line = personas.hours_of(called=number, caller=CALLER)
        assert (line.hours.is_open(MONDAY), line.hours.is_open(night), line.when_closed) == (
            True,
            False,
            when,
        )


def form(number: str, call_sid: str, **more: str) -> dict[str, str]:
    return {
        "AccountSid": ACCOUNT_SID,
        "CallSid": call_sid,
        "CallStatus": "ringing",
        "Direction": "inbound",
        "From": CALLER,
        "To": number,
        **more,
    }


@pytest.mark.slow
async def test_the_practice_s_evening(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    """Three numbers ring here; at night a message is taken, an emergency is transferred; all are restored."""
    twilio.numbers = [
        twilio.number
        | {"sid": f"PN{n:032x}", "phone_number": number, "voice_url": f"https://old.example/{n}"}
        for n, number in enumerate((DESK, APPOINTMENTS, EMERGENCIES))
    ]
    # Whatever time it is here: the practice is closed today, and tomorrow, which it may be in Berlin.
    today = datetime.now(UTC).date()
    toml = re.sub(
        r"^closed = .*$",
        f'closed = ["{today - timedelta(days=1)}/{today + timedelta(days=1)}"]',
        (PRACTICE / "personas.toml").read_text(),
        flags=re.MULTILINE,
    )
    (tmp_path / "personas.toml").write_text(toml)
    environment = {name: value or "" for name, value in dotenv_values(PRACTICE / "practice.env").items()} | {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_API_URL": twilio.url,
        "MOSHI_PORT": "0",
        "MOSHI_PERSONAS": "personas.toml",
        "MOSHI_LOG_LEVEL": "info",
    }
    async with program(environment=environment, folder=str(tmp_path)) as run:
        address = re.search(r"ws://([\d.:]+)/", await run.says("Answering calls at"))
        assert address is not None
        for _ in range(3):
            await run.says("rings here now")
        assert {one["voice_url"] for one in twilio.numbers} == {f"{PUBLIC}/twiml"}
        voice = FakeTwilioVoice(PUBLIC, address[1])

        sid, recording = "CA" + "1" * 32, "RE" + "1" * 32
        _, document = await voice.post(f"{PUBLIC}/twiml", form(DESK, sid))
        say, record, _ = ET.fromstring(document)  # noqa: S314 - our own
        assert say.text == "The practice is closed. Please leave a message with your number after the tone."
        twilio.recordings[recording] = b"RIFF" + bytes(1_000)
        left = form(DESK, sid, RecordingSid=recording, RecordingDuration="9", CallStatus="completed")
        await voice.post(record.attrib["action"], left)
        await until(lambda: not twilio.recordings)

        _, document = await voice.post(f"{PUBLIC}/twiml", form(EMERGENCIES, "CA" + "2" * 32))
        assert [number.text for number in ET.fromstring(document)[0]] == ["+15558880000"]  # noqa: S314

        run.signal(signal.SIGTERM)
        assert await run.ends() == 0, run.said
    assert [one["voice_url"] for one in twilio.numbers] == [f"https://old.example/{n}" for n in range(3)]
    assert len(list((tmp_path / "messages").glob("*.wav"))) == 1
    with closing(sqlite3.connect(tmp_path / "calls.db")) as database:
        rows = database.execute("SELECT kind, outcome, section, secs FROM calls ORDER BY began_at").fetchall()
    assert rows == [("message", "message", "desk", 9.0), ("call", "closed", "emergencies", 0.0)]
    assert CALLER not in run.said
