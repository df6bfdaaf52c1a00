"""The number of calls for ``--calls auto``: the rule of ``bench``, measured at startup.

Measured on silent new calls: older ones read more of their cache.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median

import numpy as np

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES
from moshi_phone.engines.duplex import Progress
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.step_batch import StepTimes
from moshi_phone.engines.moshi.warm_up import warm_up
from moshi_phone.engines.real_time_benchmark import BUSY_SHARE, Capacity, capacity
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

MAX_ROWS = 16  # of a measured step; the times of larger ones are extrapolated
CODEC_FRAMES = 8  # of which the first is left out


def measure_steps(
    model: Lm, sampling: MoshiSampling, most_calls: int, progress: Progress
) -> dict[int, float]:
    """Return a step's milliseconds by its number of calls, until one is too slow. In the model's thread."""
    times = StepTimes(max(1, min(most_calls, MAX_ROWS)))
    warm_up(model, sampling, times, progress, limit_ms=FRAME_MS * BUSY_SHARE)
    return times.measured_ms


def measure_codec_ms(path: Path) -> float:
    """Return a core's milliseconds for encoding and decoding a frame."""
    mimi = Mimi(path, 2 * CODEC_FRAMES)  # each frame both ways: positions for twice as many
    times_ms = []
    try:
        for _ in range(CODEC_FRAMES):
            began_s = time.perf_counter()
            mimi.decode(mimi.encode(np.zeros(FRAME_SAMPLES, np.float32)))
            times_ms.append((time.perf_counter() - began_s) * 1000)
    finally:
        mimi.free()
    return median(times_ms[1:])


def calls_held(step_ms: dict[int, float], codec_ms: float, memory_calls: int) -> Capacity:
    """Compute how many calls the machine holds; see ``capacity``."""
    return capacity(step_ms, codec_ms, os.cpu_count() or 1, memory=memory_calls)
