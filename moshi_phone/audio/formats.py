"""The audio formats of a call: that of the phone network and that of a duplex model. Defined only here.

The phone network: G.711 µ-law, 8 kHz, mono, one byte a sample. The model: float32, 24 kHz, mono, in frames
of 80 ms (Mimi's: 12.5 frames a second).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PHONE_RATE_HZ = 8_000
SAMPLE_RATE_HZ = 24_000  # the model's
FRAME_MS = 80
FRAME_SAMPLES = SAMPLE_RATE_HZ * FRAME_MS // 1000  # 1,920
PHONE_FRAME_SAMPLES = PHONE_RATE_HZ * FRAME_MS // 1000  # 640, also in bytes of µ-law

Pcm = NDArray[np.float32]
"""float32 ``[samples]``, mono, -1 to 1."""
