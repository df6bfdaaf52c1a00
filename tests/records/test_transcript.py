"""Lines of both sides in order of time, in memory and in files that are complete at any time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.redaction import redact_digits
from moshi_phone.records.transcript import LATE_S, LINE_CHARS, Transcript
from moshi_phone.records.transcript_file import (
    JSON_LINES,
    NO_HEADING,
    TEXT,
    Heading,
    Speaker,
    TranscriptFile,
    TranscriptLine,
    heading,
)
from tests.support.logs import Logged

WAIT_S = 5.0


def files_of(writer: FileWriter, path: Path, heading: Heading = NO_HEADING) -> list[TranscriptFile]:
    return [TranscriptFile(path, form, writer, heading) for form in (TEXT, JSON_LINES)]


def test_pauses_and_sentence_ends_end_a_line(tmp_path: Path) -> None:
    writer = FileWriter()
    transcript = Transcript(files_of(writer, tmp_path / "call"))
    for at_s, text in [(0.1, " Hel"), (0.2, "lo."), (0.4, " How"), (0.5, " are"), (2.0, " you"), (2.1, "")]:
        transcript.add(text, at_s)
    assert transcript.lines == [
        TranscriptLine(0.1, "bot", "Hello."),
        TranscriptLine(0.4, "bot", "How are"),
        TranscriptLine(2.0, "bot", "you"),
    ]
    # A call that is cut here has lost nothing.
    assert writer.flush(WAIT_S)
    expected = "    0.10  bot     Hello.\n    0.40  bot     How are\n    2.00  bot     you\n"
    assert (tmp_path / "call.txt").read_text() == expected
    transcript.close()
    transcript.close()
    assert writer.flush(WAIT_S)
    assert (tmp_path / "call.txt").read_text() == expected
    assert transcript.pieces == 5


def test_speech_without_pauses_gets_new_lines_too() -> None:
    transcript = Transcript()
    for number in range(2 * LINE_CHARS):
        transcript.add(" on", 0.1 * number)
    lengths = [len(line.text) for line in transcript.lines]
    assert max(lengths) <= LINE_CHARS + len(" on")
    assert sum(lengths) + len(lengths) == 2 * LINE_CHARS * len(" on")  # each lost but the blank it began with


def test_lines_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    writer = FileWriter()
    transcript = Transcript(files_of(writer, tmp_path / "call"))
    pieces: list[tuple[str, float, Speaker]] = [
        (" Hello", 0.5, "bot"),
        (" there.", 0.9, "bot"),
        (" Who", 2.0, "bot"),
        (" Hi", 1.2, "caller"),  # made out later than it was said
        (" is", 2.2, "bot"),
        (" Moshi", 1.6, "caller"),
        (" it?", 2.4, "bot"),
        (" It's", 2.3, "caller"),  # both at once
        (" me.", 2.5, "caller"),
    ]
    for piece in pieces:
        transcript.add(*piece)
    assert writer.flush(WAIT_S)
    assert (tmp_path / "call.txt").read_text() == (
        "    0.50  bot     Hello there.\n    1.20  caller  Hi Moshi It's me.\n    2.00  bot     Who is it?\n"
    )
    assert [json.loads(line) for line in (tmp_path / "call.jsonl").read_text().splitlines()] == [
        {"at_s": 0.5, "speaker": "bot", "text": "Hello there."},
        {"at_s": 1.2, "speaker": "caller", "text": "Hi Moshi It's me."},
        {"at_s": 2.0, "speaker": "bot", "text": "Who is it?"},
    ]
    assert [line.at_s for line in transcript.lines] == [0.5, 1.2, 2.0]
    transcript.close()


def test_very_late_words_are_not_lost(tmp_path: Path) -> None:
    writer = FileWriter()
    transcript = Transcript(files_of(writer, tmp_path / "call"))
    for second in range(0, 40, 2):
        transcript.add(f" {second}", second)
    transcript.add(" late", 1.0, "caller")
    transcript.add(" later", 1.5, "caller")
    assert writer.flush(WAIT_S)
    lines = (tmp_path / "call.txt").read_text().splitlines()
    assert len(lines) == 21
    assert [line.split()[1] for line in lines].count("caller") == 1
    assert lines[-1].endswith("38")
    assert [line.text for line in transcript.lines] == [line[18:] for line in lines]
    transcript.close()


def test_memory_is_bounded_and_the_files_are_complete(tmp_path: Path) -> None:
    writer = FileWriter()
    transcript = Transcript(files_of(writer, tmp_path / "call"))
    for second in range(0, 600, 2):
        transcript.add(f" {second}", second)
        assert len(transcript._changing) <= LATE_S / 2 + 2
    transcript.close()
    assert len(transcript.lines) == 200
    assert transcript.lines[-1].text == "598"
    assert writer.flush(WAIT_S)
    texts = [line[18:] for line in (tmp_path / "call.txt").read_text().splitlines()]
    assert texts == [str(second) for second in range(0, 600, 2)]


def test_numbers_can_be_masked(tmp_path: Path) -> None:
    writer = FileWriter()
    transcript = Transcript(files_of(writer, tmp_path / "call"), redact_digits)
    for at_s, text in enumerate([" My", " card", " is", " 42", "42", " 4242", " thanks"]):
        transcript.add(text, at_s / 10, "caller")
    assert [line.text for line in transcript.lines] == ["My card is #### #### thanks"]
    assert writer.flush(WAIT_S)
    for ending in (".txt", ".jsonl"):
        assert "42" not in (tmp_path / f"call{ending}").read_text()
    transcript.close()


def test_a_call_without_words_has_no_file_and_a_full_disk_does_not_end_it(
    tmp_path: Path, logged: Logged
) -> None:
    writer = FileWriter()
    Transcript(files_of(writer, tmp_path / "call", {"date": "today"})).close()
    nowhere = Transcript(files_of(writer, tmp_path / "gone" / "call"))
    nowhere.add("secret", 0.0)
    nowhere.add(" more", 0.1)
    assert writer.flush(WAIT_S)
    assert list(tmp_path.iterdir()) == []
    assert [line.text for line in nowhere.lines] == ["secret more"]
    assert len(logged.lines) == 2, "once for each file"
    assert "secret" not in logged.text


def test_files_start_with_date_call_and_engine(tmp_path: Path) -> None:
    writer = FileWriter()
    began = datetime(2026, 11, 21, 16, 5, 7, tzinfo=UTC)
    transcript = Transcript(files_of(writer, tmp_path / "call", heading(began, "CA1", "parrot")))
    transcript.add(" Hello", 0.1)
    transcript.add(" you", 0.2, "caller")
    transcript.close()
    assert writer.flush(WAIT_S)
    assert (tmp_path / "call.txt").read_text() == (
        "date: 2026-11-21T16:05:07Z\ncall: CA1\nengine: parrot\n\n"
        "    0.10  bot     Hello\n    0.20  caller  you\n"
    )
    assert [json.loads(line) for line in (tmp_path / "call.jsonl").read_text().splitlines()] == [
        {"date": "2026-11-21T16:05:07Z", "call": "CA1", "engine": "parrot"},
        {"at_s": 0.1, "speaker": "bot", "text": "Hello"},
        {"at_s": 0.2, "speaker": "caller", "text": "you"},
    ]


@pytest.mark.parametrize("gone", [False, True])
def test_facts_known_at_the_end_are_in_the_header(tmp_path: Path, logged: Logged, gone: bool) -> None:
    writer, began = FileWriter(), datetime(2026, 11, 21, 16, 5, 7, tzinfo=UTC)
    told = heading(began, "CA1", "parrot", {"from": "+15551234567"})
    transcript = Transcript(files_of(writer, tmp_path / "call", told))
    transcript.add(" Hello", 0.1)
    transcript.close()
    assert writer.flush(WAIT_S)
    if gone:
        (tmp_path / "call.txt").unlink()
    transcript.conclude({"secs": "1.5", "reason": "the caller hung up"})
    assert writer.flush(WAIT_S)
    lines = (tmp_path / "call.jsonl").read_text().splitlines()
    assert list(json.loads(lines[0])) == ["date", "call", "engine", "from", "secs", "reason"]
    assert json.loads(lines[1])["text"] == "Hello"
    assert (tmp_path / "call.jsonl").stat().st_mode & 0o777 == 0o600
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".jsonl", ".txt"][: 1 if gone else 2]
    if gone:
        assert logged.text.count("stays without its last lines") == 1
    else:
        text = (tmp_path / "call.txt").read_text()
        assert text.endswith("secs: 1.5\nreason: the caller hung up\n\n    0.10  bot     Hello\n")


def test_a_line_without_spaces_is_bounded() -> None:
    transcript = Transcript()
    for n in range(3 * LINE_CHARS):
        transcript.add("字", n * 0.01)
    assert [len(line.text) for line in transcript.lines] == [2 * LINE_CHARS, LINE_CHARS]


def test_a_long_piece_is_split_into_lines() -> None:
    transcript = Transcript()
    transcript.add("a" * 100_000, 1.0)
    assert max(len(line.text) for line in transcript.lines) <= 3 * LINE_CHARS
    assert sum(len(line.text) for line in transcript.lines) == 100_000


def test_half_a_surrogate_pair_is_replaced() -> None:
    """A remote engine's JSON may contain one; no file, page or hook could encode it."""
    transcript = Transcript()
    for piece in ("Hi \ud83d", "\udc26", " \udc00."):
        transcript.add(piece, 1.0)
    assert [line.text for line in transcript.lines] == ["Hi 🐦 \ufffd."]
