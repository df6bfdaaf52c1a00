from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipecat.frames.frames import TextFrame
from pipecat.tests.utils import run_test

from processors.tap import Tap
from processors.transcript import Transcriber
from records.file_writer import FileWriter, WrittenFile
from records.transcript import TextSink, Transcript, TranscriptLine, heading


def text_file(files: FileWriter, path: Path) -> WrittenFile:
    return files.open(path, TextSink, "transcript")


def test_words_make_lines_and_pauses_and_sentences_end_them(tmp_path: Path) -> None:
    files = FileWriter()
    path = tmp_path / "call.txt"
    transcript = Transcript(text_file(files, path))
    for at_s, text in [(0.1, " Hel"), (0.2, "lo."), (0.4, " How"), (0.5, " are"), (2.0, " you"), (2.1, "")]:
        transcript.add(text, at_s)
    assert list(transcript.lines) == [
        TranscriptLine(0.1, "Hello."),
        TranscriptLine(0.4, "How are"),
        TranscriptLine(2.0, "you"),
    ]
    assert files.flush(5)
    # A call that is cut here has lost nothing.
    assert path.read_text() == "    0.10  Hello.\n    0.40  How are\n    2.00  you"
    transcript.close()
    transcript.close()
    assert files.flush(5)
    assert path.read_text().endswith("you\n")
    assert transcript.pieces == 5


def test_memory_is_bounded_and_the_file_has_it_all(tmp_path: Path) -> None:
    files = FileWriter()
    transcript = Transcript(text_file(files, tmp_path / "call.txt"))
    for second in range(0, 600, 2):
        transcript.add(f" {second}", second)
    transcript.close()
    assert files.flush(5)
    assert len(transcript.lines) == 200
    assert len((tmp_path / "call.txt").read_text().splitlines()) == 300


def test_a_call_without_words_leaves_no_file_and_a_full_disk_does_not_stop_it(tmp_path: Path) -> None:
    files = FileWriter()
    Transcript(text_file(files, tmp_path / "call.txt"), "date: today\n").close()
    nowhere = Transcript(text_file(files, tmp_path / "gone" / "call.txt"))
    nowhere.add("word", 0.0)
    nowhere.add(" more", 0.1)
    assert files.flush(5)
    assert not (tmp_path / "call.txt").exists()
    assert [line.text for line in nowhere.lines] == ["word more"]


def test_a_file_begins_with_date_call_and_engine(tmp_path: Path) -> None:
    files = FileWriter()
    began = datetime(2026, 11, 21, 16, 5, 7, tzinfo=UTC)
    transcript = Transcript(text_file(files, tmp_path / "call.txt"), heading(began, "CA1", "parrot"))
    transcript.add(" Hello", 0.1)
    transcript.add(" you", 0.2)
    transcript.close()
    assert files.flush(5)
    assert (tmp_path / "call.txt").read_text() == (
        "date: 2026-11-21T16:05:07Z\ncall: CA1\nengine: parrot\n\n    0.10  Hello you\n"
    )


async def test_the_tap_passes_text_on_and_stamps_it_with_the_call_s_time(tmp_path: Path) -> None:
    times = iter([50.0, 51.5])
    files = FileWriter()
    transcript = Transcript(text_file(files, tmp_path / "call.txt"))
    tap = Tap(Transcriber(transcript, now_s=lambda: next(times)))
    await run_test(tap, frames_to_send=[TextFrame(" Hi")], expected_down_frames=[TextFrame])
    assert list(transcript.lines) == [TranscriptLine(1.5, "Hi")]
    assert files.flush(5)
    assert (tmp_path / "call.txt").read_text() == "    1.50  Hi\n"  # closed with the pipeline
