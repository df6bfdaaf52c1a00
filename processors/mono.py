"""Mixes audio of several channels down to the one that a phone call has."""

from __future__ import annotations

from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame

from moshi_phone.audio import pcm


class MonoMixer:
    """Makes a stage's audio frames mono, with one warning.

    Args:
        name: of the stage.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_warned = False

    def mix(self, frame: InputAudioRawFrame | OutputAudioRawFrame) -> None:
        """Mix the channels of a frame of 16-bit PCM; the frame is changed in place."""
        channels = frame.num_channels
        if channels == 1:
            return
        if not self._has_warned:
            self._has_warned = True
            logger.warning("{} expects mono audio, got {} channels, and mixes them", self._name, channels)
        frame.audio, frame.num_channels = pcm.to_mono(frame.audio, channels), 1
        frame.num_frames = len(frame.audio) // 2
