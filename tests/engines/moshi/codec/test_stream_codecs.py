"""A call's codecs: clean for each call, and renewed within one without an error and without a gap."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LISTENING_CODEBOOKS, Mimi
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.codec.stream_codecs import PRIMING_FRAMES, Decoder, Encoder
from moshi_phone.engines.moshi.model.token_history import Tokens
from tests.engines.moshi.codec.test_codec import noise, tokens


@pytest.fixture(scope="module")
def pool(mimi_file: Path) -> MimiPool:
    pool = MimiPool(mimi_file, size=2, limit_frames=12)
    pool.fill()
    return pool


def test_gives_frames_of_the_promised_shapes(pool: MimiPool) -> None:
    encoder, decoder = Encoder(pool), Decoder(pool)
    frame = encoder.encode(noise(0))
    assert frame.shape == (CODEBOOKS,)
    assert frame.dtype == np.uint32
    sound = decoder.decode(frame)
    assert sound.shape == (FRAME_SAMPLES,)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() > 0.01
    encoder.release()
    decoder.release()


@pytest.mark.slow
def test_is_clean_for_the_next_call(pool: MimiPool) -> None:
    def call(seed: int) -> tuple[list[Tokens], list[Pcm]]:
        encoder, decoder = Encoder(pool), Decoder(pool)
        heard = [encoder.encode(noise(seed + number)) for number in range(2)]
        said = [decoder.decode(tokens(seed + number)) for number in range(2)]
        encoder.release()
        decoder.release()
        return heard, said

    first = call(0)
    call(100)
    again = call(0)
    np.testing.assert_array_equal(again[0], first[0])
    np.testing.assert_allclose(again[1], first[1], atol=1e-5)  # rotary positions go on, and round elsewhere


@pytest.mark.slow
def test_passes_its_limit_without_an_error_or_a_gap_even_when_nobody_is_ever_silent(mimi_file: Path) -> None:
    def decode(limit_frames: int) -> list[Pcm]:
        pool = MimiPool(mimi_file, size=1, limit_frames=limit_frames)
        pool.fill()
        decoder = Decoder(pool)
        return [decoder.decode(tokens(number)) for number in range(12)]

    renewed, expected = decode(10), decode(50)  # the first changes after nine frames
    level = np.sqrt(np.mean(np.square(expected)))
    for number, (sound, wanted) in enumerate(zip(renewed, expected, strict=True)):
        assert np.sqrt(np.mean(np.square(sound - wanted))) < 0.5 * level, f"frame {number}"


def test_changes_in_a_silent_moment_if_there_is_one(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=2, limit_frames=16)
    pool.fill()
    encoder = Encoder(pool)
    first = encoder._mimi
    loud = [noise(number) for number in range(8)]
    for pcm in loud:
        encoder.encode(pcm)
    assert encoder._next is not None, "half of the limit is gone, and a fresh one is wanted"
    encoder._next.result(60)
    loud.append(noise(9))
    encoder.encode(loud[-1])
    assert encoder._mimi is first, "somebody speaks"
    heard = encoder.encode(SILENT_FRAME)
    assert encoder._mimi is not first
    # The fresh one hears the silence as one does that has heard no more than the last frames.
    other = Encoder(pool)
    for pcm in loud[-PRIMING_FRAMES:]:
        other.encode(pcm)
    np.testing.assert_array_equal(other.encode(SILENT_FRAME), heard)


@pytest.mark.slow
def test_a_call_that_needs_another_codec_tries_in_ever_shorter_steps(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=40)
    pool.fill()
    encoder, tried = Encoder(pool), list[int]()
    first = encoder._mimi

    def fail() -> Future[Mimi]:
        tried.append(first.left_frames)
        result: Future[Mimi] = Future()
        result.set_exception(MemoryError("no memory"))
        return result

    load, pool.load_async = pool.load_async, fail  # type: ignore[method-assign]
    while first.left_frames > 3:
        encoder.encode(SILENT_FRAME)
    assert tried == [20, 10, 5]
    pool.load_async = load  # type: ignore[method-assign]
    for _ in range(3):
        encoder.encode(SILENT_FRAME)
    assert encoder._mimi is not first


def test_more_codebooks_begin_with_the_same_ones(pool: MimiPool, mimi_file: Path) -> None:
    """One codec serves the talk and the listening: what Moshi hears does not change."""
    more = MimiPool(mimi_file, size=1, limit_frames=12, codebooks=LISTENING_CODEBOOKS)
    more.fill()
    few, many = Encoder(pool), Encoder(more)
    for number in range(5):
        frame = many.encode(noise(number))
        assert frame.shape == (LISTENING_CODEBOOKS,)
        assert frame[:CODEBOOKS].tolist() == few.encode(noise(number)).tolist()
    few.release()
    many.release()
