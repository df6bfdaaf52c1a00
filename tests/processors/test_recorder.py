from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from audio import g711
from records.file_writer import FileWriter
from records.recording import Recording, Timeline
from rehearse.playback import Playback
from tests.logs import Logged

FRAME_S = 0.08


def noise(seed: int, samples: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, samples).astype(np.uint8).tobytes()


def pcm16(mulaw: bytes) -> NDArray[np.int16]:
    return np.frombuffer(g711.decode(mulaw), "<i2")


def test_both_sides_lie_where_the_ear_has_them(tmp_path: Path) -> None:
    now_s = 0.0
    files = FileWriter()
    recording = Recording(tmp_path / "call.wav", files, now_s=lambda: now_s)
    ear = Playback()
    said = b""
    for k in range(50):
        now_s = (k + 1) * FRAME_S
        frame = noise(k, 640)
        said += frame
        recording.said(frame)
        # Every fifth answer is 30 ms late, and after the twentieth one was 500 ms too late.
        now_s += 0.03 if k % 5 == 0 else 0.01
        if k == 20:
            now_s += 0.5
        if 20 < k < 27:
            continue
        answer = noise(1000 + k, 640)
        recording.heard(answer)
        ear.media(answer, now_s)
        now_s = max(now_s, (k + 1) * FRAME_S)
    recording.close()
    assert files.flush(5)
    sides, rate_hz = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert rate_hz == 8000
    assert np.array_equal(sides[: len(said), 0], pcm16(said))
    heard = pcm16(ear.heard(len(sides) / 8000).tobytes())
    assert np.array_equal(sides[:, 1], heard)
    assert [gap.samples for gap in ear.gaps] == [4000]


def test_the_file_is_whole_at_any_moment_but_for_the_last_second(tmp_path: Path) -> None:
    now_s = 0.0
    files = FileWriter()
    recording = Recording(tmp_path / "call.wav", files, now_s=lambda: now_s)
    said = heard = b""
    for k in range(30):
        now_s = (k + 1) * FRAME_S
        said, heard = said + noise(k, 640), heard + noise(100 + k, 640)
        recording.said(noise(k, 640))
        recording.heard(noise(100 + k, 640))
    assert files.flush(5)
    # Nothing has been closed: this is what a killed process leaves.
    sides, _ = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert len(sides) >= len(said) - 8000
    assert np.array_equal(sides[:, 0], pcm16(said)[: len(sides)])
    assert np.array_equal(sides[640:, 1], pcm16(heard)[: len(sides) - 640])
    recording.close()
    recording.close()
    assert files.flush(5)
    sides, _ = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert np.array_equal(sides[: len(said), 0], pcm16(said))


def test_memory_is_bounded_by_what_waits_to_be_played() -> None:
    timeline = Timeline()
    for k in range(1000):
        timeline.said(noise(k, 640), (k + 1) * FRAME_S)
        timeline.heard(noise(k, 640), (k + 1) * FRAME_S)
        assert len(timeline._bot) <= 2


def test_what_was_never_played_is_not_in_the_recording() -> None:
    timeline = Timeline()
    timeline.said(noise(1, 640), 0.08)
    for k in range(10):
        timeline.heard(noise(k, 640), 0.08)
    assert len(timeline.rest(0.13)) == 400


def test_a_bot_that_speaks_first_is_at_the_beginning() -> None:
    timeline = Timeline()
    timeline.heard(b"\x00" * 640, 5.0)
    both = timeline.said(noise(1, 640), 5.08)
    assert (both[:, 1] == pcm16(b"\x00")[0]).all()


def test_a_full_disk_ends_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    files = FileWriter()
    recording = Recording(tmp_path / "call.wav", files, now_s=lambda: 0.08)

    def full(_: wave.Wave_write, __: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wave.Wave_write, "writeframes", full)
    for _ in range(30):
        recording.said(noise(1, 640))
        recording.heard(noise(1, 640))
    recording.close()
    assert files.flush(5)
    assert logged.text.count("ends here: [Errno 28] No space left on device") == 1
