from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.g711 import SILENCE
from processors.inbound import FRAME_BYTES, Inbound


def packet(index: int, size: int = 160) -> bytes:
    return bytes([index % 100]) * size


def test_four_packets_make_a_frame() -> None:
    inbound = Inbound()
    given_back = [inbound.push(packet(n), n * 20) for n in range(8)]
    assert [len(part) for part in given_back] == [0, 0, 0, 640, 0, 0, 0, 640]
    assert given_back[3] == packet(0) + packet(1) + packet(2) + packet(3)
    assert (inbound.filled_ms, inbound.jumps) == (0, 0)


def test_a_lost_packet_is_silence_and_the_frame_is_complete_in_time() -> None:
    inbound = Inbound()
    for n in (0, 1):
        assert inbound.push(packet(n), n * 20) == b""
    assert inbound.push(packet(3), 60) == packet(0) + packet(1) + bytes([SILENCE]) * 160 + packet(3)
    assert inbound.filled_ms == 20


def test_jitter_of_the_timestamps_is_no_gap() -> None:
    inbound = Inbound()
    for n in range(400):
        inbound.push(packet(n), n * 20 + (n * 7) % 19)
    assert inbound.filled_ms == 0


def test_a_clock_that_runs_away_slowly_is_followed() -> None:
    inbound = Inbound()
    sent = sum(len(inbound.push(packet(n), round(n * 20.2))) for n in range(1000))
    assert abs(sent / 8 - 20_200) < 100


def test_a_clock_that_jumps_is_believed_and_nothing_is_made_up() -> None:
    inbound = Inbound()
    inbound.push(packet(0), 0)
    inbound.push(packet(1), 10_000_000)
    inbound.push(packet(2), 10_000_020)
    assert inbound.push(packet(3), 5) == packet(0) + packet(1) + packet(2) + packet(3)
    assert (inbound.filled_ms, inbound.jumps) == (0, 2)


def test_packets_that_do_not_say_when_are_kept_in_order() -> None:
    inbound = Inbound()
    assert inbound.push(packet(0, 639), None) == b""
    assert inbound.push(b"\x01\x02", None) == packet(0, 639) + b"\x01"


@given(st.lists(st.tuples(st.binary(max_size=2_000), st.none() | st.integers(-10, 10**12)), max_size=60))
def test_whole_frames_and_never_more_than_was_heard_and_filled(
    packets: list[tuple[bytes, int | None]],
) -> None:
    inbound = Inbound()
    out = b""
    for payload, timestamp_ms in packets:
        frames = inbound.push(payload, timestamp_ms)
        assert len(frames) % FRAME_BYTES == 0
        out += frames
    heard = sum(len(payload) for payload, _ in packets)
    assert heard - FRAME_BYTES < len(out) <= heard + len(packets) * 8_000
