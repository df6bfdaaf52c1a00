"""Attenuates steady noise in the caller's audio with WebRTC's noise suppressor. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import AudioProcessor

from moshi_phone.audio.formats import PHONE_RATE_HZ

Samples = NDArray[np.int16]

_DELAY_SAMPLES = 72  # at 8 kHz, measured
DELAY_MS = _DELAY_SAMPLES / PHONE_RATE_HZ * 1000
_BLOCK_SAMPLES = PHONE_RATE_HZ // 100  # the library processes 10 ms; it would pad a shorter block
_LEVEL = 1  # of 0 to 3: about 12 dB; a higher one distorts speech more


class WebRtcNoiseSuppressor:
    """One call's suppressor.

    Audio is 8 kHz, mono, int16. An incomplete block of 10 ms is held back.
    """

    def __init__(self) -> None:
        self._library = AudioProcessor(sample_rate=PHONE_RATE_HZ, noise_suppression=True, ns_level=_LEVEL)
        self._held: Samples = np.zeros(0, np.int16)

    def process(self, samples: Samples) -> Samples:
        """Return the next audio, delayed by ``DELAY_MS``, and on average of the input's length."""
        waiting = np.concatenate((self._held, samples)) if len(self._held) else samples
        whole = len(waiting) // _BLOCK_SAMPLES * _BLOCK_SAMPLES
        self._held = waiting[whole:]
        return self._library.process(waiting[:whole]) if whole else waiting[:0]
