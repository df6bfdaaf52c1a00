"""Makes steady noise in the caller's audio weaker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.noise_suppressor import DELAY_MS, WebRtcNoiseSuppressor
from moshi_phone.records.call_metrics import CallMetrics
from processors.caller_filter import CallerFilter


class NoiseSuppressor(CallerFilter):
    """Suppresses noise: 16-bit mono at 8 kHz, behind the echo canceller. Delays the caller by 9 ms.

    Args:
        metrics: get the delay.
    """

    def __init__(self, metrics: CallMetrics | None = None) -> None:
        super().__init__()
        self._suppressor = WebRtcNoiseSuppressor()
        self._call_metrics = metrics or CallMetrics()

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Suppress the noise in the next audio."""
        self._call_metrics.noise_suppressor_ms = DELAY_MS
        return self._suppressor.process(samples)
