"""Takes the bot's own voice out of the caller's audio, where the caller's phone returns it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio.echo_canceller import DELAY_MS, AcousticEchoCanceller
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.echo import EchoDetector
from moshi_phone.records.call_metrics import CallMetrics

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


class EchoCanceller(FrameProcessor):
    """Cleans the caller's audio: 16-bit mono at 8 kHz, behind the decoder and before anything that listens.

    Until an echo is found the frames pass untouched. Audio of another format passes, with one warning.

    Args:
        path: sees both voices by a tap (``processors/recorder.py``) before this stage.
    """

    def __init__(self, path: EchoPath) -> None:
        super().__init__(enable_direct_mode=True)
        self._path = path
        self._has_warned = False  # of audio that it cannot work on: once a call

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Clean audio on its way in; everything else passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            if frame.sample_rate != PHONE_RATE_HZ or frame.num_channels != 1:
                self._warn(frame)
            elif (cleaned := self.clean(frame.audio)) is not frame.audio:
                if not cleaned:
                    return
                frame = InputAudioRawFrame(cleaned, PHONE_RATE_HZ, num_channels=1)
        await self.push_frame(frame, direction)

    def clean(self, audio: bytes) -> bytes:
        """Give audio, 16-bit mono at 8 kHz, without the echo; the very same bytes while there is none."""
        samples = np.frombuffer(audio, "<i2")
        cleaned = self._path.canceller.process(samples)
        return audio if cleaned is samples else cleaned.astype("<i2", copy=False).tobytes()

    def _warn(self, frame: InputAudioRawFrame) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "EchoCanceller expects mono audio at {} Hz, got {} channels at {} Hz; echo stays in it. "
                "Put a Resampler before it",
                PHONE_RATE_HZ,
                frame.num_channels,
                frame.sample_rate,
            )
