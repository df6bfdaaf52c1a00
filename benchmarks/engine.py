"""Our step of the language model beside moshi_mlx's own: same weights, same run, one step each in turn.

``uv run python -m benchmarks.engine`` prints a table. Weights are random, in the real model's shapes; a
processor gets a model of fewer layers unless ``--layers`` says otherwise, since all 32 take seconds a step.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
from moshi_mlx.models.generate import LmGen
from moshi_mlx.utils.sampling import Sampler

from moshi_phone.commands.random_model import randomize
from moshi_phone.engines.choose import accelerator
from moshi_phone.engines.moshi.model.language_model import QUANTIZATIONS, LanguageSession, build
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig, config_v0_1
from tests.support.tiny_config import tiny_config

LAYERS_ON_A_PROCESSOR = 2
WARM_UP_STEPS = 5


def reference(model: Lm, steps: int, sampling: MoshiSampling) -> LmGen:
    """Make moshi_mlx's generator, with its own caches and the same sampling."""
    model.transformer_cache = model.transformer.make_rot_cache()
    model.depformer_cache = model.depformer.slices[0].transformer.make_cache()
    text, audio = (Sampler(temp=one.temperature, top_k=one.top_k) for one in (sampling.text, sampling.audio))
    return LmGen(model, steps, text, audio)


def step_reference(generator: LmGen, frame: np.ndarray[Any, Any]) -> None:
    """Step it as ``moshi_mlx.local`` does, up to tokens on the host."""
    text, _ = generator.step(mx.array(frame.astype(np.int32))[None])
    text.item()
    audio = generator.last_audio_tokens()
    if audio is not None:
        np.array(audio)


def compare(model: Lm, steps: int, sampling: MoshiSampling) -> tuple[list[float], list[float]]:
    """Give the times of our steps and of moshi_mlx's, in milliseconds, interleaved."""
    session = LanguageSession(model, sampling, seed=0)
    generator = reference(model, steps + WARM_UP_STEPS, sampling)
    rng = np.random.default_rng(0)
    ours_ms, theirs_ms = list[float](), list[float]()
    for number in range(steps + WARM_UP_STEPS):
        frame = rng.integers(0, model.cfg.audio_vocab_size - 1, model.cfg.other_codebooks).astype(np.uint32)
        turns: list[tuple[list[float], Callable[[], object]]] = [
            (ours_ms, lambda frame=frame: session.step(frame)),  # type: ignore[misc]
            (theirs_ms, lambda frame=frame: step_reference(generator, frame)),  # type: ignore[misc]
        ]
        for times_ms, turn in turns if number % 2 else reversed(turns):
            began_s = time.perf_counter()
            turn()
            if number >= WARM_UP_STEPS:
                times_ms.append((time.perf_counter() - began_s) * 1000)
    return ours_ms, theirs_ms


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument(
        "--quantize", choices=["4", "8", "none"], action="append", help="only this; repeatable"
    )
    parser.add_argument("--layers", type=int, help="of the big transformer")
    found = accelerator()
    arguments = parser.parse_args()
    real = config_v0_1()
    layers = arguments.layers or (real.transformer.num_layers if found else LAYERS_ON_A_PROCESSOR)
    real.transformer = dataclasses.replace(real.transformer, num_layers=layers)
    tiny = LmConfig.from_config_dict(tiny_config(dim=256))
    # bfloat16 is what Kyutai ships; on a processor mlx takes many times longer for it than for float32.
    dtype, name_of_floats = (mx.bfloat16, "bfloat16") if found else (mx.float32, "float32")
    print(f"mlx on {found or 'the processor'}; p50 and p95 of {arguments.steps} steps, milliseconds")
    print(f"{'model':<34}{'ours':>16}{'LmGen':>16}{'ratio':>8}")
    for size, config in (("tiny", tiny), (f"Moshi, {layers} of 32 layers", real)):
        for packing in arguments.quantize or ("4", "8", "none"):
            quantization = None if packing == "none" else QUANTIZATIONS[int(packing)]
            model = randomize(build(config, quantization), quantization, seed=0, dtype=dtype)
            ours_ms, theirs_ms = compare(model, arguments.steps, MoshiSampling())
            cells = [
                f"{np.median(times):8.1f}{np.percentile(times, 95):8.1f}" for times in (ours_ms, theirs_ms)
            ]
            name = f"{size}, {f'q{packing}' if quantization else name_of_floats}"
            ratio = np.median(np.divide(ours_ms, theirs_ms))  # of pairs: others at work weigh on both
            print(f"{name:<34}{cells[0]}{cells[1]}{ratio:8.2f}", flush=True)
            del model


if __name__ == "__main__":
    main()
