"""Our step of the language model compared with moshi_mlx's, and joint steps with single ones.

``uv run python -m benchmarks.engine`` prints a table: same weights, same run, steps of all kinds in turn. The
weights are random, in two shapes: the real depth at a small width, where kernel launches dominate as on an
accelerator ("overhead"), and the real width with few layers, where arithmetic does ("arithmetic").
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np
from moshi_mlx.models.generate import LmGen
from moshi_mlx.utils.sampling import Sampler
from numpy.typing import NDArray

from benchmarks.table import head, row
from moshi_phone.commands.random_model import randomize
from moshi_phone.engines.choose import accelerator
from moshi_phone.engines.moshi.model.language_model import LanguageSession, step_together
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, Quantization, build
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig, config_v0_1
from tests.support.tiny_config import tiny_config

LAYERS_ON_A_PROCESSOR = 2
WARM_UP_STEPS = 5
SMALL_WIDTH = 128


def reference(model: Lm, steps: int, sampling: MoshiSampling) -> LmGen:
    """Create moshi_mlx's generator, with its own caches and the same sampling."""
    model.transformer_cache = model.transformer.make_rot_cache()
    model.depformer_cache = model.depformer.slices[0].transformer.make_cache()
    text, audio = (Sampler(temp=one.temperature, top_k=one.top_k) for one in (sampling.text, sampling.audio))
    return LmGen(model, steps, text, audio)


def step_reference(generator: LmGen, frame: np.ndarray[Any, Any]) -> None:
    """Step moshi_mlx's generator as ``moshi_mlx.local`` does, up to tokens on the host."""
    text, _ = generator.step(mx.array(frame.astype(np.int32))[None])
    text.item()
    audio = generator.last_audio_tokens()
    if audio is not None:
        np.array(audio)


Turn = Callable[[Tokens], object]


def take_turns(model: Lm, steps: int, turns: Mapping[str, Turn]) -> dict[str, NDArray[np.float64]]:
    """Time several kinds of step, one after the other for each frame, in an alternating order.

    Returns:
        The milliseconds of each kind's steps. Compute ratios step by step: other load on the same machine
        affects neighbouring steps alike.
    """
    rng = np.random.default_rng(0)
    times_ms: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(steps + WARM_UP_STEPS):
        frame = rng.integers(0, model.cfg.audio_vocab_size - 1, model.cfg.other_codebooks).astype(np.uint32)
        for name in rng.permutation(list(turns)).tolist():
            began_s = time.perf_counter()
            turns[name](frame)
            if number >= WARM_UP_STEPS:
                times_ms[name].append((time.perf_counter() - began_s) * 1000)
    return {name: np.array(times) for name, times in times_ms.items()}


def compare(model: Lm, steps: int, sampling: MoshiSampling) -> tuple[list[float], list[float]]:
    """Return the times of our steps and of moshi_mlx's, in milliseconds, measured interleaved."""
    session = LanguageSession(model, sampling, seed=0)
    generator = reference(model, steps + WARM_UP_STEPS, sampling)
    turns: dict[str, Turn] = {"ours": session.step, "theirs": partial(step_reference, generator)}
    found = take_turns(model, steps, turns)
    return found["ours"].tolist(), found["theirs"].tolist()


def compare_batches(
    model: Lm, steps: int, sampling: MoshiSampling, calls: Sequence[int]
) -> dict[int, tuple[float, float, float]]:
    """Compare joint steps of a number of calls with single steps, one call after another.

    Returns:
        For each number of calls: milliseconds in turn, in one step, and the ratio; medians.
    """
    most = max(calls)
    alone = [LanguageSession(model, sampling, seed) for seed in range(most)]
    together = {
        number: [LanguageSession(model, sampling, seed) for seed in range(number)] for number in calls
    }

    def in_turn(frame: Tokens) -> None:
        for session in alone:
            session.step(frame)

    turns: dict[str, Turn] = {"in turn": in_turn}
    for number, sessions in together.items():
        turns[str(number)] = lambda frame, sessions=sessions: step_together(sessions, [frame] * len(sessions))  # type: ignore[misc]
    found = take_turns(model, steps, turns)
    each = found["in turn"] / most
    return {
        number: (
            float(np.median(each)) * number,
            float(np.median(found[str(number)])),
            float(np.median(found[str(number)] / (each * number))),
        )
        for number in calls
    }


def shapes(layers: int) -> dict[str, LmConfig]:
    """Return the two shapes: all layers at a small width, and some at the real one."""
    real = config_v0_1()
    small = tiny_config(dim=SMALL_WIDTH, layers=real.transformer.num_layers, depformer_layers=6)
    real.transformer = dataclasses.replace(real.transformer, num_layers=layers)
    return {
        f"overhead: 32 layers of width {SMALL_WIDTH}": LmConfig.from_config_dict(small),
        f"arithmetic: {layers} of 32 layers, full width": real,
    }


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument(
        "--quantize", choices=["4", "8", "none"], action="append", help="only this; repeatable"
    )
    parser.add_argument("--shape", choices=["overhead", "arithmetic"], help="only this")
    parser.add_argument("--layers", type=int, help="of the big transformer at full width")
    parser.add_argument("--calls", type=int, action="append", help="in one step; repeatable (4 and 8)")
    found = accelerator()
    arguments = parser.parse_args()
    layers = arguments.layers or (32 if found else LAYERS_ON_A_PROCESSOR)
    calls = arguments.calls or [4, 8]
    # Kyutai publishes bfloat16; on a CPU, mlx takes many times longer for it than for float32.
    dtype, name_of_floats = (mx.bfloat16, "bfloat16") if found else (mx.float32, "float32")
    print(f"mlx on {found or 'the processor'}; medians of {arguments.steps} steps, milliseconds\n")
    columns = [f"{number} {way}" for number in calls for way in ("in turn", "in one step", "ratio")]
    print("\n".join(head("model", "LmGen", "ours", "ratio", *columns)))
    for shape, config in shapes(layers).items():
        if not shape.startswith(arguments.shape or ""):
            continue
        for packing in arguments.quantize or ("4", "8", "none"):
            quantization = None if packing == "none" else QUANTIZATIONS[int(packing)]
            if quantization is not None and config.transformer.d_model == SMALL_WIDTH:
                quantization = Quantization(quantization.bits, 32)  # groups of 64 do not divide the size
            model = randomize(build(config, quantization), quantization, seed=0, dtype=dtype)
            ours_ms, theirs_ms = compare(model, arguments.steps, MoshiSampling())
            ratio = np.median(np.divide(ours_ms, theirs_ms))
            cells = [f"{np.median(theirs_ms):.1f}", f"{np.median(ours_ms):.1f}", f"{ratio:.2f}"]
            for in_turn, at_once, gain in compare_batches(
                model, arguments.steps, MoshiSampling(), calls
            ).values():
                cells += [f"{in_turn:.1f}", f"{at_once:.1f}", f"{gain:.2f}"]
            print(row(f"{shape}, {f'q{packing}' if quantization else name_of_floats}", *cells), flush=True)
            del model


if __name__ == "__main__":
    main()
