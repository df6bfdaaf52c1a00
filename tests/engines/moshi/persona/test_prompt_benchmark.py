from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.engines.moshi.persona.prompt import Prompt
from moshi_phone.engines.moshi.persona.prompt_benchmark import STEPS, PromptPace, measure_prompt
from tests.support.tiny_moshi import tiny_lm


def test_the_line_compares_one_pass_with_single_steps() -> None:
    assert str(PromptPace(170, 89_000_000, 400.4, 50.0, 2.26)) == (
        "Persona and voice: 170 frames, read in 400 ms in one pass (8,500 ms one by one); 89.0 MB, "
        "copied into a call in 2.3 ms."
    )


@pytest.mark.parametrize("positions", [1, STEPS, STEPS + 1, 12])
def test_a_prompt_of_a_tiny_model(positions: int) -> None:
    model = tiny_lm(dim=64, codebooks=4, card=32)
    tokens = np.random.default_rng(0).integers(0, 32, (9, positions)).astype(np.int32)
    pace = measure_prompt(model, Prompt(tokens))
    assert pace.positions == positions
    # Keys and values of two layers, float32.
    assert pace.size_bytes == 2 * 2 * positions * 64 * 4
    assert min(pace.read_ms, pace.step_ms, pace.copy_ms) > 0
