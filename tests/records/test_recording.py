from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from moshi_phone.audio import g711
from moshi_phone.records.call_audio import CallAudio
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.recording import Recording
from moshi_phone.rehearse.playback import Playback
from tests.support.logs import Logged

FRAME_S = 0.08


def noise(seed: int, samples: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-3_000, 3_000, samples).astype(np.int16)


def pcm16(mulaw: bytes) -> NDArray[np.int16]:
    return np.frombuffer(g711.decode(mulaw), "<i2")


def test_both_sides_are_at_their_time_at_the_ear(tmp_path: Path) -> None:
    now_s = 0.0
    files = FileWriter()
    recording = CallAudio([Recording(tmp_path / "call.wav", files)], now_s=lambda: now_s)
    ear = Playback()
    said = []
    for k in range(50):
        now_s = (k + 1) * FRAME_S
        frame = noise(k, 640)
        said.append(frame)
        recording.said(frame)
        # Every fifth answer is 30 ms late, and after the twentieth one was 500 ms too late.
        now_s += 0.03 if k % 5 == 0 else 0.01
        if k == 20:
            now_s += 0.5
        if 20 < k < 27:
            continue
        answer = pcm16(g711.encode(noise(1000 + k, 640).tobytes()))
        recording.heard(answer)
        ear.media(g711.encode(answer.tobytes()), now_s)
        now_s = max(now_s, (k + 1) * FRAME_S)
    recording.close()
    assert files.flush(5)
    sides, rate_hz = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert rate_hz == 8000
    assert np.array_equal(sides[: 50 * 640, 0], np.concatenate(said))
    heard = pcm16(ear.heard(len(sides) / 8000).tobytes())
    assert np.array_equal(sides[:, 1], heard)
    assert [gap.samples for gap in ear.gaps] == [4000]


def test_the_file_is_complete_at_any_time_except_for_the_last_second(tmp_path: Path) -> None:
    now_s = 0.0
    files = FileWriter()
    recording = CallAudio([Recording(tmp_path / "call.wav", files)], now_s=lambda: now_s)
    said = np.concatenate([noise(k, 640) for k in range(30)])
    heard = np.concatenate([noise(100 + k, 640) for k in range(30)])
    for k in range(30):
        now_s = (k + 1) * FRAME_S
        recording.said(noise(k, 640))
        recording.heard(noise(100 + k, 640))
    assert files.flush(5)
    # Nothing has been closed: this is what a killed process leaves.
    sides, _ = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert len(sides) >= len(said) - 8000
    assert np.array_equal(sides[:, 0], said[: len(sides)])
    assert np.array_equal(sides[640:, 1], heard[: len(sides) - 640])
    recording.close()
    recording.close()
    assert files.flush(5)
    sides, _ = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert np.array_equal(sides[: len(said), 0], said)


def test_a_full_disk_ends_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    files = FileWriter()
    recording = CallAudio([Recording(tmp_path / "call.wav", files)], now_s=lambda: 0.08)

    def full(_: wave.Wave_write, __: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wave.Wave_write, "writeframes", full)
    for _ in range(30):
        recording.said(noise(1, 640))
        recording.heard(noise(1, 640))
    recording.close()
    assert files.flush(5)
    assert logged.text.count("ends here: [Errno 28] No space left on device") == 1


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_sides_of_different_rates_are_resampled_to_the_file_s(tmp_path: Path, rate_hz: int) -> None:
    """The caller at 16 kHz in blocks of 20 ms, the bot at 24 kHz in blocks of an odd length."""
    now_s = 0.0
    files = FileWriter()
    recording = CallAudio([Recording(tmp_path / "call.wav", files, rate_hz)], lambda: now_s, rate_hz)
    for k in range(200):
        now_s = (k + 1) * 0.02
        recording.said(tone(400, 16_000, k * 320, 320), 16_000)
        recording.heard(tone(800, 24_000, k * 480, 479 if k % 2 else 481), 24_000)
    recording.close()
    assert files.flush(5)
    sides, found_hz = soundfile.read(tmp_path / "call.wav")
    assert found_hz == rate_hz
    assert abs(len(sides) - 4 * rate_hz) < 0.03 * rate_hz
    for side, hz in ((0, 400), (1, 800)):
        middle = sides[rate_hz : 3 * rate_hz, side]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert np.argmax(spectrum) / 2 == pytest.approx(hz, abs=1)
        assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.25, rel=0.05)


def tone(hz: float, rate_hz: int, first: int, samples: int) -> NDArray[np.int16]:
    return (8_192 * np.sin(2 * np.pi * hz * np.arange(first, first + samples) / rate_hz)).astype(np.int16)
