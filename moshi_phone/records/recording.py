"""Recording of a call: the caller's audio (left) and the audio played to the caller (right)."""

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
    """A 16-bit stereo WAV that is valid after each piece, even if the process is killed.

    Args:
        file: new and empty; closed with this sink.
        rate_hz: the sample rate.
    """

    def __init__(self, file: BinaryIO, rate_hz: int = PHONE_RATE_HZ) -> None:
        self._file = file
        self._wav = wave.open(file)  # noqa: SIM115 - open as long as the call
        self._wav.setnchannels(2)
        self._wav.setsampwidth(2)
        self._wav.setframerate(rate_hz)

    def write(self, data: bytes) -> None:
        """Write interleaved samples, little-endian."""
        self._wav.writeframes(data)  # also updates the header
        self._file.flush()

    def close(self) -> None:
        """Close the file, also when its disk is full."""
        try:
            self._wav.close()
        finally:
            self._file.close()


class Recording:
    """A stereo WAV, written once a second in another thread, and valid after each write.

    A killed process loses less than a second of audio.

    Args:
        path: the file's path.
        files: writes the file.
        rate_hz: the file's sample rate.
        consent: audio without consent is replaced by silence; without any consent there is no file.
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
        self._samples = 0  # received so far
        self._is_open = False  # set with the first audio that may be stored
        # Collected for one write a second; bounded by that second.
        self._unwritten: list[NDArray[np.int16]] = []
        self._unwritten_samples = 0
        self._file = files.open(path, partial(WavSink, rate_hz=rate_hz), "recording")

    @property
    def path(self) -> Path:
        """The file's path."""
        return self._file.path

    @property
    def is_lost(self) -> bool:
        """Whether nothing could be written, so that the file does not exist."""
        return self._file.is_lost

    def take(self, both: NDArray[np.int16]) -> None:
        """Record the next audio of both sides: int16 ``[n, 2]``."""
        before = self._samples
        self._samples += len(both)
        if self._consent.since_s is None:
            return
        if not self._is_open:  # begins with silence for the time before the consent
            self._is_open = True
            silent = min(self._samples, round(self._consent.since_s * self._rate_hz))
            both = np.concatenate((np.zeros((before, 2), np.int16), both)) if before else both.copy()
            both[:silent] = 0
        self._unwritten.append(both)
        self._unwritten_samples += len(both)
        if self._unwritten_samples >= self._rate_hz:  # one write a second, not one for each frame
            self._write()

    def close(self) -> None:
        """Write the remaining audio, and close the file. May be called twice."""
        self._write()
        self._file.close()

    def discard(self) -> None:
        """Stop recording, and delete the file."""
        self._unwritten, self._unwritten_samples = [], 0
        self._file.discard()

    def _write(self) -> None:
        if self._unwritten_samples:
            self._file.write(b"".join(part.astype("<i2", copy=False).tobytes() for part in self._unwritten))
        self._unwritten, self._unwritten_samples = [], 0
