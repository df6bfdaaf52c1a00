"""Several conversations in one step: each gives its own tokens, and a failure affects its own call only."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from moshi_phone.engines.moshi.model.language_model import (
    LanguageSession,
    LanguageStep,
    Overrides,
    step_together,
    try_together,
)
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, Quantization
from moshi_phone.engines.moshi.model.sampling import GREEDY, MoshiSampling, Sampling
from moshi_phone.engines.moshi.model.token_history import ForcedPrefix, PrefixFrame, Tokens
from moshi_phone.vendor.moshi_mlx.models.lm import Lm
from tests.support.tiny_moshi import tiny_lm

CARD, CODEBOOKS, CONTEXT, FRAMES = 64, 2, 16, 60
COLD = MoshiSampling(Sampling(0.0, 25), Sampling(0.0, 250))  # a call's own temperature, 0
Said = list[tuple[int, list[int]]]


def small_lm(quantization: Quantization | None = None, dim: int = 64, **config: int) -> Lm:
    return tiny_lm(quantization, dim=dim, layers=2, text_card=100, card=CARD, codebooks=CODEBOOKS, **config)


def caller(seed: int, frames: int = FRAMES) -> Tokens:
    return np.random.default_rng(seed).integers(0, CARD, (frames, CODEBOOKS)).astype(np.uint32)


def prefix(frames: int) -> ForcedPrefix:
    return tuple(PrefixFrame(10 + n, np.full(CODEBOOKS, n, np.uint32)) for n in range(frames))


def steer(frame: int) -> Overrides:
    """Force the text in every third frame, and sometimes the whole frame."""
    if frame % 9 == 5:
        return Overrides(text=7, audio=np.array([frame % CARD, 1], np.uint32))
    return Overrides(choose_text=lambda drawn: (drawn + 1) % 100) if frame % 3 == 0 else Overrides()


@dataclass
class Call:
    """One of several calls, each with its own start and end."""

    begins: int
    open_session: Callable[[], LanguageSession]
    frames: Tokens
    overrides: Callable[[int], Overrides] = lambda _: Overrides()
    session: LanguageSession | None = None
    steps: list[LanguageStep] = field(default_factory=list)

    def alone(self) -> Said:
        session = self.open_session()
        return said(
            [step_together([session], [f], [self.overrides(n)])[0] for n, f in enumerate(self.frames)]
        )


def said(steps: list[LanguageStep]) -> Said:
    return [
        (step.text_token, [] if step.audio_tokens is None else step.audio_tokens.tolist()) for step in steps
    ]


def calls(model: Lm) -> list[Call]:
    return [
        Call(0, lambda: LanguageSession(model, MoshiSampling(), 1), caller(1)),
        Call(3, lambda: LanguageSession(model, MoshiSampling(), 2), caller(2)),
        Call(8, lambda: LanguageSession(model, COLD, 3), caller(3)),
        Call(15, lambda: LanguageSession(model, MoshiSampling(), 4, prefix=prefix(6)), caller(4)),
        Call(21, lambda: LanguageSession(model, MoshiSampling(), 5), caller(5, 20), steer),
        Call(30, lambda: LanguageSession(model, GREEDY, 6), caller(6)),  # from as many choices as there are
    ]


def run_together(all_calls: list[Call]) -> list[Said]:
    """Step all calls together; sometimes one call's frame is late."""
    for tick in range(FRAMES + 40):
        talking = []
        for number, call in enumerate(all_calls):
            if tick == call.begins:
                call.session = call.open_session()
            if call.session and len(call.steps) < len(call.frames) and (tick + number) % 7:
                talking.append(call)
        sessions = [call.session for call in talking if call.session]
        frames = [call.frames[len(call.steps)] for call in talking]
        overrides = [call.overrides(len(call.steps)) for call in talking]
        for call, step in zip(talking, step_together(sessions, frames, overrides), strict=True):
            call.steps.append(step)
    return [said(call.steps) for call in all_calls]


def test_a_batched_step_gives_each_call_the_tokens_of_a_single_step() -> None:
    model = small_lm(context=CONTEXT)
    alone = [call.alone() for call in calls(model)]
    assert run_together(calls(model)) == alone
    assert len({str(one) for one in alone}) == len(alone)


@pytest.mark.cpu_bound
@pytest.mark.parametrize(
    ("quantization", "dtype", "share"),
    [(QUANTIZATIONS[4], mx.float32, 0.98), (Quantization(8, 32), mx.float32, 0.98), (None, mx.bfloat16, 0.9)],
    ids=["q4", "q8", "bfloat16"],
)
def test_in_bfloat16_nearly_all_tokens_are_the_same(
    quantization: Quantization | None, dtype: mx.Dtype, share: float
) -> None:
    """A product of several rows may be summed up in another order; after one other token all differ."""
    model = small_lm(quantization, dim=128, context=CONTEXT)
    model.set_dtype(dtype)
    same = total = 0
    for seed in range(4):
        sessions = [LanguageSession(model, MoshiSampling(), 10 * seed + row) for row in range(3)]
        alone = [LanguageSession(model, MoshiSampling(), 10 * seed + row) for row in range(3)]
        frames = [caller(row, 40) for row in range(3)]
        for number in range(40):
            together = said(step_together(sessions, [one[number] for one in frames]))
            apart = said([session.step(one[number]) for session, one in zip(alone, frames, strict=True)])
            same += sum(one == other for one, other in zip(together, apart, strict=True))
            total += 3
    assert same >= share * total, f"{same} of {total} steps are the same"


