"""Both voices of a call on one time line, for recording and measurement."""

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
    """A consumer of both voices, such as a recording."""

    def take(self, both: NDArray[np.int16]) -> None:
        """Process the next audio: int16 ``[n, 2]``, the caller, and the bot as the caller hears it.

        Must not block or raise.
        """

    def close(self) -> None:
        """Finish: the call is over. May be called twice."""


class CallAudio:
    """Aligns the caller's and the bot's audio on one time line, and passes it to the sinks.

    Args:
        sinks: receive all audio, in order.
        now_s: returns the time in seconds; the default is the event loop's clock.
        rate_hz: the sinks' sample rate; other audio is resampled.
    """

    def __init__(
        self,
        sinks: Sequence[AudioSink],
        now_s: Callable[[], float] | None = None,
        rate_hz: int = PHONE_RATE_HZ,
    ) -> None:
        self._sinks = sinks
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        # One converter for each side: each has filter state.
        self._said, self._heard = _ToRate(rate_hz), _ToRate(rate_hz)
        self._timeline = Timeline(rate_hz)  # gives both sides' audio in order of time
        self._is_over = False  # audio that comes later is ignored

    def said(self, samples: NDArray[np.int16], rate_hz: int = PHONE_RATE_HZ) -> None:
        """Add the caller's next audio, int16 ``[n]``, mono."""
        if not self._is_over:
            self._hand_on(self._timeline.said(self._said.convert(samples, rate_hz), self._now_s()))

    def heard(self, samples: NDArray[np.int16], rate_hz: int = PHONE_RATE_HZ) -> None:
        """Add audio sent to the caller, int16 ``[n]``, mono."""
        if not self._is_over:
            self._timeline.heard(self._heard.convert(samples, rate_hz), self._now_s())

    def close(self) -> None:
        """Pass on the remaining audio, and close the sinks. May be called twice."""
        if not self._is_over:
            self._is_over = True
            self._hand_on(self._timeline.rest(self._now_s()))
            for sink in self._sinks:
                sink.close()

    def _hand_on(self, both: NDArray[np.int16]) -> None:
        for sink in self._sinks:
            sink.take(both)


class _ToRate:
    """Resamples one side's audio to the recording's rate, from any rate and block size."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._from_hz = rate_hz  # the last block's rate; a change starts a new resampler
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
