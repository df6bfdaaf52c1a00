from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES
from moshi_phone.audio.g711 import SILENCE
from moshi_phone.audio.packet_assembler import PacketAssembler


def packet(index: int, size: int = 160) -> bytes:
    return bytes([index % 100]) * size


def test_four_packets_make_a_frame() -> None:
    packets = PacketAssembler()
    given_back = [packets.push(packet(n), n * 20) for n in range(8)]
    assert [len(part) for part in given_back] == [0, 0, 0, 640, 0, 0, 0, 640]
    assert given_back[3] == packet(0) + packet(1) + packet(2) + packet(3)
    assert (packets.filled_ms, packets.discontinuities) == (0, 0)


def test_a_lost_packet_becomes_silence_and_the_frame_is_on_time() -> None:
    packets = PacketAssembler()
    for n in (0, 1):
        assert packets.push(packet(n), n * 20) == b""
    assert packets.push(packet(3), 60) == packet(0) + packet(1) + bytes([SILENCE]) * 160 + packet(3)
    assert packets.filled_ms == 20


def test_timestamp_jitter_is_not_a_gap() -> None:
    packets = PacketAssembler()
    for n in range(400):
        packets.push(packet(n), n * 20 + (n * 7) % 19)
    assert packets.filled_ms == 0


def test_a_clock_jump_is_followed_without_filling() -> None:
    packets = PacketAssembler()
    packets.push(packet(0), 0)
    packets.push(packet(1), 10_000_000)
    packets.push(packet(2), 10_000_020)
    assert packets.push(packet(3), 5) == packet(0) + packet(1) + packet(2) + packet(3)
    assert (packets.filled_ms, packets.discontinuities) == (0, 2)


def test_packets_without_a_timestamp_are_kept_in_order() -> None:
    packets = PacketAssembler()
    assert packets.push(packet(0, 639), None) == b""
    assert packets.push(b"\x01\x02", None) == packet(0, 639) + b"\x01"


@given(st.lists(st.tuples(st.binary(max_size=2_000), st.none() | st.integers(-10, 10**12)), max_size=60))
def test_output_is_whole_frames_and_no_more_than_input_and_filling(
    heard: list[tuple[bytes, int | None]],
) -> None:
    packets = PacketAssembler()
    out = b""
    for payload, timestamp_ms in heard:
        frames = packets.push(payload, timestamp_ms)
        assert len(frames) % PHONE_FRAME_SAMPLES == 0
        out += frames
    heard_bytes = sum(len(payload) for payload, _ in heard)
    assert heard_bytes - PHONE_FRAME_SAMPLES < len(out) <= heard_bytes + len(heard) * 8_000


def test_timestamp_drift_adds_no_silence() -> None:
    """A drift of half a percent used to fill in 0.6 to 1.2 s of silence in ten minutes."""
    assembler = PacketAssembler()
    heard = sum(len(assembler.push(b"\x00" * 160, round(number * 20.1))) for number in range(30_000))
    assert assembler.filled_ms == 0
    assert heard == 30_000 * 160


def test_a_lost_packet_is_filled_despite_timestamp_drift() -> None:
    assembler = PacketAssembler()
    for number in range(1_000):
        if number % 100 != 50:
            assembler.push(b"\x00" * 160, round(number * 20.1))
    assert 180 <= assembler.filled_ms <= 230
