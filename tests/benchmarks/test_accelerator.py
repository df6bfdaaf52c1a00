"""The benchmark for machines with a GPU runs completely on a tiny model; CI has no GPU."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from benchmarks.accelerator import Clock, measure, old_session, step_rows
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig
from tests.support.tiny_config import tiny_config
from tests.support.tiny_moshi import tiny_lm

CONFIG = LmConfig.from_config_dict(tiny_config(dim=128, layers=2, context=300, card=64, text_card=50))


@pytest.mark.slow
def test_prints_one_table_of_steps_prompt_and_copy() -> None:
    lines = list(measure(CONFIG, ("4", "none"), (1, 2), mx.float32, Clock(60)))
    assert lines[0] == "| weights | compiled | 1 call | 2 calls | prompt of 200 | its copy |"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [line[:2] for line in cells] == [
        ["q4", "yes"],
        ["q4", "no"],
        ["float32", "yes"],
        ["float32", "no"],
    ]
    assert all(float(cell) > 0 for line in cells for cell in line[2:])


def test_rows_beyond_the_time_or_memory_limit_are_left_out() -> None:
    (line,) = list(measure(CONFIG, ("4",), (1, 2), mx.float32, Clock(0)))[2:]
    assert line.startswith("| 4: no time left |")
    model = tiny_lm(dim=128, layers=2, context=300, card=64, text_card=50)
    assert not step_rows(model, (1, 2), Clock(60), memory_bytes=1.0)
    assert list(step_rows(model, (1, 2), Clock(60), memory_bytes=mx.get_active_memory() * 1e6)) == [1, 2]


def test_an_old_session_attends_to_its_whole_context() -> None:
    session = old_session(tiny_lm(dim=128, layers=1, context=30, card=64, text_card=50), 0)
    session.step(np.zeros(8, np.uint32))
    assert session._rings is not None
    assert all(ring.offset == 31 for ring in session._rings)
