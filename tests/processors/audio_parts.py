"""A user's audio filter and mixer that record their calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer

Process = Callable[[bytes], Any]


class _Recorded:
    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process
        self.calls: list[object] = []

    async def start(self, sample_rate: int) -> None:
        self.calls.append(sample_rate)

    async def stop(self) -> None:
        self.calls.append("stop")

    async def process_frame(self, frame: Any) -> None:
        self.calls.append(frame)


class Filter(_Recorded, BaseAudioFilter):
    """Filters with a function."""

    async def filter(self, audio: bytes) -> bytes:
        return self.process(audio)  # type: ignore[no-any-return]


class Mixer(_Recorded, BaseAudioMixer):
    """Mixes with a function."""

    async def mix(self, audio: bytes) -> bytes:
        return self.process(audio)  # type: ignore[no-any-return]