class Fails:
    """A part of the model that raises on request, and works otherwise."""

    def __init__(self, part: Any, when: Callable[[mx.array], bool]) -> None:
        self.part, self.when, self.failures = part, when, 0

    def __call__(self, hidden: mx.array) -> mx.array:
        if self.when(hidden):
            self.failures += 1
            raise RuntimeError("out of memory")
        return self.part(hidden)  # type: ignore[no-any-return]


def three(model: Lm) -> tuple[list[LanguageSession], list[Tokens], list[Said]]:
    sessions = [LanguageSession(model, MoshiSampling(), seed) for seed in range(3)]
    frames = [caller(seed, 20) for seed in range(3)]
    alone = [
        said([session.step(frame) for frame in frames[seed]])
        for seed, session in enumerate(LanguageSession(model, MoshiSampling(), seed) for seed in range(3))
    ]
    return sessions, frames, alone


def test_a_failing_batch_is_repeated_call_by_call() -> None:
    model = small_lm(context=CONTEXT)
    sessions, frames, alone = three(model)
    together: list[Said] = [[], [], []]
    for number in range(20):
        if number in (4, 17, 18):  # before the ring is full, and after it
            model.out_norm = broken = Fails(model.out_norm, lambda hidden: len(hidden) > 1)
        for row, step in enumerate(said(step_together(sessions, [one[number] for one in frames]))):
            together[row].append(step)
        if number in (4, 17, 18):
            assert broken.failures == 1
            model.out_norm = broken.part
    assert together == alone


def test_only_the_call_that_raises_again_fails() -> None:
    model = small_lm(context=CONTEXT)
    sessions, frames, alone = three(model)
    asked = []

    def refuse(drawn: int) -> int:
        raise LookupError(f"no word for {drawn}")

    def choose(drawn: int) -> int:
        asked.append(drawn)
        return drawn

    together: list[Said] = [[], [], []]
    for number in range(20):
        fed = [one[number] for one in frames]
        if number == 9:
            overrides = [Overrides(choose_text=choose), Overrides(choose_text=refuse), Overrides()]
            first, error, last = try_together(sessions, fed, overrides)
            assert isinstance(error, LookupError)
            assert isinstance(first, LanguageStep)
            assert isinstance(last, LanguageStep)
            assert len(asked) == 1, "a word may not be taken twice"
            results = [first, sessions[1].step(fed[1]), last]
        else:
            results = step_together(sessions, fed)
        for row, step in enumerate(said(results)):
            together[row].append(step)
    assert together == alone


def test_nan_ends_its_own_conversation_only() -> None:
    model = small_lm(context=CONTEXT)
    sessions, frames, alone = three(model)
    together: list[Said] = [[], [], []]
    for number in range(20):
        fed = [one[number] for one in frames]
        if number == 9:
            rings = sessions[1]._rings
            assert rings is not None
            assert rings[0]._state is not None
            rings[0]._state = rings[0]._state * mx.nan
        results = try_together(sessions, fed)
        if number >= 9:
            assert isinstance(results[1], FloatingPointError)
        for row in (0, 2):
            step = results[row]
            assert isinstance(step, LanguageStep)
            together[row] += said([step])
    assert [together[0], together[2]] == [alone[0], alone[2]]
    assert sessions[1].frames == 9


def test_a_closed_or_misused_session_does_not_affect_the_others() -> None:
    model = small_lm(context=CONTEXT)
    sessions, frames, alone = three(model)

    def close(drawn: int) -> int:
        sessions[0].close()
        return drawn

    fed = [one[0] for one in frames]
    results = try_together(sessions, fed, [Overrides(), Overrides(choose_text=close), Overrides()])
    assert said([step for step in results if isinstance(step, LanguageStep)]) == [one[0] for one in alone]
    assert sessions[0].text_logits is None
    results = try_together(sessions, [fed[0], np.zeros(9, np.uint32), frames[2][1]])
    assert [type(result) for result in results] == [RuntimeError, ValueError, LanguageStep]
    with pytest.raises(ValueError, match="each session once"):
        try_together([sessions[1]] * 2, fed[:2])
    with pytest.raises(RuntimeError, match="got a closed one"):
        step_together(sessions[:2], [frames[0][2], frames[1][1]])
    assert said([sessions[1].step(frames[1][2])]) == alone[1][2:3], "the second was stepped all the same"


def test_rows_with_forced_tokens_skip_the_depformer() -> None:
    model = small_lm(context=CONTEXT)
    forced = LanguageSession(model, MoshiSampling(), 0, prefix=prefix(9))
    free = LanguageSession(model, MoshiSampling(), 1)
    alone = LanguageSession(model, MoshiSampling(), 1)
    for number in range(8):
        words = step_together([forced, free], list(caller(number, 2)))
        assert said(words[:1]) == [(10 + number, [number] * CODEBOOKS)]
        assert said(words[1:]) == said([alone.step(caller(number, 2)[1])])


def test_an_unreferenced_model_is_freed() -> None:
    mx.clear_cache()
    before_bytes = mx.get_active_memory()
    model = small_lm(dim=128, context=CONTEXT)
    step_together([LanguageSession(model, MoshiSampling(), seed) for seed in range(2)], list(caller(0, 2)))
    model_bytes = mx.get_active_memory() - before_bytes
    del model
    gc.collect()
    assert mx.get_active_memory() - before_bytes < model_bytes / 10
