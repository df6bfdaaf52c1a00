"""``--review``: a test report of each recorded call after its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moshi_phone.audio import g711, pcm
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from tests.conversation.scripted import clip
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message


@pytest.mark.slow
async def test_a_recorded_call_has_a_test_report(tmp_path: Path) -> None:
    state = ServerState(ParrotEngine(delay_s=0), Settings(taps=TapOptions(record=tmp_path, review=True)))
    sid = "CA" + "7" * 32
    async with serving(state) as address:
        async with Phone.calling(address, start_message(call_sid=sid)) as phone:
            mulaw = g711.encode(pcm.to_bytes(clip("slt", "open-1")))
            for begin in range(0, len(mulaw), 160):
                await phone.say(mulaw[begin : begin + 160])
            await phone.send({"event": "stop", "streamSid": "MZ1", "stop": {}})
            await phone.closed()
        await state.calls.wait_until_idle()
        await state.reviews.finished()
    (report,) = tmp_path.glob("*/report.md")  # noqa: ASYNC240 - a test may wait
    text = report.read_text()
    assert "| answered by | parrot |" in text
    assert "| call | CA77777777 |" in text
    assert sid not in text
    told = json.loads(report.with_name("report.json").read_text())
    assert told["conversation"]["turns"] == 1
    assert told["ended"] == "the caller hung up"
    assert report.stat().st_mode & 0o077 == 0
    assert (report.parent / "conversation.png").exists()


async def test_a_recording_that_cannot_be_reviewed_is_logged_in_one_line(
    tmp_path: Path, logged: Logged
) -> None:
    state = ServerState(ParrotEngine())
    (tmp_path / "call.wav").write_text("nothing")
    state.reviews.add(tmp_path / "call.wav", {"call_sid": "CA\ud83d"})  # JSON can spell half a character
    await state.reviews.finished()
    assert "call.wav could not be judged" in logged.text
    assert "Traceback" not in logged.text
