"""Before the first call: compiles the step for every number of calls, and measures how long it takes."""

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

CONTEXT = 16  # positions: a cache of the model's own size would be made for nothing
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
    """Step as many calls at once as may come, from one to the most. Runs in the model's thread.

    No caller is to wait for what is compiled at the first step of a number of rows.

    Args:
        model: evaluated.
        sampling: of most calls.
        times: gets what was measured.
        progress: receives the duration of steps; what it raises ends the warm-up.
        limit_ms: of a step; the first number of calls that takes longer is the last one.
        give_up_ms: of a step; the first that takes longer ends the warm-up.

    Raises:
        TooSlow: after such a step.
    """
    frame = np.zeros(model.cfg.other_codebooks, np.uint32)
    said = np.zeros(model.cfg.generated_codebooks, np.uint32)
    sessions: list[LanguageSession] = []
    for rows in range(1, max(times.histograms) + 1):
        sessions.append(LanguageSession(model, sampling, rows, context=CONTEXT))
        # A call that is still saying its prefix beside others that are not: another shape of the draws.
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
        # Told at powers of two only: sixteen lines would say no more.
        is_last = rows == max(times.histograms) or step_ms > limit_ms
        if rows & (rows - 1) == 0 or is_last:
            calls = "call" if rows == 1 else "calls at once"
            progress(f"Moshi warms up: a step of {rows} {calls} takes {step_ms:.0f} ms.")
        if is_last:
            return
