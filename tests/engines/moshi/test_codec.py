"""Mimi's tokenizers: clean for each call, and renewed within one without an error and without a gap."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import rustymimi

from audio.formats import FRAME_SAMPLES, Pcm
from engines.duplex import EngineBusy, EngineUnavailable
from engines.moshi.codec import (
    CODEBOOKS,
    LISTENING_CODEBOOKS,
    PRIMING_FRAMES,
    Decoder,
    Encoder,
    Mimi,
    MimiPool,
)
from engines.moshi.token_history import Tokens
from tests.laters import Laters
from tests.logs import Logged

SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


def noise(seed: int) -> Pcm:
    return (0.1 * np.random.default_rng(seed).standard_normal(FRAME_SAMPLES)).astype(np.float32)


def tokens(seed: int) -> Tokens:
    return np.random.default_rng(seed).integers(0, 2048, CODEBOOKS).astype(np.uint32)


@pytest.fixture(scope="module")
def pool(mimi_file: Path) -> MimiPool:
    pool = MimiPool(mimi_file, size=2, limit_frames=12)
    pool.fill()
    return pool


def test_says_so_when_it_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "mimi").write_bytes(b"nothing of the kind")
    with pytest.raises(EngineUnavailable, match=r"mimi cannot be loaded by Mimi: [^\n]+$"):
        MimiPool(tmp_path / "mimi", size=1).fill()


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


def test_rustymimi_s_own_reset_is_not_enough(mimi_file: Path) -> None:
    """Why ``Mimi.clean`` exists, and why its limit is one for life. If this fails, both can be simpler."""
    mimi = rustymimi.Tokenizer(str(mimi_file), num_codebooks=CODEBOOKS, max_seq_len=8)
    frames = [noise(number).reshape(1, 1, -1) for number in range(4)]
    first = mimi.encode_step(frames[0])
    mimi.encode_step(frames[1])
    mimi.reset()
    assert not np.array_equal(mimi.encode_step(frames[0]), first), "the last call is still in there"
    mimi.encode_step(frames[2])
    mimi.reset()
    with pytest.raises(ValueError, match="narrow invalid args"):
        mimi.encode_step(frames[0])


def test_says_so_when_none_is_free(pool: MimiPool) -> None:
    taken = [Encoder(pool) for _ in range(pool.ready)]
    with pytest.raises(EngineBusy, match="try again in a second"):
        Decoder(pool)
    for encoder in taken:
        encoder.release()
    assert pool.ready == 2


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
    heard = encoder.encode(SILENCE)
    assert encoder._mimi is not first
    # The fresh one hears the silence as one does that has heard no more than the last frames.
    other = Encoder(pool)
    for pcm in loud[-PRIMING_FRAMES:]:
        other.encode(pcm)
    np.testing.assert_array_equal(other.encode(SILENCE), heard)


def test_worn_ones_are_replaced_between_calls(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=16)
    pool.fill()
    near_limit = pool.take()
    for number in range(4):
        near_limit.encode(noise(number))
    assert near_limit.near_limit
    near_limit.clean()
    pool._keep(near_limit)
    assert pool.ready == 1, "it can still be taken while another is made"
    pool.replace()
    wait_until(lambda: not pool._wanted)
    assert pool.ready == 1
    assert pool.take() is not near_limit


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


def test_a_reload_that_fails_is_tried_again_until_it_works(mimi_file: Path, logged: Logged) -> None:
    laters = Laters()
    pool = MimiPool(mimi_file, size=2, limit_frames=16, run_later=laters)
    pool._path = mimi_file / "gone"
    for _ in range(3):  # never more at once than the pool holds
        pool.replace()
    for pause_secs in (1.0, 2.0):
        wait_until(lambda secs=pause_secs: laters.secs[-1:] == [secs])  # type: ignore[misc]
        assert pool.ready == 0
        if pause_secs == 2.0:
            pool._path = mimi_file
        laters.run()
    wait_until(lambda: not pool._wanted)
    assert pool.ready == 2
    assert laters.secs == [1.0, 2.0]
    assert sum("Mimi cannot be loaded" in line for line in logged.lines) == 2


def test_closing_waits_for_what_is_being_loaded(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=16)
    loading = pool.load_async()
    pool.close()
    assert loading.done()


def test_loads_no_more_once_it_is_closed(mimi_file: Path) -> None:
    laters = Laters()
    pool = MimiPool(mimi_file / "gone", size=2, limit_frames=16, run_later=laters)
    pool.replace()
    wait_until(lambda: laters.secs == [1.0])
    pool.close()
    laters.run()
    pool.fill()
    assert (pool.ready, laters.secs) == (0, [1.0])


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
        encoder.encode(SILENCE)
    assert tried == [20, 10, 5]
    pool.load_async = load  # type: ignore[method-assign]
    for _ in range(3):
        encoder.encode(SILENCE)
    assert encoder._mimi is not first


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
