"""Loudness of a recording over time, for its picture. Blocks."""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BARS = 600
_MIN_BAR_FRAMES = 80  # 10 ms at 8 kHz: no bar is shorter
_FLOOR_DB = 48.0  # levels this far below full scale have no bar
_FULL_SCALE = 32768.0


@dataclass(frozen=True)
class Levels:
    """Peaks of both voices.

    Attributes:
        secs: the recording's duration.
        caller: the peak of each of at most 600 equal parts, 0 to 100, linear in decibels above the floor.
        bot: the same for the bot; empty for a recording of one voice, such as a message.
    """

    secs: float
    caller: list[int]
    bot: list[int]


def read_levels(path: Path) -> Levels:
    """Measure a 16-bit recording of both voices (the caller left) or of the caller only.

    Reads block by block: memory does not depend on the duration.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is not such a recording.
    """
    try:
        with wave.open(str(path)) as file:
            channels, frames, rate_hz = file.getnchannels(), file.getnframes(), file.getframerate()
            if file.getsampwidth() != 2 or channels not in (1, 2) or not rate_hz:  # noqa: PLR2004
                raise ValueError(f"{path.name} is no recording of 16 bits with one or two channels")
            step = max(_MIN_BAR_FRAMES, -(-frames // BARS))
            peaks = list[tuple[float, float]]()
            while data := file.readframes(step):
                whole = len(data) // (2 * channels) * (2 * channels)
                samples = np.frombuffer(data[:whole], "<i2").reshape(-1, channels)
                if len(samples):
                    loudest = np.abs(samples.astype(np.int32)).max(axis=0)
                    peaks.append((float(loudest[0]), float(loudest[-1])))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path.name} is no WAV file") from error
    bot = [_level(two) for _, two in peaks] if channels == 2 else []  # noqa: PLR2004
    return Levels(round(frames / rate_hz, 2), [_level(one) for one, _ in peaks], bot)


def _level(peak: float) -> int:
    if peak <= 0:
        return 0
    db = 20 * math.log10(peak / _FULL_SCALE)
    return max(0, round(100 * (1 + db / _FLOOR_DB)))
