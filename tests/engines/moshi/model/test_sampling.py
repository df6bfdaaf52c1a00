"""Draws follow the logits, stay within top-k, and depend on seed and position alone."""

from __future__ import annotations

from collections import Counter

import mlx.core as mx
import numpy as np

from moshi_phone.engines.moshi.model.sampling import GREEDY, MoshiSampling, Noise, Sampling

LOGITS = mx.array([[[0.0, 2.0, 1.0, -1.0, 1.5]]])


def draws(sampling: Sampling, times: int) -> Counter[int]:
    noise = Noise(MoshiSampling(sampling, sampling), seed=1, text_size=5, audio_size=5, codebooks=1)
    return Counter(int(sampling.draw(LOGITS, noise.at(position)[0])) for position in range(times))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert draws(Sampling(0.0, 3), 5) == {1: 5}


def test_draws_as_often_as_the_softmax_says() -> None:
    times, temperature = 3000, 0.8
    found = draws(Sampling(temperature, 0), times)
    expected = np.exp(np.array(LOGITS)[0, 0] / temperature)
    expected /= expected.sum()
    np.testing.assert_allclose([found[token] / times for token in range(5)], expected, atol=0.04)


def test_draws_from_the_k_likeliest_only() -> None:
    times = 2000
    found = draws(Sampling(0.8, 3), times)
    assert set(found) == {1, 2, 4}
    kept = np.exp(np.array([2.0, 1.0, 1.5]) / 0.8)
    np.testing.assert_allclose([found[1] / times, found[2] / times], kept[:2] / kept.sum(), atol=0.05)


def test_noise_is_a_function_of_seed_and_position() -> None:
    def noise(seed: int, position: int) -> list[float]:
        text, _ = Noise(MoshiSampling(), seed, 100, 100, 8).at(position)
        assert text is not None
        return text.tolist()  # type: ignore[return-value]

    first = noise(1, 7)
    mx.random.seed(99)  # the global state has no part in it
    assert noise(1, 7) == first
    assert noise(1, 8) != first
    assert noise(2, 7) != first


def test_greedy_needs_no_noise() -> None:
    assert Noise(GREEDY, 0, 100, 100, 2).at(0) == (None, [None, None])
    text, audio = Noise(MoshiSampling(text=Sampling(0.0, 0)), 0, 100, 100, 2).at(0)
    assert text is None
    assert audio[0] is not None
    text, audio = Noise(MoshiSampling(audio=Sampling(0.0, 0)), 0, 100, 100, 2).at(0)
    assert text is not None
    assert audio == [None, None]


def test_the_defaults_are_those_of_kyutai_s_pytorch_code() -> None:
    assert MoshiSampling() == MoshiSampling(Sampling(0.7, 25), Sampling(0.8, 250))
