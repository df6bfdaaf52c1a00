"""Records a call: what the caller said (left) and what the caller heard (right)."""

from __future__ import annotations

import wave
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.records.consent import Consent
from moshi_phone.records.file_writer import FileWriter


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
        rate_hz: of the file.
        consent: what may not be kept is silence in it; where nothing may, there is no file.
    """

    def __init__(
        self,
        path: Path,
        files: FileWriter,
        rate_hz: int = PHONE_RATE_HZ,
        consent: Consent | None = None,
    ) -> None:
        self._rate_hz = rate_hz
        self._consent = consent or Consent()
        self._samples = 0  # that were taken
        self._is_open = False
        self._unwritten: list[NDArray[np.int16]] = []
        self._unwritten_samples = 0
        self._file = files.open(path, partial(WavSink, rate_hz=rate_hz), "recording")

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    @property
    def is_lost(self) -> bool:
        """Whether nothing of it could be written, so that there is none."""
        return self._file.is_lost

    def take(self, both: NDArray[np.int16]) -> None:
        """Record the next audio of both sides: int16 ``[n, 2]``."""
        before = self._samples
        self._samples += len(both)
        if self._consent.since_s is None:
            return
        if not self._is_open:  # what comes first is as long as all that was said before it
            self._is_open = True
            silent = min(self._samples, round(self._consent.since_s * self._rate_hz))
            both = np.concatenate((np.zeros((before, 2), np.int16), both)) if before else both.copy()
            both[:silent] = 0
        self._unwritten.append(both)
        self._unwritten_samples += len(both)
        if self._unwritten_samples >= self._rate_hz:  # a second: the disk is not to be asked twelve times
            self._write()

    def close(self) -> None:
        """Have what is left written. May be called twice."""
        self._write()
        self._file.close()

    def discard(self) -> None:
        """Record nothing more, and delete what was recorded."""
        self._unwritten, self._unwritten_samples = [], 0
        self._file.discard()

    def _write(self) -> None:
        if self._unwritten_samples:
            self._file.write(b"".join(part.astype("<i2", copy=False).tobytes() for part in self._unwritten))
        self._unwritten, self._unwritten_samples = [], 0
