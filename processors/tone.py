"""Mixes a tone into the caller's audio, in place of words that the engine cannot say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.beeps import beeps
from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.frames import MulawOutputFrame

_NOTHING = np.zeros(0, np.float32)


class ToneOverlay(FrameProcessor):
    """Mixes three beeps into passing audio on request. Adds no audio, so no delay.

    It may be where the audio is µ-law or mono PCM of any rate.
    """

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self._asked = False  # whether to begin with the next audio, whose rate determines the tone's
        self._left: NDArray[np.float32] = _NOTHING  # the rest of the tone

    def sound(self) -> None:
        """Begin with the next passing audio."""
        self._asked = True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Mix the rest of the tone into audio; all frames pass."""
        await super().process_frame(frame, direction)
        if self._asked or self._left.size:  # without a tone, audio passes unchanged, bit for bit
            if isinstance(frame, MulawOutputFrame):
                frame.mulaw = g711.encode(self._mixed(g711.decode(frame.mulaw), PHONE_RATE_HZ))
            elif isinstance(frame, OutputAudioRawFrame) and frame.num_channels == 1:
                frame.audio = self._mixed(frame.audio, frame.sample_rate)
        await self.push_frame(frame, direction)

    def _mixed(self, audio: bytes, rate_hz: int) -> bytes:
        if self._asked:
            self._asked, self._left = False, beeps(rate_hz)
        samples = pcm.to_float(audio)
        now, self._left = self._left[: samples.size], self._left[samples.size :]
        samples[: now.size] += now
        return pcm.to_bytes(samples)
