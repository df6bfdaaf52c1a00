from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moshi_phone.audio.silence_trimmer import JitterMargin, SilenceTrimmer

SPEECH = np.random.default_rng(0).normal(0, 3_000, 640).astype(np.int16)
SILENCE = np.random.default_rng(1).normal(0, 20, 640).astype(np.int16)  # a quiet room, not digital zero


def fed(blocks: list[NDArray[np.int16]], lead_ms: float, trimmer: SilenceTrimmer) -> list[int]:
    """Trim successive blocks of 80 ms; return their lengths in ms."""
    lengths = []
    for block in blocks:
        left = trimmer.trim(block, lead_ms)
        lead_ms += left.size / 8 - 80
        lengths.append(left.size // 8)
    return lengths


def test_nothing_is_trimmed_while_the_lead_is_short() -> None:
    assert fed([SILENCE, SPEECH] * 4, 40, SilenceTrimmer(40)) == [80] * 8


def test_pauses_are_trimmed_and_speech_is_kept() -> None:
    lengths = fed([SPEECH] * 5 + [SILENCE] * 10 + [SPEECH], 640, SilenceTrimmer(40))
    assert lengths[:5] == [80] * 5
    assert sum(lengths[5:15]) == 800 - 600
    assert lengths[5] == 60  # the first 60 ms of a pause stay, or words would be cut
    assert lengths[15] == 80


def test_silence_within_a_word_is_not_trimmed() -> None:
    word = np.concatenate((SPEECH[:320], SILENCE[:320]))  # 40 ms of each
    assert fed([word] * 10, 900, SilenceTrimmer(40)) == [80] * 10


def test_a_lead_above_one_second_is_cut_even_in_speech() -> None:
    lengths = fed([SPEECH] * 5, 1_150, SilenceTrimmer(40))
    assert lengths == [0, 10, 80, 80, 80]


def test_an_unneeded_margin_is_trimmed() -> None:
    trimmer = SilenceTrimmer(40)
    lengths = fed([SILENCE] * 200, 38, trimmer)
    assert 8_000 * 2 - sum(lengths) == 35  # the rest is the margin
    assert trimmer.trimmed_ms == 35


def test_a_needed_margin_is_kept() -> None:
    margin = JitterMargin(40)
    leads = ([38.0] * 20 + [8.0]) * 20  # every 1.7 s a block is 30 ms late
    assert max(margin.excess_ms(lead_ms, 80) for lead_ms in leads) <= 5


@given(
    st.lists(st.tuples(st.sampled_from([SPEECH, SILENCE]), st.floats(0, 999)), max_size=60),
    st.floats(0, 100),
)
def test_speech_is_not_cut_below_one_second_of_lead(
    blocks: list[tuple[NDArray[np.int16], float]], target_ms: float
) -> None:
    trimmer = SilenceTrimmer(target_ms)
    for block, lead_ms in blocks:
        left = trimmer.trim(block, lead_ms)
        assert left.size % 40 == 0
        if block is SPEECH:
            assert left is SPEECH


def test_the_lead_covers_the_network_s_jitter() -> None:
    margin = JitterMargin(40)
    assert max(margin.excess_ms(30.0, 80, jitter_ms=30) for _ in range(200)) == 0
    assert margin.excess_ms(130, 80, jitter_ms=30) == 30  # above the target and both ways' jitter


def test_any_rate_and_number_of_channels() -> None:
    for rate_hz, channels in ((8_000, 1), (16_000, 1), (24_000, 2), (44_100, 2), (48_000, 1)):
        block = np.zeros(rate_hz * 80 // 1000 * channels, np.int16)
        block[::channels] = 7
        left = SilenceTrimmer(40).trim(block, 200, rate_hz=rate_hz, channels=channels)
        slice_samples = rate_hz // 200 * channels
        assert block.size - left.size == 4 * slice_samples  # 80 ms, of which the first 60 stay
        assert np.array_equal(left, block[: left.size])  # channels keep their places


def test_blocks_of_any_length() -> None:
    trimmer = SilenceTrimmer(40)
    for _ in range(200):  # a window lasts 4 s, however long the blocks are
        assert trimmer.trim(SILENCE[:160], 38).size == 160
    assert trimmer.trim(SILENCE[:160], 38).size == 0
