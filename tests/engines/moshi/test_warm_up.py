"""The warm-up does the first calls' compilation in advance, for every number of calls."""

from __future__ import annotations

import pytest

from moshi_phone.engines.moshi.model.language_model import LanguageSession, step_together
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.step_batch import StepTimes
from moshi_phone.engines.moshi.warm_up import warm_up
from moshi_phone.engines.real_time_benchmark import TooSlow
from moshi_phone.vendor.moshi_mlx.models.lm import Lm
from tests.engines.moshi.model.test_batch_step import caller
from tests.support.tiny_moshi import tiny_lm


@pytest.fixture
def model() -> Lm:
    return tiny_lm(dim=64, layers=2, text_card=100, card=64, codebooks=2)


class Counted:
    """Counts how often a part of the model is traced, which happens for what is not compiled yet."""

    def __init__(self, part: object) -> None:
        self.part, self.times = part, 0

    def __call__(self, *arguments: object) -> object:
        self.times += 1
        return self.part(*arguments)  # type: ignore[operator]


def test_the_step_is_compiled_and_timed_for_every_number_of_calls(
    model: Lm,
) -> None:
    gating = Counted(model.transformer.layers[1].gating)
    model.transformer.layers[1].gating = gating  # type: ignore[assignment]
    times, lines = StepTimes(5), list[str]()
    warm_up(model, MoshiSampling(), times, lines.append)
    assert gating.times >= 5
    assert all(times.expected_ms(rows) is not None for rows in range(1, 6))
    assert sum(one.count for one in times.histograms.values()) == 0, "none of it was a call's"
    assert [line.split(" takes ")[0] for line in lines] == [
        "Moshi warms up: a step of 1 call",
        "Moshi warms up: a step of 2 calls at once",
        "Moshi warms up: a step of 4 calls at once",
        "Moshi warms up: a step of 5 calls at once",
    ]
    before = gating.times
    sessions = [LanguageSession(model, MoshiSampling(), seed) for seed in range(5)]
    for rows in range(1, 6):
        step_together(sessions[:rows], list(caller(1, rows)))
    assert gating.times == before, "a call had to wait for the compiler"


def test_a_cancelled_start_interrupts_it(model: Lm) -> None:
    def stop(_: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        warm_up(model, MoshiSampling(), StepTimes(64), stop)


def test_a_step_that_is_much_too_slow_stops_it(model: Lm) -> None:
    with pytest.raises(TooSlow, match=r"too slow: a step of the model takes \d+\.\d s for 80 ms of speech"):
        warm_up(model, MoshiSampling(), StepTimes(64), lambda _: None, give_up_ms=0.0)
