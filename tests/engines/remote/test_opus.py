"""Opus in both directions: delay, quality, and damaged streams."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from pystoi import stoi

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.engines.parrot import GREETING_FILE
from moshi_phone.engines.remote.ogg import PageSplitter, checksum
from moshi_phone.engines.remote.opus import DELAY_MS, PACKET_SAMPLES, OpusDecoder, OpusEncoder

CODEC_DELAY_SAMPLES = 156  # 6.5 ms: 312 samples at 48 kHz, which is Opus's own look-ahead

TOLERATED_SAMPLES = 12  # 0.5 ms: the codec shifts frequencies a little, and with them the correlation's peak


@pytest.fixture(scope="module")
def speech() -> Pcm:
    samples, rate_hz = soundfile.read(GREETING_FILE, dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    return np.asarray(samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES], np.float32)


def frames(speech: Pcm) -> Pcm:
    return speech.reshape(-1, FRAME_SAMPLES)


def lag(said: Pcm, heard: Pcm) -> int:
    """Return by how many samples one signal is behind the other, by cross-correlation."""
    size = 2 * len(said)
    found = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)))
    return int(np.argmax(found[: SAMPLE_RATE_HZ // 10]))


def test_a_frame_is_encoded_completely_at_once(speech: Pcm) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    for number, frame in enumerate(frames(speech)):
        ogg = encoder.encode(frame)
        assert len(PageSplitter().push(ogg)) == (4 if number == 0 else 2)  # headers first
        assert decoder.decode(ogg).shape == (FRAME_SAMPLES,)


def test_a_round_trip_delays_speech_by_6_5_ms_and_keeps_its_quality(speech: Pcm) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in frames(speech)])
    behind = lag(speech, heard)
    assert abs(behind - CODEC_DELAY_SAMPLES) <= TOLERATED_SAMPLES
    assert pytest.approx(DELAY_MS) == 1000 * CODEC_DELAY_SAMPLES / SAMPLE_RATE_HZ
    assert stoi(speech[:-behind], heard[behind:], SAMPLE_RATE_HZ) >= 0.95


def test_two_round_trips_delay_speech_by_13_ms_and_keep_its_quality(speech: Pcm) -> None:
    caller, listener, server_ear, server_mouth = OpusEncoder(), OpusDecoder(), OpusDecoder(), OpusEncoder()
    heard = np.concatenate(
        [
            listener.decode(server_mouth.encode(server_ear.decode(caller.encode(frame))))
            for frame in frames(speech)
        ]
    )
    behind = lag(speech, heard)
    assert abs(behind - 2 * CODEC_DELAY_SAMPLES) <= 2 * TOLERATED_SAMPLES
    assert stoi(speech[:-behind], heard[behind:], SAMPLE_RATE_HZ) >= 0.95


def test_half_a_page_waits_for_the_other_half(speech: Pcm) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    ogg = encoder.encode(frames(speech)[0])
    assert (
        decoder.decode(ogg[: len(ogg) // 2]).size + decoder.decode(ogg[len(ogg) // 2 :]).size == FRAME_SAMPLES
    )


def test_a_damaged_page_becomes_silence_of_its_length(speech: Pcm) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    heard = []
    for number, frame in enumerate(frames(speech)[:20]):
        ogg = encoder.encode(frame)
        heard.append(decoder.decode(ogg[:-20] + bytes(20) if number == 10 else ogg))
    assert [len(one) for one in heard] == [FRAME_SAMPLES] * 20
    assert decoder.damaged_pages == 1
    assert not heard[10][PACKET_SAMPLES:].any()
    assert heard[10][:PACKET_SAMPLES].any()


def page(payload: bytes, number: int) -> bytes:
    table = [255] * (len(payload) // 255) + [len(payload) % 255]
    head = b"OggS\0\0" + bytes(8) + b"fake" + number.to_bytes(4, "little") + bytes(4)
    data = head + bytes([len(table), *table]) + payload
    return data[:22] + checksum(data).to_bytes(4, "little") + data[26:]


@pytest.mark.parametrize("payload", [b"\xff" * 100, b"", b"x"])
def test_a_valid_page_without_opus_does_not_affect_later_ones(speech: Pcm, payload: bytes) -> None:
    # sphn makes 5 s of an empty packet, and raises for some that are none.
    encoder, decoder = OpusEncoder(), OpusDecoder()
    decoder.decode(encoder.encode(frames(speech)[0]))
    assert decoder.decode(page(payload, 50)).size <= FRAME_SAMPLES
    after = [decoder.decode(encoder.encode(frame)) for frame in frames(speech)[1:6]]
    assert [one.size for one in after] == [FRAME_SAMPLES] * 5
    assert any(one.any() for one in after)


def test_garbage_before_between_and_after_pages_is_skipped(speech: Pcm) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    heard = 0
    for frame in frames(speech)[:10]:
        heard += decoder.decode(b"garbage").size
        heard += decoder.decode(encoder.encode(frame)).size
    assert heard == 10 * FRAME_SAMPLES


def test_only_whole_frames_are_accepted() -> None:
    with pytest.raises(ValueError, match=r"expected float32 \[1920\], got float32 \[1919\]"):
        OpusEncoder().encode(np.zeros(1919, np.float32))
