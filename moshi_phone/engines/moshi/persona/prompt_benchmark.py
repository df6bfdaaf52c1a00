"""Timing of a persona's prefill, of copying it into a call, and of step-by-step reading for comparison."""

from __future__ import annotations

import time
from dataclasses import dataclass

import mlx.core as mx

from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.persona.prompt import Prompt, prefill, prompted
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

COPIES = 5
STEPS = 8  # timed, of a prompt read one frame at a time


@dataclass(frozen=True)
class PromptPace:
    """Measured times and sizes of a prompt.

    Attributes:
        positions: the prompt's length.
        size_bytes: size of its state.
        read_ms: time of the prefill in one pass.
        step_ms: time for each position, when read one at a time.
        copy_ms: longest time of a copy into a new call's ring.
    """

    positions: int
    size_bytes: int
    read_ms: float
    step_ms: float
    copy_ms: float

    def __str__(self) -> str:
        """Format all results in one line."""
        return (
            f"Persona and voice: {self.positions} frames, read in {self.read_ms:,.0f} ms in one pass "
            f"({self.positions * self.step_ms:,.0f} ms one by one); {self.size_bytes / 1e6:,.1f} MB, "
            f"copied into a call in {self.copy_ms:.1f} ms."
        )


def measure_prompt(model: Lm, prompt: Prompt) -> PromptPace:
    """Measure in the model's thread."""
    prompted(model, prompt)  # the first run compiles
    began_s = time.perf_counter()
    snapshot = prompted(model, prompt)
    read_ms = (time.perf_counter() - began_s) * 1000
    return PromptPace(
        snapshot.position,
        snapshot.size_bytes,
        read_ms,
        _step_ms(model, prompt),
        max(_copy_ms(model, snapshot) for _ in range(COPIES)),
    )


def _step_ms(model: Lm, prompt: Prompt) -> float:
    reading = prefill(model, prompt)
    steps = min(STEPS, reading.positions_left)
    if first := reading.positions_left - steps:
        reading.advance(first)  # time the last positions, which attend to the most
    began_s = time.perf_counter()
    for _ in range(steps):
        reading.advance(1)
    return (time.perf_counter() - began_s) * 1000 / steps


def _copy_ms(model: Lm, snapshot: Snapshot) -> float:
    began_s = time.perf_counter()
    caches = snapshot.caches(model.cfg.transformer.context)
    mx.eval([array for cache in caches for array in cache.state])
    return (time.perf_counter() - began_s) * 1000
