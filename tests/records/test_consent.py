"""records/consent.py, and the files that depend on it: nothing from before the notice, nothing after a
refusal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.records.consent import REFUSED, TOLD, Consent
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.recording import Recording
from moshi_phone.records.transcript import Transcript
from moshi_phone.records.transcript_file import JSON_LINES, TEXT, TranscriptFile


def test_a_refusal_is_final() -> None:
    consent = Consent.awaited()
    assert not consent.may_keep(1.0)
    consent.told(2.0)
    assert (consent.state, consent.may_keep(1.9), consent.may_keep(2.0)) == (TOLD, False, True)
    consent.refuse()
    consent.told(3.0)
    assert (consent.state, consent.may_keep(9.0)) == (REFUSED, False)


@pytest.mark.parametrize("told_after", [0, 3, 7])
def test_audio_before_the_notice_is_recorded_as_silence(tmp_path: Path, told_after: int) -> None:
    """Blocks of 80 ms; the notice ends within one."""
    consent, files, path = Consent.awaited(), FileWriter(), tmp_path / "a.wav"
    recording = Recording(path, files, consent=consent)
    for block in range(20):
        if block == told_after:
            consent.told(block * 0.08 + 0.04)
        recording.take(np.full((640, 2), 1000 + block, np.int16))
    recording.close()
    assert files.flush(5)
    both, _ = soundfile.read(path, dtype="int16")
    silent = told_after * 640 + 320
    assert (len(both), int(np.count_nonzero(both[:silent]))) == (20 * 640, 0)
    assert np.array_equal(both[silent:, 0], np.repeat(1000 + np.arange(20), 640)[silent:])


def test_a_call_without_a_notice_has_no_file(tmp_path: Path) -> None:
    files, consent = FileWriter(), Consent.awaited()
    recording = Recording(tmp_path / "a.wav", files, consent=consent)
    transcript = Transcript([TranscriptFile(tmp_path / "a", TEXT, files)], consent=consent)
    for _ in range(20):
        recording.take(np.ones((8_000, 2), np.int16))
    transcript.add(" My name is Eve.", 1.0, "caller")
    recording.close()
    transcript.close()
    assert files.flush(5)
    assert (list(tmp_path.iterdir()), transcript.lines) == ([], [])


@pytest.mark.parametrize("closed_before", [False, True])
def test_stored_files_are_deleted_after_a_refusal(tmp_path: Path, closed_before: bool) -> None:
    files, consent = FileWriter(), Consent()
    recording = Recording(tmp_path / "a.wav", files, consent=consent)
    forms = [TranscriptFile(tmp_path / "a", form, files) for form in (TEXT, JSON_LINES)]
    transcript = Transcript(forms, consent=consent)
    recording.take(np.ones((9_000, 2), np.int16))
    transcript.add(" My name is Eve.", 1.0, "caller")
    if closed_before:
        recording.close()
        transcript.close()
    assert files.flush(5)
    assert len(list(tmp_path.iterdir())) == 3
    consent.refuse()
    recording.discard()
    transcript.discard()
    recording.take(np.ones((9_000, 2), np.int16))
    transcript.add(" And I live here.", 2.0, "caller")
    recording.close()
    transcript.close()
    assert files.flush(5)
    assert (list(tmp_path.iterdir()), transcript.lines) == ([], [])
    assert recording.is_lost
