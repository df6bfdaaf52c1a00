"""The speed of a machine with a GPU, measured in a few minutes at real size with random weights.

``uv run python -m benchmarks.accelerator`` prints one table in Markdown: the duration of a step of 1, 2, 4, 8
and 16 calls, compiled and not, in bfloat16, 8 and 4 bits; of the prefill of a prompt of 200 positions; and of
the copy of its state into a call. After ``--secs`` (240) it starts no further measurement, and lists those
that are missing. Each call's cache is full, as in calls of more than four minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import mlx.core as mx
import numpy as np

from benchmarks.table import head, row
from moshi_phone.commands.random_model import randomize
from moshi_phone.engines.choose import accelerator
from moshi_phone.engines.moshi.model.language_model import LanguageSession, new_history, step_together
from moshi_phone.engines.moshi.model.prefill import Prefill
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, build
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig, config_v0_1

PACKINGS = ("4", "8", "none")
ROWS = (1, 2, 4, 8, 16)
PROMPT_POSITIONS = 200  # a persona of some sentences
WARM_UP_STEPS, TIMED_STEPS = 3, 12
CALL_BYTES_SHARE = 0.9  # share of the usable memory; above it, no further call is added


class Clock:
    """Limits the time for measurements.

    Args:
        secs: the time limit.
    """

    def __init__(self, secs: float) -> None:
        self._ends_s = time.monotonic() + secs

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._ends_s


def median_ms(work: Callable[[], object], times: int, warm_up: int) -> float:
    """Return the median duration of some work, after warm-up runs."""
    took_ms = []
    for number in range(warm_up + times):
        began_s = time.perf_counter()
        work()
        if number >= warm_up:
            took_ms.append((time.perf_counter() - began_s) * 1000)
    return float(np.median(took_ms))


def old_session(model: Lm, seed: int) -> LanguageSession:
    """Return a session with a full cache, which attends to the maximum number of positions."""
    session = LanguageSession(model, MoshiSampling(), seed)
    assert session._rings is not None  # noqa: S101 - it is open
    for ring in session._rings:
        ring.offset = ring.context
    session._first, session._position = model.cfg.transformer.context - 1, model.cfg.transformer.context
    return session


@contextmanager
def compiling(enabled: bool) -> Iterator[None]:
    """Switch compiling on or off while the block runs."""
    if not enabled:
        mx.disable_compile()
    try:
        yield
    finally:
        mx.enable_compile()


def step_rows(model: Lm, rows: Sequence[int], clock: Clock, memory_bytes: float) -> dict[int, list[float]]:
    """Time steps of a number of calls, compiled and not, in milliseconds, while time and memory last."""
    frame = np.zeros(model.cfg.other_codebooks, np.uint32)
    sessions: list[LanguageSession] = []
    found: dict[int, list[float]] = {}
    for number in rows:
        while len(sessions) < number:
            before_bytes = mx.get_active_memory()
            if clock.is_over or before_bytes > memory_bytes * CALL_BYTES_SHARE:
                return found
            sessions.append(old_session(model, len(sessions)))
            if 2 * mx.get_active_memory() - before_bytes > memory_bytes * CALL_BYTES_SHARE:
                return found
        taken = sessions[:number]
        found[number] = []
        for enabled in (True, False):
            with compiling(enabled):
                step = lambda taken=taken, number=number: step_together(taken, [frame] * number)  # noqa: E731
                found[number].append(median_ms(step, TIMED_STEPS, WARM_UP_STEPS))
    return found


def prompt_ms(model: Lm) -> tuple[float, float]:
    """Return the durations of a prompt's prefill and of the copy of its state into a call."""
    config = model.cfg
    inputs = np.zeros((PROMPT_POSITIONS, 1 + config.audio_codebooks), np.int32)

    def read() -> Prefill:
        reading = Prefill(model, inputs, None, new_history(config))
        reading.advance(PROMPT_POSITIONS)
        return reading

    snapshot = read().snapshot()

    def copy() -> None:
        rings = snapshot.caches(config.transformer.context)
        mx.eval([array for ring in rings for array in ring.state])

    return median_ms(read, 3, 1), median_ms(copy, 5, 1)


def measure(
    config: LmConfig, packings: Sequence[str], rows: Sequence[int], dtype: mx.Dtype, clock: Clock
) -> Iterator[str]:
    """Yield the table's lines."""
    memory_bytes = _memory_bytes()
    columns = [f"{number} {'call' if number == 1 else 'calls'}" for number in rows]
    yield from head("weights", "compiled", *columns, "prompt of 200", "its copy")
    for packing in packings:
        if clock.is_over:
            yield row(f"{packing}: no time left", *[""] * (len(rows) + 3))
            continue
        quantization = None if packing == "none" else QUANTIZATIONS[int(packing)]
        model = randomize(build(config, quantization), quantization, seed=0, dtype=dtype)
        read_ms, copy_ms = prompt_ms(model)
        steps = step_rows(model, rows, clock, memory_bytes)
        name = f"q{packing}" if quantization else str(dtype).rsplit(".", 1)[-1]
        for index, compiled in enumerate(("yes", "no")):
            cells = [f"{steps[number][index]:.1f}" if number in steps else "–" for number in rows]
            yield row(name, compiled, *cells, f"{read_ms:.0f}", f"{copy_ms:.1f}")
        del model
        mx.clear_cache()


def _memory_bytes() -> float:
    """The memory available to mlx, if known."""
    known = mx.device_info()
    for name in ("max_recommended_working_set_size", "memory_size", "total_memory"):
        if name in known:
            return float(known[name])
    return float("inf")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--secs", type=float, default=240, help="after which nothing more is begun")
    parser.add_argument("--quantize", choices=PACKINGS, action="append", help="only this; repeatable")
    parser.add_argument("--layers", type=int, help="of the big transformer; for a trial on a processor")
    arguments = parser.parse_args()
    config, found = config_v0_1(), accelerator()
    if arguments.layers:
        config.transformer = dataclasses.replace(config.transformer, num_layers=arguments.layers)
    if found is None and not arguments.layers:
        parser.error("mlx finds no accelerator here; --layers 1 tries the command on the processor")
    dtype = mx.bfloat16 if found else mx.float32
    clock = Clock(arguments.secs)
    print(f"mlx {version('mlx')} on {found or 'the processor'}, {config.transformer.num_layers} layers,")
    print("milliseconds, medians; each call's cache is full; – where memory or time was over\n")
    for line in measure(config, arguments.quantize or PACKINGS, ROWS, dtype, clock):
        print(line, flush=True)


if __name__ == "__main__":
    main()
