"""Amplifies the voice of a very quiet caller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.automatic_gain import GainControl
from processors.caller_filter import CallerFilter


class AutomaticGain(CallerFilter):
    """Amplifies quiet speech: 16-bit mono at 8 kHz. Belongs behind the noise suppressor. Adds no delay."""

    def __init__(self) -> None:
        super().__init__()
        self._control = GainControl()

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Amplify the next audio: int16 ``[n]``, 8 kHz."""
        return self._control.process(samples)
