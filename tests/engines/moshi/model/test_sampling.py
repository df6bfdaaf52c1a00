"""Samples follow the logits, stay within top-k, and depend on seed and position alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.moshi.model.sampling import (
    GREEDY,
    MoshiSampling,
    Noise,
    Sampling,
    draw,
    draws_at,
)
from moshi_phone.engines.moshi.persona.resolver import RequestResolver
from moshi_phone.engines.options import EngineOptions

LOGITS = mx.array([[[0.0, 2.0, 1.0, -1.0, 1.5]]])


def draws(sampling: Sampling, times: int) -> Counter[int]:
    noise = Noise(MoshiSampling(sampling, sampling), seed=1, text_size=5, audio_size=5, codebooks=1)
    return Counter(int(draw(LOGITS, draws_at([noise], [position])[0])) for position in range(times))


def test_temperature_zero_takes_the_most_likely() -> None:
    assert draws(Sampling(0.0, 3), 5) == {1: 5}


def test_frequencies_follow_the_softmax() -> None:
    times, temperature = 3000, 0.8
    found = draws(Sampling(temperature, 0), times)
    expected = np.exp(np.array(LOGITS)[0, 0] / temperature)
    expected /= expected.sum()
    np.testing.assert_allclose([found[token] / times for token in range(5)], expected, atol=0.04)


def test_samples_are_among_the_top_k() -> None:
    times = 2000
    found = draws(Sampling(0.8, 3), times)
    assert set(found) == {1, 2, 4}
    kept = np.exp(np.array([2.0, 1.0, 1.5]) / 0.8)
    np.testing.assert_allclose([found[1] / times, found[2] / times], kept[:2] / kept.sum(), atol=0.05)


def test_noise_is_a_function_of_seed_and_position() -> None:
    def noise(seed: int, position: int) -> list[float]:
        text, _ = draws_at([Noise(MoshiSampling(), seed, 100, 100, 8)], [position])
        assert text.noise is not None
        return text.noise[0, 0].tolist()  # type: ignore[return-value]

    first = noise(1, 7)
    mx.random.seed(99)  # the global state has no part in it
    assert noise(1, 7) == first
    assert noise(1, 8) != first
    assert noise(2, 7) != first


def test_a_new_temperature_scales_the_noise() -> None:
    noise = Noise(MoshiSampling(), 1, 100, 100, 8)
    noise.set_temperature(0.8)
    before, _ = draws_at([noise], [7])
    noise.set_temperature(1.6)
    after, _ = draws_at([noise], [7])
    noise.set_temperature(0.0)
    greedy, _ = draws_at([noise], [7])
    assert before.noise is not None
    assert after.noise is not None
    np.testing.assert_allclose(np.array(after.noise), 2 * np.array(before.noise), rtol=1e-5)
    assert greedy.noise is None


def test_greedy_needs_no_noise() -> None:
    def noise(sampling: MoshiSampling) -> tuple[bool, bool]:
        text, audio = draws_at([Noise(sampling, 0, 100, 100, 2)], [0])
        return text.noise is not None, audio.noise is not None

    assert noise(GREEDY) == (False, False)
    assert noise(MoshiSampling(text=Sampling(0.0, 0))) == (False, True)
    assert noise(MoshiSampling(audio=Sampling(0.0, 0))) == (True, False)


def test_batched_rows_give_the_samples_of_each_alone() -> None:
    logits = mx.random.normal((4, 1, 50), key=mx.random.key(3)) * 3
    rows = [
        (Noise(MoshiSampling(Sampling(temperature, 25), Sampling(0.8, 9)), seed, 50, 40, 2), position)
        for temperature, seed, position in ((0.7, 1, 5), (0.0, 2, 900), (1.5, 3, 5), (0.0, 1, 5))
    ]
    alone = [
        draw(logits[index : index + 1], draws_at([noise], [position])[0]).item()
        for index, (noise, position) in enumerate(rows)
    ]
    text, audio = draws_at([noise for noise, _ in rows], [position for _, position in rows])
    assert np.array(draw(logits, text))[:, 0].tolist() == alone
    assert audio.greedy is None
    assert audio.noise is not None
    assert audio.noise.shape == (4, 2, 9)
    for index, (noise, position) in enumerate(rows):
        own = draws_at([noise], [position])[1].noise
        assert own is not None
        assert mx.array_equal(audio.noise[index], own[0]).item()


def test_the_defaults_are_those_of_kyutai_s_pytorch_code() -> None:
    assert MoshiSampling() == MoshiSampling(Sampling(0.7, 25), Sampling(0.8, 250))


def test_a_call_s_temperature_keeps_the_other_settings() -> None:
    """Two places built ``Sampling(temperature, top_k)`` again, and would have lost a new field."""

    @dataclass(frozen=True)
    class WithFloor(Sampling):
        min_p: float = 0.0

    sampling = MoshiSampling(WithFloor(0.7, 25, 0.1), WithFloor(0.8, 250, 0.2))
    expected = MoshiSampling(WithFloor(0.5, 25, 0.1), WithFloor(0.5, 250, 0.2))
    noise = Noise(sampling, 0, text_size=100, audio_size=64, codebooks=2)
    noise.set_temperature(0.5)
    resolver = RequestResolver(EngineOptions(), sampling, None, None)
    assert [noise.sampling, resolver.sampling(CallOverrides(temperature=0.5))] == [expected, expected]
