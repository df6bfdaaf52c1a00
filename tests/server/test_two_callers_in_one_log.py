"""Two simultaneous calls in one log: each line has its call's SID, in both formats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moshi_phone.commands.logs import LogFormat, log_to_stderr
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from tests.support.logs import log_put_back
from tests.support.phone import Phone, serving, start_message

ANNA, BEN, STRANGER = ("CA" + digit * 32 for digit in "abc")
SHORT = [sid[:10] for sid in (ANNA, BEN, STRANGER)]
TONE = bytes([0x10, 0x90]) * 80


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    with log_put_back():
        yield


async def two_calls_and_a_stranger(folder: Path) -> None:
    """Log from the server's tasks, from pipecat's, and from the thread that writes recordings."""
    taps = TapOptions(record=folder)
    async with serving(ServerState(ParrotEngine(delay_s=0, capacity=2), Settings(taps=taps))) as address:
        put_a_file_in_its_place(folder)
        async with (
            Phone.calling(address, start_message("MZ1", call_sid=ANNA)) as anna,
            Phone.calling(address, start_message("MZ2", call_sid=BEN)) as ben,
        ):
            for phone in (anna, ben):
                await phone.socket.send("not JSON")
                await phone.say(TONE, times=8)
                await phone.listen(1)
            async with Phone.calling(address, start_message("MZ3", call_sid=STRANGER)) as third:
                assert (await third.closed())[0] == 1013
            for phone in (anna, ben):
                await phone.send({"event": "stop"})
                await phone.closed()


def put_a_file_in_its_place(folder: Path) -> None:
    """Make the writer's thread fail and log, for each call."""
    folder.rmdir()
    folder.write_text("")


@pytest.mark.parametrize("form", ["text", "json"])
async def test_each_line_has_its_call_s_sid(
    form: LogFormat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    log_to_stderr("debug", form=form)
    await two_calls_and_a_stranger(folder)
    lines = [read(line, form) for line in capsys.readouterr().err.splitlines()]
    of = {call: " ".join(message for own, message in lines if own == call) for call in (*SHORT, "")}
    for call in SHORT[:2]:
        for words in ("The call began", "Skipped a message", "Linking", "ends here", "The call ended"):
            assert words in of[call], (call, words)
    assert "Refused a stream (cause busy, from 127.0.0.1)" in of[SHORT[2]]
    assert "The call" not in of[""], "a line of a call that does not say of which"
    # Full SIDs are as good as a key to the call's words: one line of each call has it, at its end.
    assert sum(ANNA in message or BEN in message for _, message in lines if "ends here" not in message) == 2


def read(line: str, form: LogFormat) -> tuple[str, str]:
    """Return a line's call, or an empty string, and its message."""
    if form == "json":
        record = json.loads(line)
        return record.get("call", ""), record["message"]
    found = re.fullmatch(r"\S+ \S+ [A-Z]+ +(?:(CA[0-9a-f]{8}) )?(.*)", line)
    assert found, line
    return found[1] or "", found[2]
