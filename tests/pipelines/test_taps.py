from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from moshi_phone.conversation.live import Judge, LiveConversation
from moshi_phone.records.call_metrics import CallObservations
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions
from pipelines.taps import make_taps
from processors.frames import MulawInputFrame, MulawOutputFrame
from processors.meter import Meter
from processors.recorder import Recorder
from processors.repetition_watch import RepetitionWatch
from processors.tap import Tap
from processors.transcript import Transcriber
from tests.support.inline_executor import InlineExecutor


def kinds(stages: list[object]) -> list[type]:
    """Return the observers of frames, in order."""
    return [type(observer) for stage in stages if isinstance(stage, Tap) for observer in stage.monitors]


@pytest.fixture
def files() -> FileWriter:
    return FileWriter()


async def test_taps_not_requested_are_absent(files: FileWriter) -> None:
    seen = CallObservations()
    taps = make_taps(TapOptions(meter=False), "name", seen, files)
    assert taps.inbound_taps == []
    assert kinds([*taps.taps]) == [Transcriber]  # the page shows the words, whether they are kept or not
    assert seen.kept == {}


async def test_all_taps(files: FileWriter, tmp_path: Path) -> None:
    seen = CallObservations()
    options = TapOptions(record=tmp_path / "r", transcripts=tmp_path / "t")
    taps = make_taps(options, "name", seen, files)
    assert kinds([*taps.inbound_taps]) == [Recorder]
    assert kinds([*taps.taps]) == [Meter, RepetitionWatch, Transcriber, Recorder]
    assert {name: kept.path for name, kept in seen.kept.items()} == {
        "transcript": tmp_path / "t" / "name.txt",
        "recording": tmp_path / "r" / "name.wav",
    }
    for stage in (*taps.inbound_taps, *taps.taps):
        for observer in stage.monitors:  # type: ignore[attr-defined]
            observer.close()
    assert files.flush(5)


async def test_taps_of_both_voices_share_one_time_line(files: FileWriter, tmp_path: Path) -> None:
    seen = CallObservations(conversation=LiveConversation(Judge(InlineExecutor())))
    taps = make_taps(TapOptions(record=tmp_path), "name", seen, files)
    (inbound,), (tap,) = taps.inbound_taps, taps.taps
    said, heard = MulawInputFrame(bytes([0x10]) * 640), MulawOutputFrame(bytes([0x90]) * 640)
    for _ in range(12):
        inbound.monitors[0].observe(said)  # type: ignore[attr-defined]
        for observer in tap.monitors:  # type: ignore[attr-defined]
            observer.observe(heard)
    for stage in (inbound, tap):
        for observer in stage.monitors:  # type: ignore[attr-defined]
            observer.close()
    assert seen.conversation
    await seen.conversation.finished()
    assert files.flush(5)
    sides, _ = soundfile.read(tmp_path / "name.wav", dtype="int16")
    assert seen.conversation.strip["until_s"] == pytest.approx(len(sides) / 8_000, abs=0.01)


@pytest.mark.parametrize(("redact", "shown"), [("none", "call 555 now"), ("digits", "call ### now")])
async def test_digits_are_masked_on_request(files: FileWriter, redact: str, shown: str) -> None:
    seen = CallObservations()
    make_taps(TapOptions(redact=redact), "name", seen, files)  # type: ignore[arg-type]
    seen.transcript.add("call 555 now", 1.0, "caller")
    seen.transcript.close()
    assert [line.text for line in seen.transcript.lines] == [shown]
