"""Cuts the caller's audio into the model's frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from processors.mono import MonoMixer
from processors.resampler import Resampling


class CallerBlocks:
    """Converts 16-bit audio of any rate, in frames of any length, to blocks of 80 ms at 24 kHz, mono. Pure.

    The phone's frames are whole blocks already; other transports leave a rest. Another rate is resampled, and
    several channels are mixed, with one warning each.
    """

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)  # of an incomplete block
        self._mono = MonoMixer("MoshiProcessor")
        self._resampling: Resampling | None = None  # only if the transport lacks the model's rate

    @property
    def resampling_ms(self) -> float:
        """Delay of the resampling; 0 without one."""
        return self._resampling.delay_ms if self._resampling else 0.0

    def cut(self, frame: InputAudioRawFrame) -> Iterator[Pcm]:
        """Return the blocks that this frame completes, float32 ``[1920]`` each."""
        self._mono.mix(frame)
        heard = pcm.to_float(frame.audio if frame.sample_rate == SAMPLE_RATE_HZ else self._resampled(frame))
        if self._rest.size:
            heard = np.concatenate((self._rest, heard))
        whole = heard.size // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = heard[whole:]
        return iter(heard[:whole].reshape(-1, FRAME_SAMPLES))

    def _resampled(self, frame: InputAudioRawFrame) -> bytes:
        if self._resampling is None:
            logger.warning(
                "MoshiProcessor expects {0} Hz, got {1} Hz, and resamples it; put Resampler({1}, {0}) before "
                "it, or have the transport give {0} Hz",
                SAMPLE_RATE_HZ,
                frame.sample_rate,
            )
        if self._resampling is None or self._resampling.in_hz != frame.sample_rate:
            self._resampling = Resampling(frame.sample_rate, SAMPLE_RATE_HZ)
        return self._resampling.process(frame.audio)
