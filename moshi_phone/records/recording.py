"""Records a call: what the caller said (left) and what the caller heard (right), on one time line."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.resampling import StreamResampler
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.timeline import Timeline


class WavSink:
    """A stereo WAV (16 bit) that is whole after each piece: a process that is killed leaves it so.

    Args:
        file: new and empty; closed with this.
        rate_hz: of the samples.
    """

    def __init__(self, file: BinaryIO, rate_hz: int = PHONE_RATE_HZ) -> None:
        self._file = file
        self._wav = wave.open(file)  # noqa: SIM115 - open as long as the call
        self._wav.setnchannels(2)
        self._wav.setsampwidth(2)
        self._wav.setframerate(rate_hz)

    def write(self, data: bytes) -> None:
        """Write samples, little-endian, left and right in turn."""
        self._wav.writeframes(data)  # it corrects the header, too
        self._file.flush()

    def close(self) -> None:
        """Close the file, also when its disk is full."""
        try:
            self._wav.close()
        finally:
            self._file.close()


class Recording:
    """A stereo WAV that is written once a second, in another thread, and whole at any moment after that.

    A call that is cut loses nothing; a process that is killed loses less than a second of it.

    Args:
        path: of the file.
        files: writes it.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
        rate_hz: of the file; audio of another rate is resampled.
    """

    def __init__(
        self,
        path: Path,
        files: FileWriter,
        now_s: Callable[[], float] | None = None,
        rate_hz: int = PHONE_RATE_HZ,
    ) -> None:
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._rate_hz = rate_hz
        self._said, self._heard = _ToRate(rate_hz), _ToRate(rate_hz)
        self._timeline = Timeline(rate_hz)
        self._unwritten: list[NDArray[np.int16]] = []
        self._unwritten_samples = 0
        self._file = files.open(path, partial(WavSink, rate_hz=rate_hz), "recording")
        self._over = False

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    def said(self, samples: NDArray[np.int16], rate_hz: int = PHONE_RATE_HZ) -> None:
        """Record the caller's next audio, int16 ``[n]``, mono."""
        if not self._over:
            self._take(self._timeline.said(self._said.convert(samples, rate_hz), self._now_s()))
            if self._unwritten_samples >= self._rate_hz:  # a second: the disk is not to be asked twelve times
                self._write()

    def heard(self, samples: NDArray[np.int16], rate_hz: int = PHONE_RATE_HZ) -> None:
        """Record what is sent to the caller, int16 ``[n]``, mono."""
        if not self._over:
            self._timeline.heard(self._heard.convert(samples, rate_hz), self._now_s())

    def close(self) -> None:
        """Have what is left written. May be called twice."""
        if not self._over:
            self._over = True
            self._take(self._timeline.rest(self._now_s()))
            self._write()
            self._file.close()

    def _take(self, both: NDArray[np.int16]) -> None:
        self._unwritten.append(both)
        self._unwritten_samples += len(both)

    def _write(self) -> None:
        if self._unwritten_samples:
            self._file.write(b"".join(part.astype("<i2", copy=False).tobytes() for part in self._unwritten))
        self._unwritten, self._unwritten_samples = [], 0


class _ToRate:
    """Brings one side's audio to the recording's rate, whatever rate it has, and however long its blocks."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._from_hz = rate_hz
        self._resampler: StreamResampler | None = None
        self._rest = np.zeros(0, np.int16)

    def convert(self, samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
        """Give the next samples at the recording's rate: int16."""
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
