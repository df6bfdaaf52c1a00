"""Removes the bot's own voice from the caller's audio if the caller's phone returns it."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from moshi_phone.audio.echo_canceller import DELAY_MS, AcousticEchoCanceller
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.echo import EchoDetector
from moshi_phone.records.call_metrics import CallMetrics
from processors.caller_filter import CallerFilter
from processors.narrow_band import NarrowBand

EchoMode = Literal["auto", "on", "off"]

_PAST_SAMPLES = 5 * PHONE_RATE_HZ  # longer than the audio that the canceller learns from


class EchoPath:
    """Echo of one call: shared by the tap that records both voices and the stage that filters one.

    A sink of ``CallAudio``: the playout clock puts the bot's voice, as heard, on the time line of the
    caller's audio, so the reference is aligned before the canceller gets it.

    Args:
        mode: ``auto`` cancels once an echo is found, ``on`` from the start, ``off`` never. The echo is
            measured in any mode.
        metrics: receives the delay and the loss found.

    Attributes:
        is_cancelling: whether the caller's audio goes through the canceller.
        has_stage: whether an ``EchoCanceller`` uses it; otherwise the echo is only measured.
        resampling_ms: delay of that stage's resampling, while it cancels.
        passed_samples: of the caller's that passed that stage unchanged, before the echo was cancelled.
    """

    def __init__(self, mode: EchoMode = "auto", metrics: CallMetrics | None = None) -> None:
        self.canceller = AcousticEchoCanceller()
        self.is_cancelling = mode == "on"
        self.has_stage = False
        self.resampling_ms = 0.0
        self.passed_samples = 0
        self._mode = mode
        self._metrics = metrics or CallMetrics()
        self._detector = EchoDetector()  # runs in every mode
        if self.is_cancelling:
            self.canceller.start()

    def take(self, both: NDArray[np.int16]) -> None:
        """Process the next audio: int16 ``[n, 2]``, 8 kHz; the caller, and the bot as the caller hears it."""
        has_looked = self._detector.feed(both)
        if self.is_cancelling:
            self.canceller.play(both[:, 1])
        elif not has_looked:
            return
        self._update()

    def _update(self) -> None:
        self._metrics.echo_canceller_ms = DELAY_MS + self.resampling_ms if self.canceller.is_on else 0.0
        self._metrics.echo_removed_db = self.canceller.removed_db
        self._metrics.echo_listened_s = self._detector.bot_s
        if (echo := self._detector.echo) is None:
            return
        if self._metrics.echo is None:  # the first time: log it once a call
            logger.info("Echo {:.0f} ms late, {:.0f} dB down; {}", echo.delay_ms, echo.loss_db, self._outcome)
            self._metrics.echoing_calls = 1
            self._metrics.echo_found_s = self._detector.fed_samples / PHONE_RATE_HZ
        self._metrics.echo = echo
        if self._mode == "off" or not self.has_stage:
            return
        if not self.is_cancelling:
            self._hand_over()
        self.canceller.start(echo.delay_ms, echo.loss_db)  # again for each new estimate of the delay

    def _hand_over(self) -> None:
        """Give the canceller the past audio: what the stage has passed on, and what it gets next."""
        past = self._detector.last(_PAST_SAMPLES)
        passed = max(0, len(past) - max(0, self._detector.fed_samples - self.passed_samples))
        self.canceller.play(past[:passed, 1])
        self.canceller.process(past[:passed, 0])
        self.canceller.play(past[passed:, 1])
        self.is_cancelling = True

    @property
    def _outcome(self) -> str:
        if self._mode == "off":
            return "it is not cancelled (--echo-cancel off)"
        if not self.has_stage:
            return "it is not cancelled: put an EchoCanceller into the list, behind the transport's input"
        return "it is cancelled"

    def close(self) -> None:
        """Do nothing: no state to release."""


class EchoCanceller(CallerFilter):
    """Removes the echo from the caller's audio: 16-bit mono. Belongs directly behind the decoder.

    Until an echo is found, frames pass unchanged. From then on, audio of more than 8 kHz is limited to 4 kHz.

    Args:
        path: receives both voices from taps (``processors/recorder.py``).
    """

    takes_any_rate: ClassVar[bool] = True

    def __init__(self, path: EchoPath) -> None:
        super().__init__()
        self._path = path
        path.has_stage = True
        self._before = b""  # the last audio that passed unchanged
        self._narrow_band: NarrowBand | None = None  # at other rates than the phone's, while cancelling

    def clean(self, audio: bytes, rate_hz: int = PHONE_RATE_HZ) -> bytes:
        """Return audio without the echo; the same bytes object while there is none."""
        if not self._path.is_cancelling:
            self._before = audio
            self._path.passed_samples += len(audio) // 2 * PHONE_RATE_HZ // rate_hz
            return audio
        if rate_hz == PHONE_RATE_HZ:
            return super().clean(audio)
        if self._narrow_band is None or self._narrow_band.rate_hz != rate_hz:
            self._narrow_band = NarrowBand(rate_hz, super().clean, self._before)
            self._path.resampling_ms = self._narrow_band.delay_ms
        return self._narrow_band.clean(audio)

    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Remove the echo from the next audio."""
        return self._path.canceller.process(samples)
