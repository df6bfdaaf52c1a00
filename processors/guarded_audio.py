"""Keeps a fault of the user's audio filter or mixer from stopping the call's audio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from loguru import logger
from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.transports.base_transport import TransportParams

from processors.audio_part import AudioPartWrapper


class _Guard:
    """Calls the user's function; if it fails, the audio is unchanged, and the log says so once."""

    def __init__(self, part: object) -> None:
        self._part = type(part).__name__
        self._has_failed = False

    async def call(self, process: Callable[[bytes], Awaitable[bytes]], audio: bytes) -> bytes:
        try:
            processed = await process(audio)
            if not isinstance(processed, (bytes, bytearray, memoryview)) or len(processed) % 2:
                raise ValueError(f"expected bytes of 16-bit samples, got {_describe(processed)}")
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                logger.opt(exception=error).error("{} failed, and the audio passes unchanged", self._part)
            return audio
        return bytes(processed)


def _describe(processed: object) -> str:
    return f"{len(processed)} bytes" if isinstance(processed, bytes) else type(processed).__name__


class GuardedFilter(AudioPartWrapper, BaseAudioFilter):
    """A filter that passes the audio when the user's fails.

    Args:
        audio_filter: the user's.
    """

    def __init__(self, audio_filter: BaseAudioFilter) -> None:
        super().__init__(audio_filter)
        self._guard = _Guard(audio_filter)

    async def filter(self, audio: bytes) -> bytes:
        """Filter 16-bit PCM."""
        return await self._guard.call(self._part.filter, audio)


class GuardedMixer(AudioPartWrapper, BaseAudioMixer):
    """A mixer that passes the audio when the user's fails.

    Args:
        mixer: the user's.
    """

    def __init__(self, mixer: BaseAudioMixer) -> None:
        super().__init__(mixer)
        self._guard = _Guard(mixer)

    async def mix(self, audio: bytes) -> bytes:
        """Mix 16-bit PCM."""
        return await self._guard.call(self._part.mix, audio)


def default_mixer(params: TransportParams) -> BaseAudioMixer | None:
    """Return the mixer of the default destination, the only one of a call."""
    mixers = params.audio_out_mixer
    return mixers.get(None) if isinstance(mixers, Mapping) else mixers


def guard_audio(params: TransportParams) -> TransportParams:
    """Return the parameters with the default destination's filters and mixer guarded."""
    mixer, filter_in, filter_out = default_mixer(params), params.audio_in_filter, params.audio_out_filter
    return params.model_copy(
        update={
            "audio_in_filter": filter_in and GuardedFilter(filter_in),
            "audio_out_filter": filter_out and GuardedFilter(filter_out),
            "audio_out_mixer": mixer and GuardedMixer(mixer),
        }
    )
