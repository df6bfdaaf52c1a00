"""Runs a filter of the phone's rate on audio of another rate. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.resampler import Resampling


class NarrowBand:
    """Filters 16-bit mono PCM, in pieces of any length, at the phone's rate: its output is limited to 4 kHz.

    The filter begins in the middle of a stream: its first piece is faded in, so that there is no click.

    Args:
        rate_hz: of the audio, not 8000.
        clean: filters the next 16-bit mono PCM at 8 kHz; may return less or more than it gets.
        before: the audio directly before the first piece.

    Attributes:
        rate_hz: of the audio.
        delay_ms: of the resampling.
    """

    def __init__(self, rate_hz: int, clean: Callable[[bytes], bytes], before: bytes = b"") -> None:
        self.rate_hz = rate_hz
        self._down, self._up = Resampling(rate_hz, PHONE_RATE_HZ), Resampling(PHONE_RATE_HZ, rate_hz)
        self.delay_ms = self._down.delay_ms + self._up.delay_ms
        self._clean = clean
        self._up.process(self._down.process(before))  # for the state of both
        self._unchanged: bytes | None = b""  # the audio of the first piece; None afterwards

    def clean(self, audio: bytes) -> bytes:
        """Return the next audio filtered, on average as much as given."""
        cleaned = self._up.process(self._clean(self._down.process(audio)))
        if self._unchanged is not None:
            self._unchanged += audio
            if cleaned:
                cleaned, self._unchanged = _faded(self._unchanged, cleaned), None
        return cleaned


def _faded(before: bytes, after: bytes) -> bytes:
    """Fade from one signal to the other over the length of the shorter one; as long as ``after``."""
    old, new = (np.frombuffer(side, "<i2").astype(np.float32) for side in (before, after))
    both = min(len(old), len(new))
    new[:both] = old[:both] + np.arange(both) / both * (new[:both] - old[:both])
    return np.rint(new).astype("<i2").tobytes()
