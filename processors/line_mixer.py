"""Shares one mixer between continuous speech and pipecat's output queue."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.frames.frames import MixerControlFrame


class LineMixer(BaseAudioMixer):
    """Mixes for pipecat's queue, but leaves its silence alone while continuous speech is mixed elsewhere.

    The queue requests the mixer's audio whenever it is empty. Continuous speech bypasses the queue and is
    mixed already: mixing both would play the sound at twice its speed.

    Args:
        mixer: the user's.
        speech_flows: returns whether continuous speech is being sent.
    """

    def __init__(self, mixer: BaseAudioMixer, speech_flows: Callable[[], bool]) -> None:
        super().__init__()
        self._mixer = mixer
        self._speech_flows = speech_flows  # while true, continuous speech carries the mixer's audio

    async def start(self, sample_rate: int) -> None:
        """Start the user's mixer."""
        await self._mixer.start(sample_rate)

    async def stop(self) -> None:
        """Stop the user's mixer."""
        await self._mixer.stop()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: MixerControlFrame) -> None:
        """Pass settings to the user's mixer."""
        await self._mixer.process_frame(frame)

    async def mix(self, audio: bytes) -> bytes:
        """Mix 16-bit PCM, except silence that is not sent."""
        if self._speech_flows() and not any(audio):
            return audio
        return await self._mixer.mix(audio)
