"""Warm-up before the first call: compiles and measures the step for every number of calls."""

from __future__ import annotations

import math
import time

import numpy as np

from moshi_phone.engines.duplex import Progress
from moshi_phone.engines.moshi.model.language_model import LanguageSession, Overrides, step_together
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.step_batch import StepTimes
from moshi_phone.engines.real_time_benchmark import TooSlow
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

CONTEXT = 16  # positions: a full-size cache would be wasted
TIMED_STEPS = 3


def warm_up(
    model: Lm,
    sampling: MoshiSampling,
    times: StepTimes,
    progress: Progress,
    *,
    limit_ms: float = math.inf,
    give_up_ms: float = math.inf,
) -> None:
    """Make steps of every possible number of calls. Runs in the model's thread.

    mlx compiles the first step of each number of rows; no caller should wait for that.

    Args:
        model: the evaluated model.
        sampling: of most calls.
        times: stores the measured durations.
        progress: receives the duration of steps; its exceptions end the warm-up.
        limit_ms: limit of a step; the first number of calls that exceeds it is the last one.
        give_up_ms: limit of a step; exceeding it ends the warm-up with an error.

    Raises:
        TooSlow: when a step exceeds ``give_up_ms``.
    """
    frame = np.zeros(model.cfg.other_codebooks, np.uint32)
    said = np.zeros(model.cfg.generated_codebooks, np.uint32)
    sessions: list[LanguageSession] = []
    for rows in range(1, max(times.histograms) + 1):
        sessions.append(LanguageSession(model, sampling, rows, context=CONTEXT))
        # Also a call within its prefix together with others, which has another shape of draws.
        step_together(sessions, [frame] * rows, [Overrides(audio=said)] + [Overrides()] * (rows - 1))
        step_together(sessions, [frame] * rows)
        for _ in range(TIMED_STEPS):
            began_s = time.perf_counter()
            step_together(sessions, [frame] * rows)
            took_ms = (time.perf_counter() - began_s) * 1000
            if took_ms > give_up_ms:
                raise TooSlow(took_ms)
            times.expect(rows, took_ms)
        step_ms = times.measured_ms[rows]
        # Reported at powers of two only: sixteen lines would not help more.
        is_last = rows == max(times.histograms) or step_ms > limit_ms
        if rows & (rows - 1) == 0 or is_last:
            calls = "call" if rows == 1 else "calls at once"
            progress(f"Moshi warms up: a step of {rows} {calls} takes {step_ms:.0f} ms.")
        if is_last:
            return
