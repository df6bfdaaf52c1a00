"""A call's codecs: clean for each call, and exchanged within one without an error or a seam."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines.moshi.codec import handover, stream_codecs
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LISTENING_CODEBOOKS, Mimi
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder, Encoder
from moshi_phone.engines.moshi.model.token_history import Tokens
from tests.engines.moshi.codec.test_codec import noise, snr_db, tokens
from tests.support.logs import Logged
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def filled(mimi_file: Path) -> MimiPool:
    pool = MimiPool(mimi_file, size=2, limit_frames=2000)
    pool.fill()
    return pool


@pytest.fixture
def pool(filled: MimiPool) -> Iterator[MimiPool]:
    """Two codecs for a call, and a spare; all of them are returned afterwards."""
    yield filled
    wait_until(lambda: filled.ready == 3 and not filled._lent)


def test_frames_have_the_documented_shapes(pool: MimiPool) -> None:
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


@pytest.mark.cpu_bound
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
    np.testing.assert_allclose(
        again[1], first[1], atol=1e-5
    )  # rotary positions continue, with other rounding


@pytest.mark.cpu_bound
def test_hands_over_during_the_call(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=2, limit_frames=200, handover_frames=12)
    pool.fill()
    encoder, decoder, unbroken = Encoder(pool), Decoder(pool), Mimi(mimi_file, 200)
    firsts = encoder._mimi, decoder._mimi
    changed_at = list[int]()
    number = left = 0
    while left < 5:  # frames after both have been handed over
        assert number < 150
        before = encoder._mimi
        heard = encoder.encode(noise(number))
        np.testing.assert_array_equal(heard, unbroken.encode(noise(number)), f"frame {number}")
        if encoder._mimi is not before:
            changed_at.append(number)
        said, expected = decoder.decode(heard), unbroken.decode(heard)
        assert snr_db(said, expected) > 40, f"frame {number}"
        left += bool(changed_at) and decoder._mimi is not firsts[1]
        number += 1
    assert firsts[0] is not encoder._mimi or len(changed_at) > 1
    assert changed_at[0] > 6, "half of the decoder's time"
    encoder.release()
    decoder.release()


def test_a_failing_spare_does_not_affect_the_codec_in_use(
    pool: MimiPool, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr(pool, "handover_frames", 2)
    encoder = Encoder(pool)
    first = encoder._mimi

    def prime(_mimi: Mimi, _frames: Sequence[Pcm]) -> None:
        raise ValueError("narrow invalid args")

    encoder._prime = prime
    while encoder._handover is None:
        encoder.encode(SILENT_FRAME)
    while encoder._handover is not None:
        encoder.encode(SILENT_FRAME)
    assert encoder._mimi is first
    assert any("narrow invalid args" in line for line in logged.lines)
    encoder.release()


def test_a_call_that_ends_during_a_handover_returns_both(pool: MimiPool) -> None:
    encoder = Encoder(pool)
    encoder._due_at_frames = 0
    encoder.encode(SILENT_FRAME)
    encoder.encode(SILENT_FRAME)
    assert pool.ready == 1
    encoder.release()


@pytest.mark.cpu_bound
def test_calls_take_turns_with_the_spare(pool: MimiPool) -> None:
    encoder, decoder = Encoder(pool), Decoder(pool)
    encoder._due_at_frames = decoder._due_at_frames = 0
    encoder.encode(SILENT_FRAME)
    decoder.decode(tokens(0))
    assert encoder._handover is not None
    assert decoder._handover is None
    while decoder._handover is None:
        encoder.encode(SILENT_FRAME)
        decoder.decode(tokens(0))
    encoder.release()
    decoder.release()


def test_a_hanging_spare_is_abandoned_and_replaced(pool: MimiPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_codecs, "MAX_HANDOVER_FRAMES", 3)
    monkeypatch.setattr(handover, "HUNG_FRAMES", 2)
    monkeypatch.setattr(pool, "handover_frames", 4)
    encoder, goes_on = Encoder(pool), threading.Event()
    first = encoder._mimi

    def prime(_mimi: Mimi, _frames: Sequence[Pcm]) -> None:
        goes_on.wait(60)

    encoder._prime = prime
    for _ in range(7):
        encoder.encode(SILENT_FRAME)
    assert encoder._mimi is first
    assert encoder._handover is None
    wait_until(lambda: pool.ready == 2)  # that for the call's other direction, and a new spare one
    goes_on.set()
    encoder.release()


@pytest.mark.cpu_bound
def test_the_first_codebooks_do_not_depend_on_their_number(pool: MimiPool, mimi_file: Path) -> None:
    """One codec serves talking and listening: Moshi's input does not change."""
    more = MimiPool(mimi_file, size=1, limit_frames=12, codebooks=LISTENING_CODEBOOKS)
    more.fill()
    few, many = Encoder(pool), Encoder(more)
    for number in range(5):
        frame = many.encode(noise(number))
        assert frame.shape == (LISTENING_CODEBOOKS,)
        assert frame[:CODEBOOKS].tolist() == few.encode(noise(number)).tolist()
    few.release()
    many.release()
