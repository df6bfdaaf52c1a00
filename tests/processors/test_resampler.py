from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, InputAudioRawFrame, SpeechOutputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test
from scipy.signal import firwin, upfirdn

from moshi_phone.audio import pcm
from moshi_phone.audio.resampling import StreamResampler, low_pass
from processors.frames import FilterDelayFrame
from processors.resampler import Resampler

UP, DOWN = (8_000, 24_000), (24_000, 8_000)


def tone(hz: float, rate_hz: int = 8_000, secs: float = 1.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * secs)) / rate_hz)).astype(np.float32)


def level_db(after: NDArray[np.float32], before: NDArray[np.float32]) -> float:
    settled = after.size // 10
    return float(20 * np.log10(after[settled:].std() / before.std()))


@pytest.mark.parametrize("hz", [100, 300, 1_000, 2_500, 3_000, 3_300, 3_400])
def test_the_telephone_band_survives_a_round_trip(hz: int) -> None:
    said = tone(hz)
    back = StreamResampler(*DOWN).process(StreamResampler(*UP).process(said))
    assert abs(level_db(back, said)) < 0.5


@pytest.mark.parametrize("hz", [4_600, 5_000, 7_000, 11_000])
def test_sound_above_the_telephone_band_does_not_alias(hz: int) -> None:
    said = tone(hz, 24_000)
    assert level_db(StreamResampler(*DOWN).process(said), said) < -55


@pytest.mark.parametrize("rates", [UP, DOWN])
def test_the_delay_is_the_documented_one(rates: tuple[int, int]) -> None:
    resampler = StreamResampler(*rates)
    click = np.zeros(4_800, np.float32)
    click[1_200] = 1
    out_at = int(np.argmax(resampler.process(click)))
    assert out_at / rates[1] - 1_200 / rates[0] == pytest.approx(0.0015)
    assert resampler.lag_ms == 1.5


@given(st.lists(st.integers(0, 700), min_size=1, max_size=12), st.sampled_from([UP, DOWN]))
def test_blocks_of_any_size_give_the_same_output(sizes: list[int], rates: tuple[int, int]) -> None:
    sizes = [size * 3 for size in sizes]
    whole = np.random.default_rng(0).normal(0, 0.1, sum(sizes)).astype(np.float32)
    stream, at, parts = StreamResampler(*rates), 0, []
    for size in sizes:
        parts.append(stream.process(whole[at : at + size]))
        assert parts[-1].size * rates[0] == size * rates[1]
        at += size
    np.testing.assert_allclose(np.concatenate(parts), StreamResampler(*rates).process(whole), atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 6])
def test_the_output_equals_scipy_s(factor: int) -> None:
    taps = firwin(24 * factor + 1, 1 / factor, window=("kaiser", 5.65))
    np.testing.assert_allclose(low_pass(factor), taps, atol=1e-6)
    said = np.random.default_rng(0).normal(0, 0.2, 1_200).astype(np.float32)
    up = StreamResampler(8_000, 8_000 * factor).process(said)
    np.testing.assert_allclose(up, upfirdn(factor * taps, said, factor)[: up.size], atol=1e-5)
    down = StreamResampler(8_000 * factor, 8_000).process(said)
    np.testing.assert_allclose(down, upfirdn(taps, said, 1, factor)[: down.size], atol=1e-5)


@pytest.mark.parametrize("rates", [(16_000, 24_000), (24_000, 16_000), (44_100, 8_000), (8_000, 44_100)])
def test_any_ratio_equals_scipy_s_and_reports_its_delay(rates: tuple[int, int]) -> None:
    common = np.gcd(*rates)
    up, down = rates[1] // common, rates[0] // common
    taps = up * low_pass(max(up, down))
    said = np.random.default_rng(0).normal(0, 0.2, 20 * down * 8).astype(np.float32)
    resampler = StreamResampler(*rates)
    parts = [resampler.process(block) for block in said.reshape(-1, 4 * down)]
    whole = upfirdn(taps, said, up, down)
    np.testing.assert_allclose(np.concatenate(parts), whole[: said.size * up // down], atol=1e-5)
    assert resampler.lag_ms == pytest.approx(1000 * (taps.size - 1) / 2 / (rates[0] * up))
    assert resampler.down == down


def test_unsupported_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="expected two rates, got 8000 Hz twice"):
        StreamResampler(8_000, 8_000)
    with pytest.raises(ValueError, match="expected a multiple of 3 samples, got 7"):
        StreamResampler(*DOWN).process(np.zeros(7, np.float32))


async def test_frames_keep_their_kind() -> None:
    heard = InputAudioRawFrame(bytes(1_280), 8_000, num_channels=1)
    said = SpeechOutputAudioRawFrame(bytes(1_280), 8_000, num_channels=1)
    text = TextFrame("passes")
    frames, _ = await run_test(
        Resampler(*UP),
        frames_to_send=[heard, said, text],
        expected_down_frames=[
            FilterDelayFrame,
            InputAudioRawFrame,
            FilterDelayFrame,
            SpeechOutputAudioRawFrame,
            TextFrame,
        ],
    )
    assert [frame.delay_ms for frame in frames if isinstance(frame, FilterDelayFrame)] == [1.5, 1.5]
    for frame in (frames[1], frames[3]):
        assert isinstance(frame, (InputAudioRawFrame, SpeechOutputAudioRawFrame))
        assert (frame.sample_rate, len(frame.audio)) == (24_000, 3_840)


async def test_audio_of_another_rate_passes_unchanged() -> None:
    audio = pcm.to_bytes(tone(440, 16_000, 0.02))
    frame = InputAudioRawFrame(audio, 16_000, num_channels=1)
    frames, _ = await run_test(Resampler(*UP), frames_to_send=[frame])
    assert frames == [frame]


async def test_the_two_directions_are_independent() -> None:
    said, heard = tone(440, 8_000, 0.4) * np.float32(0.5), tone(1_000, 8_000, 0.4) * np.float32(0.5)
    pieces: list[Frame] = []
    for at in range(0, said.size, 640):
        pieces.append(InputAudioRawFrame(pcm.to_bytes(said[at : at + 640]), 8_000, num_channels=1))
        pieces.append(SpeechOutputAudioRawFrame(pcm.to_bytes(heard[at : at + 640]), 8_000, num_channels=1))
    frames, _ = await run_test(Resampler(*UP), frames_to_send=pieces)
    for kind, alone in ((InputAudioRawFrame, said), (SpeechOutputAudioRawFrame, heard)):
        audio = b"".join(frame.audio for frame in frames if isinstance(frame, kind))
        want = StreamResampler(*UP).process(pcm.to_float(pcm.to_bytes(alone)))
        np.testing.assert_allclose(pcm.to_float(audio), want, atol=1.01 / 32_768)


async def test_chunks_of_any_length_are_resampled_as_one_stream() -> None:
    """A service's chunks may end anywhere, also within a sample."""
    samples = tone(440, 24_000, 0.4)
    audio = pcm.to_bytes(samples)
    pieces = [audio[at : at + 1_001] for at in range(0, len(audio), 1_001)]
    frames, errors = await run_test(
        Resampler(*DOWN), frames_to_send=[SpeechOutputAudioRawFrame(piece, 24_000, 1) for piece in pieces]
    )
    assert not errors
    got = b"".join(frame.audio for frame in frames if isinstance(frame, SpeechOutputAudioRawFrame))
    assert len(got) == len(audio) // 3
    want = StreamResampler(*DOWN).process(samples)
    np.testing.assert_allclose(pcm.to_float(got), want, atol=1.01 / 32_768)  # rounded, and summed otherwise
