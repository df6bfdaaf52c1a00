"""From frames to a transcript: both sides, each with its time."""

from __future__ import annotations

from pathlib import Path

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.tests.utils import run_test

from moshi_phone.engines.duplex import CallerText, DuplexStep
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.transcript import Transcript
from moshi_phone.records.transcript_file import TEXT, TranscriptFile, TranscriptLine
from processors.tap import Tap
from processors.transcript import Transcriber
from processors.transcription_frames import WordFrames


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_the_caller_s_words_have_the_time_at_which_they_were_said() -> None:
    clock, transcript, words = Clock(), Transcript(), WordFrames()
    transcriber = Transcriber(transcript, clock)
    clock.now_s = 50.25  # the first frame's delay after the call's start, less its own 80 ms
    steps = [
        (3.0, DuplexStep(None, " Hello")),
        (3.2, DuplexStep(None, "", caller_text=(CallerText(" Good", 2.0), CallerText(" day", 2.4)))),
        (3.4, DuplexStep(None, " you", caller_text=(CallerText(".", 2.6),))),
    ]
    for heard_s, step in steps:
        clock.now_s = 50.25 + heard_s
        for frame in words.of_step(step, heard_s, now_ns=0):
            transcriber.observe(frame)
    for frame in words.finish():
        transcriber.observe(frame)
    assert [(round(line.at_s, 2), line.speaker, line.text) for line in transcript.lines] == [
        (2.25, "caller", "Good day."),
        (3.25, "bot", "Hello you"),
    ]


def test_transcriptions_of_another_recognizer_are_the_caller_s() -> None:
    clock, transcript = Clock(), Transcript()
    transcriber = Transcriber(transcript, clock)
    clock.now_s = 51.0
    frames: list[Frame] = [
        InterimTranscriptionFrame("Good", "somebody", ""),
        TranscriptionFrame("Good day.", "somebody", ""),
        LLMTextFrame("not spoken"),
    ]
    for frame in frames:
        transcriber.observe(frame)
    assert transcript.lines == [TranscriptLine(1.0, "caller", "Good day.")]


async def test_the_tap_passes_words_on_and_closes_the_transcript(tmp_path: Path) -> None:
    times, writer = iter([50.0, 51.5]), FileWriter()
    transcript = Transcript([TranscriptFile(tmp_path / "call", TEXT, writer)])
    tap = Tap(Transcriber(transcript, now_s=lambda: next(times)))
    await run_test(tap, frames_to_send=[TTSTextFrame(" Hi", "token")], expected_down_frames=[TTSTextFrame])
    assert writer.flush(5)
    assert (tmp_path / "call.txt").read_text() == "    1.50  bot     Hi\n"
    transcript.add(" too late", 2.0)
    assert writer.flush(5)
    assert (tmp_path / "call.txt").read_text() == "    1.50  bot     Hi\n"  # closed with the pipeline
