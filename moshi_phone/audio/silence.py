"""The only threshold of silence: for greetings, trimming, and rehearsals."""

from __future__ import annotations

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm

SILENT_FRAME = np.zeros(FRAME_SAMPLES, np.float32)  # 80 ms at 24 kHz, for reading only
SILENCE_RMS = 10 ** (-45 / 20)  # -45 dBFS: above the hum of a quiet line, below the softest speech


def is_silent(pcm: Pcm) -> bool:
    """Return whether a frame, float32 ``[samples]``, is silent."""
    return float(np.dot(pcm, pcm)) <= SILENCE_RMS**2 * len(pcm)
