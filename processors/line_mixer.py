"""Shares one mixer between continuous speech and pipecat's output queue."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer

from processors.audio_part import AudioPartWrapper


class LineMixer(AudioPartWrapper, BaseAudioMixer):
    """Mixes for pipecat's queue, but leaves its silence alone while continuous speech is mixed elsewhere.

    The queue requests the mixer's audio whenever it is empty. Continuous speech bypasses the queue and is
    mixed already: mixing both would play the sound at twice its speed.

    Args:
        mixer: the user's.
        speech_flows: returns whether continuous speech is being sent.
    """

    def __init__(self, mixer: BaseAudioMixer, speech_flows: Callable[[], bool]) -> None:
        super().__init__(mixer)
        self._speech_flows = speech_flows  # while true, continuous speech carries the mixer's audio

    async def mix(self, audio: bytes) -> bytes:
        """Mix 16-bit PCM, except silence that is not sent."""
        if self._speech_flows() and not any(audio):
            return audio
        mixed: bytes = await self._part.mix(audio)
        return mixed
