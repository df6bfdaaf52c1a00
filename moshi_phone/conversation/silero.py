"""How likely a piece of sound holds speech: Silero's network, as pipecat ships it."""

from __future__ import annotations

import copy
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

WINDOW_SAMPLES = 256  # 32 ms at 8 kHz: the only size that the network takes


class SpeechProbability:
    """One stream through the network, which remembers what it has heard of it.

    The loaded network is one for the whole process; each of these has only its state (a few kB).
    """

    def __init__(self) -> None:
        self._model = copy.copy(_loaded())
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._model.reset_states()

    def of(self, window: NDArray[np.float32]) -> float:
        """Give the probability of speech, 0 to 1, in the stream's next window.

        Args:
            window: float32 ``[256]``, 8 kHz mono, -1 to 1.
        """
        return float(self._model(window[np.newaxis], PHONE_RATE_HZ)[0, 0])


def load() -> None:
    """Load the network, which takes a second, before a call needs it."""
    _loaded()


@cache
def _loaded() -> Any:
    # Loads onnxruntime, which takes a second: nobody else needs to wait for it.
    from pipecat.audio.vad.silero import SileroOnnxModel  # noqa: PLC0415

    path = files("pipecat.audio.vad") / "data" / "silero_vad.onnx"
    return SileroOnnxModel(str(path), force_onnx_cpu=True)  # type: ignore[no-untyped-call]
