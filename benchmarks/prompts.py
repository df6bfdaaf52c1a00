"""A persona's prefill in one pass compared with single steps: duration, and equality of the following tokens.

``uv run python -m benchmarks.prompts`` prints a table. Weights are random, in the real model's shapes; on a
CPU the model has fewer layers, unless ``--layers`` is given. "as usual" steps the whole model, depformer
included, for each frame of the prompt, as NVIDIA's own code does; "forced" steps the main transformer only;
"one pass" is what this program does. "agree" is the share of equal greedy tokens over ``--frames`` frames of
a random caller, after the prompt in one pass and after the stepped one. One different token changes all that
follow, so a share near 100 % means that none differed, or a late one.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from moshi_phone.commands.random_model import randomize
from moshi_phone.engines.choose import accelerator
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, build
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.model.sampling import GREEDY
from moshi_phone.engines.moshi.persona.prompt import Prompt, compose, prefill, prompted
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, config_v0_1

LAYERS_ON_A_PROCESSOR = 2
PROMPT_FRAMES, PROMPT_FRAMES_ON_A_PROCESSOR = 170, 33  # 170 are a voice and a few sentences
SILENT_FRAMES = 11  # around the text
AGREEMENT_FRAMES = 20
STEPS = 5  # steps of the prompt that are timed, if it is stepped


def make_prompt(model: Lm, frames: int) -> Prompt:
    """Create a random voice."""
    rng = np.random.default_rng(0)
    return compose(model.cfg, None, rng.integers(4, 32000, frames - SILENT_FRAMES).tolist())


def one_by_one(model: Lm, prompt: Prompt) -> Snapshot:
    """Process a prompt frame by frame, like an ordinary call."""
    reading = prefill(model, prompt)
    while reading.positions_left:
        reading.advance(1)
    return reading.snapshot()


def greedy(model: Lm, start: Snapshot, frames: int) -> NDArray[Any]:
    """Generate answers to a random caller: ``[frames, 9]`` tokens."""
    session = LanguageSession(model, GREEDY, 0, start=start)
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(frames):
        step = session.step(rng.integers(0, 2048, 8).astype(np.uint32))
        rows.append([step.text_token, *(step.audio_tokens if step.audio_tokens is not None else [0] * 8)])
    session.close()
    return np.array(rows)


def milliseconds(work: Callable[[], object]) -> float:
    """Time it."""
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1000


def as_usual_ms(model: Lm) -> float:
    """Time one frame of a prompt with the whole model."""
    session = LanguageSession(model, GREEDY, 0)
    frame = np.zeros(8, np.uint32)
    for _ in range(5):
        session.step(frame, force_text=3)
    times_ms = [milliseconds(lambda: session.step(frame, force_text=3)) for _ in range(STEPS)]
    session.close()
    return float(np.median(times_ms))


def row(name: str, model: Lm, prompt: Prompt, frames: int) -> str:
    """Measure one model."""
    at_once = prompted(model, prompt)  # the first time compiles
    one_pass_ms = milliseconds(lambda: prompted(model, prompt))
    forced_ms = prompt.positions * forced_frame_ms(model, prompt)
    usual_ms = prompt.positions * as_usual_ms(model)
    agreement = ""
    if frames:
        first, second = (greedy(model, start, frames) for start in (at_once, one_by_one(model, prompt)))
        agreement = f"{np.mean(first == second):>8.1%}"
    return (
        f"{name:<10}{prompt.positions:>8}{usual_ms:>10.0f}{forced_ms:>10.0f}{one_pass_ms:>10.0f}"
        f"{usual_ms / one_pass_ms:>8.1f}{agreement}"
    )


def forced_frame_ms(model: Lm, prompt: Prompt) -> float:
    """Time one of a prompt's last frames, which attend to the most positions, without the depformer."""
    reading = prefill(model, prompt)
    reading.advance(prompt.positions - STEPS)
    began_s = time.perf_counter()
    while reading.positions_left:
        reading.advance(1)
    return (time.perf_counter() - began_s) * 1000 / STEPS


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--frames", type=int, default=AGREEMENT_FRAMES, help="said after both, to compare; 0 for none"
    )
    parser.add_argument(
        "--weights", choices=["f32", "bf16", "q4", "q8"], action="append", help="only these; repeatable"
    )
    parser.add_argument("--prompt-frames", type=int, help="how long the prompt is")
    parser.add_argument("--layers", type=int, help="of the big transformer")
    arguments = parser.parse_args()
    found = accelerator()
    config = config_v0_1()
    prompt_frames = arguments.prompt_frames or (PROMPT_FRAMES if found else PROMPT_FRAMES_ON_A_PROCESSOR)
    layers = arguments.layers or (config.transformer.num_layers if found else LAYERS_ON_A_PROCESSOR)
    config.transformer = dataclasses.replace(config.transformer, num_layers=layers)
    print(f"mlx on {found or 'the processor'}; Moshi's width, {layers} of 32 layers; milliseconds")
    print("weights     frames  as usual    forced  one pass   ratio   agree", flush=True)
    # float32 takes 30 GB with all layers; it serves only as a test of exactness.
    for name in arguments.weights or (("bf16", "q4", "q8") if found else ("f32", "bf16", "q4", "q8")):
        quantization = QUANTIZATIONS[int(name[1:])] if name.startswith("q") else None
        in_bfloat16 = name == "bf16" or (found and quantization)  # the type in which packed layers compute
        dtype = mx.bfloat16 if in_bfloat16 else mx.float32
        model = randomize(build(config, quantization), quantization, seed=0, dtype=dtype)
        print(row(name, model, make_prompt(model, prompt_frames), arguments.frames), flush=True)
        del model


if __name__ == "__main__":
    main()
