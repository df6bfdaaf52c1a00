"""``dial --report DIR``: the real command, a call over sockets, and its test report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.dialled import dialled

LOUD = bytes([0x10, 0x90] * 80)

pytestmark = pytest.mark.slow


async def test_a_call_leaves_its_test_report(tmp_path: Path) -> None:
    async with dialled("--engine", "parrot", "--report", str(tmp_path)) as call:
        async with await call.answered() as (phone, _):
            await phone.say(LOUD, times=60)
            await phone.listen(1)
            call.twilio.calls[call.sid] |= {"status": "completed", "duration": "1"}
            await phone.send({"event": "stop"})
            await phone.closed()
        assert await call.run.ends() == 0
    check(tmp_path, call.sid)


def check(folder: Path, sid: str) -> None:
    (recording,) = folder.glob("*.wav")
    made = recording.with_suffix("")
    report = (made / "report.md").read_text()
    assert "parrot" in report
    assert "- [" in report
    assert sid not in report  # shortened
    assert json.loads((made / "report.json").read_text())["conversation"]["secs"] > 0.9
    assert list(made.glob("*.png"))
