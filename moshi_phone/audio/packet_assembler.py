"""Assembles the caller's packets into whole frames, in order and without gaps. Pure.

Twilio's packets are 20 ms in practice, but may have any size. Each has a timestamp, in milliseconds since the
stream's start. After a missing packet, the timestamp jumps; the gap is filled with silence, so that the
caller's audio stays a correct clock.
"""

from __future__ import annotations

from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.audio.g711 import SILENCE

_BYTES_PER_MS = PHONE_RATE_HZ // 1000
_SMALLEST_GAP_MS = 20  # one packet; smaller jumps are rounding and jitter of timestamps
_DRIFT_GAIN = 0.1
_MAX_GAP_MS = 1_000  # a longer gap is an outage: filling it would only add delay


class PacketAssembler:
    """Collects µ-law packets into whole frames of 640 bytes (80 ms).

    Whole frames keep all later stages on packet boundaries, and let them run once instead of four times.

    Attributes:
        filled_ms: silence in place of missing packets.
        discontinuities: number of jumps of the sender's clock that were too long, or backwards, to be filled.
    """

    def __init__(self) -> None:
        self.filled_ms = 0
        self.discontinuities = 0
        self._buffer = bytearray()  # less than a frame between two packets
        self._next_ms: float | None = None  # expected timestamp of the next packet

    def push(self, payload: bytes, timestamp_ms: int | None) -> bytes:
        """Add a packet.

        Args:
            payload: µ-law, any length.
            timestamp_ms: start of the packet, by the sender's clock; None if unknown.

        Returns:
            Zero or more whole frames in one piece: a multiple of 640 bytes.
        """
        if timestamp_ms is not None:
            self._fill_up_to(timestamp_ms)
        self._buffer += payload
        if self._next_ms is not None:
            self._next_ms += len(payload) / _BYTES_PER_MS
        whole = len(self._buffer) // PHONE_FRAME_SAMPLES * PHONE_FRAME_SAMPLES
        frames = bytes(self._buffer[:whole])
        del self._buffer[:whole]
        return frames

    @property
    def missing_bytes(self) -> int:
        """µ-law bytes that complete the current frame."""
        return PHONE_FRAME_SAMPLES - len(self._buffer)

    def restart(self) -> None:
        """Continue with a sender whose clock restarts; an incomplete frame is kept."""
        self._next_ms = None

    def _fill_up_to(self, timestamp_ms: int) -> None:
        if self._next_ms is None:
            self._next_ms = timestamp_ms
            return
        gap_ms = timestamp_ms - self._next_ms
        if abs(gap_ms) > _MAX_GAP_MS:  # nothing is filled; time continues from there
            self.discontinuities += 1
            self._next_ms = timestamp_ms
        elif gap_ms >= _SMALLEST_GAP_MS:
            silence = round(gap_ms * _BYTES_PER_MS)
            self._buffer += bytes([SILENCE]) * silence
            self._next_ms += silence / _BYTES_PER_MS
            self.filled_ms += round(gap_ms)
        else:  # slowly: a sender's clock may drift from its audio, but a late packet must not move it
            self._next_ms += _DRIFT_GAIN * gap_ms
