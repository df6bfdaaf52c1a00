"""Takes the bot's own voice out of the caller's audio, where the caller's phone returns it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from moshi_phone.audio.echo_canceller import DELAY_MS, AcousticEchoCanceller
from moshi_phone.conversation.echo import EchoDetector
from moshi_phone.records.call_metrics import CallMetrics
from processors.caller_filter import CallerFilter

EchoMode = Literal["auto", "on", "off"]


class EchoPath:
    """What one call knows of its echo: shared by the tap that sees both voices and the stage that cleans one.

    A sink of ``CallAudio``: what the caller hears is on the time line of what the caller says, by the playout
    clock, so the reference is aligned before the canceller sees it.

    Args:
        mode: ``auto`` cancels from when an echo is found, ``on`` from the start, ``off`` never. The echo is
            measured in any case.
        metrics: get the delay and the loss that are found.
    """

    def __init__(self, mode: EchoMode = "auto", metrics: CallMetrics | None = None) -> None:
        self.canceller = AcousticEchoCanceller()
        self._mode = mode
        self._metrics = metrics or CallMetrics()
        self._detector = EchoDetector()  # measures also where nothing is cancelled
        if mode == "on":
            self.canceller.start()

    def take(self, both: NDArray[np.int16]) -> None:
        """Take the next audio: int16 ``[n, 2]``, 8 kHz, the caller, and the bot as the caller hears it."""
        self._detector.feed(both)
        self.canceller.play(both[:, 1])
        self._metrics.echo_canceller_ms = DELAY_MS if self.canceller.is_on else 0.0
        self._metrics.echo_removed_db = self.canceller.removed_db
        self._metrics.echo_listened_s = self._detector.bot_s
        if (echo := self._detector.echo) is None:
            return
        if self._metrics.echo is None:
            outcome = "it is cancelled" if self._mode != "off" else "it is not cancelled (--echo-cancel off)"
            logger.info("Echo {:.0f} ms late, {:.0f} dB down; {}", echo.delay_ms, echo.loss_db, outcome)
            self._metrics.echoing_calls = 1
        self._metrics.echo = echo
        if self._mode != "off":
            self.canceller.start(echo.delay_ms, echo.loss_db)

    def close(self) -> None:
        """Nothing to finish."""


class EchoCanceller(CallerFilter):
    """Cleans the caller's audio: 16-bit mono at 8 kHz, behind the decoder and before anything that listens.

    Until an echo is found the frames pass untouched.

    Args:
        path: sees both voices by a tap (``processors/recorder.py``) before this stage.
    """

    def __init__(self, path: EchoPath) -> None:
        super().__init__()
        self._path = path

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take the echo out of the next audio; the very same array while there is none."""
        return self._path.canceller.process(samples)
