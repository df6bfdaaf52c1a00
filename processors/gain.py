"""Raises the voice of a caller who is far too quiet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.automatic_gain import GainControl
from processors.caller_filter import CallerFilter


class AutomaticGain(CallerFilter):
    """Amplifies quiet speech: 16-bit mono at 8 kHz, behind the noise suppressor. Delays nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._control = GainControl()

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Amplify the next audio."""
        return self._control.process(samples)
