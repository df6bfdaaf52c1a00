"""Removes the bot's own voice from the caller's audio if the caller's phone returns it."""

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
    """Echo of one call: shared by the tap that records both voices and the stage that filters one.

    A sink of ``CallAudio``: the playout clock puts the bot's voice, as heard, on the time line of the
    caller's audio, so the reference is aligned before the canceller gets it.

    Args:
        mode: ``auto`` cancels once an echo is found, ``on`` from the start, ``off`` never. The echo is
            measured in any mode.
        metrics: receives the delay and the loss found.
    """

    def __init__(self, mode: EchoMode = "auto", metrics: CallMetrics | None = None) -> None:
        self.canceller = AcousticEchoCanceller()
        self._mode = mode
        self._metrics = metrics or CallMetrics()
        self._detector = EchoDetector()  # runs in every mode
        if mode == "on":
            self.canceller.start()

    def take(self, both: NDArray[np.int16]) -> None:
        """Process the next audio: int16 ``[n, 2]``, 8 kHz; the caller, and the bot as the caller hears it."""
        has_looked = self._detector.feed(both)
        self.canceller.play(both[:, 1])
        if has_looked or self.canceller.is_on:
            self._update()

    def _update(self) -> None:
        self._metrics.echo_canceller_ms = DELAY_MS if self.canceller.is_on else 0.0
        self._metrics.echo_removed_db = self.canceller.removed_db
        self._metrics.echo_listened_s = self._detector.bot_s
        if (echo := self._detector.echo) is None:
            return
        if self._metrics.echo is None:  # the first time: log it once a call
            outcome = "it is cancelled" if self._mode != "off" else "it is not cancelled (--echo-cancel off)"
            logger.info("Echo {:.0f} ms late, {:.0f} dB down; {}", echo.delay_ms, echo.loss_db, outcome)
            self._metrics.echoing_calls = 1
        self._metrics.echo = echo
        if self._mode != "off":
            self.canceller.start(echo.delay_ms, echo.loss_db)  # again for each new estimate of the delay

    def close(self) -> None:
        """Do nothing: no state to release."""


class EchoCanceller(CallerFilter):
    """Removes the echo from the caller's audio: 16-bit mono at 8 kHz. Stands directly behind the decoder.

    Until an echo is found, frames pass unchanged.

    Args:
        path: receives both voices from taps (``processors/recorder.py``).
    """

    def __init__(self, path: EchoPath) -> None:
        super().__init__()
        self._path = path

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Remove the echo from the next audio; return the same array object while there is none."""
        return self._path.canceller.process(samples)
