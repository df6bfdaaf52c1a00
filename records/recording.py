"""Records a call: what the caller said (left) and what the caller heard (right), on one time line.

pipecat's own ``AudioBufferProcessor`` is not used: it keeps the whole call in memory, resamples, and
lines the sides up by when frames pass, not by when the phone plays them.
"""

from __future__ import annotations

import asyncio
import math
import wave
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audio import g711
from audio.formats import PHONE_RATE_HZ
from records.file_writer import FileWriter


class Timeline:
    """Puts both sides of a call on one time line, as the caller's ear has it. Pure.

    The caller's audio is the clock: its samples follow each other without a hole. The bot's audio is heard
    when it arrives, or when what was sent before it has been played, whichever is later: as Twilio plays
    it. Memory is bounded by what lies in the playout buffer.
    """

    def __init__(self) -> None:
        self.written_samples = 0
        self._origin_s = math.inf
        self._bot_end = 0
        self._bot: list[tuple[int, NDArray[np.int16]]] = []

    def said(self, mulaw: bytes, now_s: float) -> NDArray[np.int16]:
        """Take the caller's next audio, and give what is final by it: int16 ``[samples, 2]``."""
        samples = _decode(mulaw)
        end = self.written_samples + len(samples)
        # The quickest packet so far shows best when the call began.
        self._origin_s = min(self._origin_s, now_s - end / PHONE_RATE_HZ)
        return self._up_to(end, samples)

    def heard(self, mulaw: bytes, now_s: float) -> None:
        """Take audio that is sent to the caller now."""
        samples = _decode(mulaw)
        begin = max(self._bot_end, self._sample(now_s))
        self._bot.append((begin, samples))
        self._bot_end = begin + len(samples)

    def rest(self, now_s: float) -> NDArray[np.int16]:
        """Give what was heard until the call's end and is not written yet: int16 ``[samples, 2]``."""
        end = max(self.written_samples, min(self._sample(now_s), self._bot_end))
        return self._up_to(end, np.zeros(end - self.written_samples, np.int16))

    def _sample(self, now_s: float) -> int:
        if self._origin_s == math.inf:  # the bot speaks before the caller's first packet
            self._origin_s = now_s
        return max(self.written_samples, math.ceil((now_s - self._origin_s) * PHONE_RATE_HZ - 1e-3))

    def _up_to(self, end: int, said: NDArray[np.int16]) -> NDArray[np.int16]:
        both = np.zeros((end - self.written_samples, 2), np.int16)
        both[:, 0] = said
        later: list[tuple[int, NDArray[np.int16]]] = []
        for begin, samples in self._bot:
            cut = max(0, min(len(samples), end - begin))
            at = begin - self.written_samples
            both[at : at + cut, 1] = samples[:cut]
            if cut < len(samples):
                later.append((begin + cut, samples[cut:]))
        self._bot = later
        self.written_samples = end
        return both


class WavSink:
    """A stereo WAV (16 bit, 8 kHz) that is whole after each piece: a process that is killed leaves it so.

    Args:
        file: new and empty; closed with this.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._wav = wave.open(file)  # noqa: SIM115 - open as long as the call
        self._wav.setnchannels(2)
        self._wav.setsampwidth(2)
        self._wav.setframerate(PHONE_RATE_HZ)

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
    """

    def __init__(self, path: Path, files: FileWriter, now_s: Callable[[], float] | None = None) -> None:
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._timeline = Timeline()
        self._unwritten: list[NDArray[np.int16]] = []
        self._unwritten_samples = 0
        self._file = files.open(path, WavSink, "recording")
        self._over = False

    def said(self, mulaw: bytes) -> None:
        """Record the caller's next audio."""
        if not self._over:
            self._take(self._timeline.said(mulaw, self._now_s()))
            if self._unwritten_samples >= PHONE_RATE_HZ:
                self._write()

    def heard(self, mulaw: bytes) -> None:
        """Record what is sent to the caller."""
        if not self._over:
            self._timeline.heard(mulaw, self._now_s())

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


def _decode(mulaw: bytes) -> NDArray[np.int16]:
    return np.frombuffer(g711.decode(mulaw), "<i2")
