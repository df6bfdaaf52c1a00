"""Suppresses steady noise in the caller's audio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.noise_suppressor import DELAY_MS, WebRtcNoiseSuppressor
from moshi_phone.records.call_metrics import CallMetrics
from processors.caller_filter import CallerFilter


class NoiseSuppressor(CallerFilter):
    """Suppresses noise: 16-bit mono at 8 kHz. Belongs behind the echo canceller. Delays the caller by 9 ms.

    Args:
        metrics: receives the delay.
    """

    def __init__(self, metrics: CallMetrics | None = None) -> None:
        super().__init__()
        self._suppressor = WebRtcNoiseSuppressor()
        self._call_metrics = metrics or CallMetrics()

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Suppress noise in the next audio: int16 ``[n]``, 8 kHz."""
        self._call_metrics.noise_suppressor_ms = DELAY_MS  # only now: without phone audio there is no delay
        return self._suppressor.process(samples)
