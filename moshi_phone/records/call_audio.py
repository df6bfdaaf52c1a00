"""Both voices of a call on one time line, for whoever wants to record, measure or compare them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.resampling import StreamResampler
from moshi_phone.records.timeline import Timeline


class AudioSink(Protocol):
    """Takes both voices: a recording, a measure."""

    def take(self, both: NDArray[np.int16]) -> None:
        """Take the next audio: int16 ``[n, 2]``, the caller, and the bot as the caller hears it.

        Must return at once, and never raise.
        """

    def close(self) -> None:
        """Finish: the call is over. May be called twice."""


class CallAudio:
    """Puts what the caller says and what is sent to them on one time line, and hands it on.

    Args:
        sinks: take all of it, in order.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
        rate_hz: of what the sinks get; audio of another rate is resampled.
    """

    def __init__(
        self,
        sinks: Sequence[AudioSink],
        now_s: Callable[[], float] | None = None,
        rate_hz: int = PHONE_RATE_HZ,
    ) -> None:
        self._sinks = sinks
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        # Each keeps the filter state of its side.
        self._said, self._heard = _ToRate(rate_hz), _ToRate(rate_hz)
        self._timeline = Timeline(rate_hz)
        self._is_over = False

    def said(self, samples: NDArray[np.int16], rate_hz: int = PHONE_RATE_HZ) -> None:
        """Take the caller's next audio, int16 ``[n]``, mono."""
        if not self._is_over:
            self._hand_on(self._timeline.said(self._said.convert(samples, rate_hz), self._now_s()))

    def heard(self, samples: NDArray[np.int16], rate_hz: int = PHONE_RATE_HZ) -> None:
        """Take what is sent to the caller, int16 ``[n]``, mono."""
        if not self._is_over:
            self._timeline.heard(self._heard.convert(samples, rate_hz), self._now_s())

    def close(self) -> None:
        """Hand on what is left, and close the sinks. May be called twice."""
        if not self._is_over:
            self._is_over = True
            self._hand_on(self._timeline.rest(self._now_s()))
            for sink in self._sinks:
                sink.close()

    def _hand_on(self, both: NDArray[np.int16]) -> None:
        for sink in self._sinks:
            sink.take(both)


class _ToRate:
    """Brings one side's audio to the recording's rate, whatever rate it has, and however long its blocks."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._from_hz = rate_hz  # of the last block; a change of rate starts a new resampler
        self._resampler: StreamResampler | None = None
        self._rest = np.zeros(0, np.int16)  # less than the resampler's block

    def convert(self, samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
        """Return the next samples at the recording's rate: int16."""
        if rate_hz != self._from_hz:
            self._from_hz, self._rest = rate_hz, np.zeros(0, np.int16)
            self._resampler = None if rate_hz == self._rate_hz else StreamResampler(rate_hz, self._rate_hz)
        if self._resampler is None:
            return samples
        waiting = np.concatenate((self._rest, samples))
        whole = waiting.size // self._resampler.down * self._resampler.down
        self._rest = waiting[whole:]
        resampled = self._resampler.process(pcm.to_float(waiting[:whole].astype("<i2", copy=False).tobytes()))
        return np.frombuffer(pcm.to_bytes(resampled), "<i2")
