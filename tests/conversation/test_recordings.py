"""Recordings made elsewhere: a review, or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from moshi_phone.conversation.conversation import Conversation
from moshi_phone.conversation.recordings import RecordingUnusable, calls_in, read_call
from moshi_phone.conversation.review import review_recording
from tests.conversation.scripted import clip

RATE_HZ = 8_000


def two_voices(rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """A question at 1 s, and the answer 300 ms after it."""
    both = np.zeros((8 * RATE_HZ, 2), np.float32)
    question, answer = clip("slt", "open-1"), clip("rms", "open-1")
    end = RATE_HZ + len(question)
    both[RATE_HZ:end, 0] = question
    both[end + 2_400 : end + 2_400 + len(answer), 1] = answer
    if rate_hz == RATE_HZ:
        return both
    from scipy.signal import resample_poly  # noqa: PLC0415 - loads slowly

    divisor = int(np.gcd(rate_hz, RATE_HZ))
    return np.asarray(resample_poly(both, rate_hz // divisor, RATE_HZ // divisor), np.float32)


def gaps_ms(*paths: Path) -> list[float]:
    return [response["gap_ms"] for response in review_recording(paths).talked["responses"]]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW"])
def test_any_rate_and_encoding(tmp_path: Path, rate_hz: int, subtype: str) -> None:
    soundfile.write(tmp_path / "call.wav", two_voices(rate_hz), rate_hz, subtype=subtype)
    assert gaps_ms(tmp_path / "call.wav") == pytest.approx([300], abs=40)


@pytest.mark.parametrize("rates_hz", [(8_000, 8_000), (16_000, 44_100)])
def test_two_mono_files(tmp_path: Path, rates_hz: tuple[int, int]) -> None:
    for side, rate_hz in enumerate(rates_hz):
        voice = two_voices(rate_hz)[:, side]
        soundfile.write(tmp_path / f"{side}.wav", voice[: len(voice) - side * rate_hz], rate_hz)
    assert gaps_ms(tmp_path / "0.wav", tmp_path / "1.wav") == pytest.approx([300], abs=40)


def test_a_clipped_recording_is_reviewed_and_its_clipping_reported(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "call.wav", np.clip(20 * two_voices(), -1, 1), RATE_HZ)
    call = review_recording([tmp_path / "call.wav"])
    assert [response["gap_ms"] for response in call.talked["responses"]] == pytest.approx([300], abs=60)
    assert next(point for point in call.criteria if point.key == "quality").passed is False


@pytest.mark.parametrize("secs", [0.01, 1.0, 20.0])
def test_silence_of_any_length_is_reviewed(tmp_path: Path, secs: float) -> None:
    soundfile.write(tmp_path / "call.wav", np.zeros((int(secs * RATE_HZ), 2)), RATE_HZ)
    talked = review_recording([tmp_path / "call.wav"]).talked
    assert talked["first_speaker"] is None
    assert talked["longest_silence_s"] == pytest.approx(secs, abs=0.02)


def test_noise_without_speech_is_reviewed(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (10 * RATE_HZ, 2))
    soundfile.write(tmp_path / "call.wav", noise, RATE_HZ)
    assert review_recording([tmp_path / "call.wav"]).talked["turns"] == 0


def test_a_mono_recording_is_refused_with_a_remedy(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "call.wav", two_voices()[:, 0], RATE_HZ)
    with pytest.raises(RecordingUnusable, match=r"one channel.*--pair"):
        list(read_call([tmp_path / "call.wav"]))


@pytest.mark.parametrize("content", [b"", b"not a WAV at all" * 100, b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_a_file_that_is_not_audio_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "call.wav").write_bytes(content)
    with pytest.raises(RecordingUnusable, match="no sound file"):
        list(read_call([tmp_path / "call.wav"]))


def test_an_empty_audio_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "call.wav", np.zeros((0, 2)), RATE_HZ)
    with pytest.raises(RecordingUnusable, match="no audio"):
        list(read_call([tmp_path / "call.wav"]))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnusable, match="no file"):
        list(read_call([tmp_path / "none.wav"]))
    with pytest.raises(RecordingUnusable, match="no sound file"):
        list(read_call([tmp_path]))


def test_subfolders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "call-1").mkdir()
    for name in ("b.wav", "a.flac", "call-1/call.WAV", "report.json"):
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in calls_in(tmp_path)] == [
        "a.flac",
        "b.wav",
        "call-1/call.WAV",
    ]


def test_block_length_does_not_change_the_events(tmp_path: Path) -> None:
    """Live, blocks have 80 ms; from the disk, 10 s."""
    soundfile.write(tmp_path / "call.wav", two_voices(), RATE_HZ)
    live = Conversation()
    for block in read_call([tmp_path / "call.wav"]):
        for begin in range(0, len(block), 640):
            live.feed(block[begin : begin + 640])
    live.finish()
    assert live.events == list(review_recording([tmp_path / "call.wav"]).events)
