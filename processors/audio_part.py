"""Base of filters and mixers that wrap the user's."""

from __future__ import annotations

from typing import Any


class AudioPartWrapper:
    """Forwards everything but the audio. It comes before pipecat's base class among a class's bases.

    Args:
        part: the user's filter or mixer.
    """

    def __init__(self, part: Any) -> None:
        super().__init__()
        self._part = part

    async def start(self, sample_rate: int) -> None:
        """Start the user's part, at a rate in Hz."""
        await self._part.start(sample_rate)

    async def stop(self) -> None:
        """Stop the user's part."""
        await self._part.stop()

    async def process_frame(self, frame: Any) -> None:
        """Pass settings to the user's part: a ``FilterControlFrame`` or a ``MixerControlFrame``."""
        await self._part.process_frame(frame)
