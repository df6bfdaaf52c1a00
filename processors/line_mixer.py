"""Shares one mixer between continuous speech and pipecat's output queue."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.frames.frames import MixerControlFrame


class LineMixer(BaseAudioMixer):
    """Mixes for pipecat's queue; its silence stays silence while continuous speech is mixed elsewhere.

    The queue asks for a mixer's part whenever it is empty. Continuous speech does not pass the queue and has
    that part already: with both, the sound would run at twice its speed.

    Args:
        mixer: the user's.
        speech_flows: whether continuous speech is being sent now.
    """

    def __init__(self, mixer: BaseAudioMixer, speech_flows: Callable[[], bool]) -> None:
        super().__init__()
        self._mixer = mixer
        self._speech_flows = speech_flows  # while it does, the mixer's audio is mixed into the speech instead

    async def start(self, sample_rate: int) -> None:
        """Start the user's mixer."""
        await self._mixer.start(sample_rate)

    async def stop(self) -> None:
        """Stop the user's mixer."""
        await self._mixer.stop()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: MixerControlFrame) -> None:
        """Let the user's mixer take its settings."""
        await self._mixer.process_frame(frame)

    async def mix(self, audio: bytes) -> bytes:
        """Mix 16-bit PCM, but for silence that nobody will hear."""
        if self._speech_flows() and not any(audio):
            return audio
        return await self._mixer.mix(audio)
