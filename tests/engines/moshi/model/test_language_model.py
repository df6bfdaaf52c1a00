"""The tokens of Moshi's own code, for calls of any length, and no state shared between calls."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from moshi_mlx.models.generate import LmGen
from moshi_mlx.utils import sampling

from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, Quantization
from moshi_phone.engines.moshi.model.sampling import GREEDY, MoshiSampling
from moshi_phone.engines.moshi.model.token_history import PrefixFrame, Tokens
from moshi_phone.vendor.moshi_mlx.models.lm import Lm
from moshi_phone.vendor.moshi_mlx.modules.transformer import LayerCache
from moshi_phone.vendor.moshi_mlx.utils.sampling import Sampler
from tests.support.tiny_moshi import tiny_lm

CARD, CODEBOOKS = 64, 2  # fewer than Mimi's, for speed; nothing here depends on how many
FLOAT = pytest.param(None, 64, id="float32")
# Packed matrices are slow on a processor; q8 in groups of 64, as Kyutai has it, would take a larger model.
Q4 = pytest.param(QUANTIZATIONS[4], 128, id="q4", marks=pytest.mark.cpu_bound)
Q8 = pytest.param(
    Quantization(8, 32), 128, id="q8", marks=pytest.mark.cpu_bound
)  # Kyutai's groups of 64 would need twice the size


def small_lm(quantization: Quantization | None = None, dim: int = 64, **config: int) -> Lm:
    layers = 2 if quantization is None else 1  # packed matrices are slow on a processor
    return tiny_lm(
        quantization, dim=dim, layers=layers, text_card=100, card=CARD, codebooks=CODEBOOKS, **config
    )


def caller(frames: int, seed: int = 0) -> Tokens:
    return np.random.default_rng(seed).integers(0, CARD, (frames, CODEBOOKS)).astype(np.uint32)


def talk(session: LanguageSession, frames: Tokens) -> list[tuple[int, list[int]]]:
    steps = [session.step(frame) for frame in frames]
    return [
        (step.text_token, [] if step.audio_tokens is None else step.audio_tokens.tolist()) for step in steps
    ]


class LastPositions:
    """The attention of Kyutai's PyTorch model in its simplest form: the last ``context`` positions."""

    def __init__(self, context: int) -> None:
        self.context, self.offset = context, 0
        self.kept: list[tuple[mx.array, mx.array]] = []

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        self.kept = [*self.kept, (keys, values)][-self.context :]
        self.offset += 1
        return mx.concatenate([k for k, _ in self.kept], axis=2), mx.concatenate(
            [v for _, v in self.kept], axis=2
        )


def reference(model: Lm, frames: Tokens, context: int) -> list[tuple[int, list[int], np.ndarray[Any, Any]]]:
    """Moshi as in its paper, on moshi_mlx's layers: text, audio and text logits of every answer."""
    memory: list[Any] = [LayerCache(LastPositions(context)) for _ in model.transformer.layers]  # type: ignore[arg-type]
    scratch = model.depformer.slices[0].transformer.make_cache()
    greedy = Sampler(temp=0)
    said: list[list[int]] = []  # by position: the text, then Moshi's codebooks
    answers = []
    for position in range(len(frames) + 1):
        text = said[position - 1][0] if position else model.cfg.text_out_vocab_size
        hidden = model.text_emb(mx.array([[text]]))
        for index, (delay, embedding) in enumerate(
            zip(model.cfg.audio_delays, model.audio_embs, strict=True)
        ):
            time = position - 1 - delay
            if time < 0:
                token = model.cfg.audio_padding_token
            elif index < CODEBOOKS:
                token = said[time + delay][1 + index]
            else:
                token = int(frames[time, index - CODEBOOKS])
            hidden = hidden + embedding(mx.array([[token]]))
        hidden = model.out_norm(model.transformer(hidden, cache=memory))
        logits = model.text_linear(hidden)
        text_token, _ = greedy(logits)
        audio = model.depformer.sample(hidden, greedy, text_token, scratch)
        said.append([int(text_token), *np.array(audio)[0, :, 0].tolist()])
        if position:
            frame = [
                said[position - 1 + delay][1 + i]
                for i, delay in enumerate(model.cfg.audio_delays[:CODEBOOKS])
            ]
            answers.append((said[position][0], frame, np.array(logits)[0, 0]))
    return answers


@pytest.mark.parametrize(("quantization", "dim"), [FLOAT, Q4, Q8])
def test_gives_moshi_mlx_s_tokens_one_frame_sooner(quantization: Quantization | None, dim: int) -> None:
    model = small_lm(quantization, dim)
    frames = caller(301)
    ours = talk(LanguageSession(model, GREEDY, seed=0), frames)

    model.transformer_cache = model.transformer.make_rot_cache()
    model.depformer_cache = model.depformer.slices[0].transformer.make_cache()
    generator = LmGen(model, len(frames) + 1, sampling.Sampler(temp=0), sampling.Sampler(temp=0))
    theirs = []
    for frame in frames:
        text, _ = generator.step(mx.array(frame.astype(np.int32))[None])
        audio = generator.last_audio_tokens()
        theirs.append((text.item(), [] if audio is None else audio[0].tolist()))

    assert theirs[0][1] == []
    assert ours[:-1] == theirs[1:]
    assert len({text for text, _ in ours}) > 20, "the weights should make it say many things"


@pytest.mark.cpu_bound
@pytest.mark.parametrize(("quantization", "dim"), [FLOAT, Q4])
def test_attends_to_exactly_the_last_positions(quantization: Quantization | None, dim: int) -> None:
    model = small_lm(quantization, dim, context=16)
    frames = caller(400)
    session = LanguageSession(model, GREEDY, seed=0)
    for number, (frame, (text, audio, logits)) in enumerate(
        zip(frames, reference(model, frames, 16), strict=True)
    ):
        step = session.step(frame)
        assert session.text_logits is not None
        np.testing.assert_allclose(np.array(session.text_logits)[0, 0], logits, atol=1e-4, rtol=0)
        assert step.audio_tokens is not None
        assert (step.text_token, step.audio_tokens.tolist()) == (text, audio), f"frame {number}"


@pytest.mark.slow
def test_runs_for_minutes_in_constant_memory_and_time() -> None:
    context, steps = 64, 3000
    model = tiny_lm(dim=32, layers=1, context=context, card=16, text_card=50, codebooks=1)
    session = LanguageSession(model, MoshiSampling(), seed=0)
    frames = np.random.default_rng(0).integers(0, 16, (steps, 1)).astype(np.uint32)
    memory_bytes, step_s = [], []
    for frame in frames:
        began_s = time.perf_counter()
        session.step(frame)
        step_s.append(time.perf_counter() - began_s)
        memory_bytes.append(mx.get_active_memory())
    assert session.frames == steps
    full_bytes = memory_bytes[2 * context :]
    assert max(full_bytes) - min(full_bytes) < 1_000, "memory grows after the ring is full"  # mlx: 16 bytes
    # The fastest tenth: other load lengthens the rest.
    early, late = (np.percentile(part, 10) for part in (step_s[context : steps // 3], step_s[-steps // 3 :]))
    assert late < 2 * early


def test_interleaved_sessions_give_the_tokens_of_each_alone() -> None:
    model = small_lm(context=16)
    callers = [caller(30, seed) for seed in range(2)]
    alone = [talk(LanguageSession(model, MoshiSampling(), seed), callers[seed]) for seed in range(2)]
    sessions = [LanguageSession(model, MoshiSampling(), seed) for seed in range(2)]
    together: list[list[tuple[int, list[int]]]] = [[], []]
    for number in range(30):
        for seed in range(2):
            together[seed] += talk(sessions[seed], callers[seed][number : number + 1])
    assert together == alone
    assert alone[0] != alone[1]


def test_a_new_temperature_applies_from_the_next_step() -> None:
    model = small_lm(context=16)
    audio = caller(30, seed=3)
    greedy, cooled, warm = (LanguageSession(model, one, seed=1) for one in (GREEDY, GREEDY, MoshiSampling()))
    assert talk(cooled, audio[:10]) == talk(greedy, audio[:10])
    cooled.set_temperature(1.5)
    assert talk(cooled, audio[10:]) != talk(greedy, audio[10:])
    talk(warm, audio[:10])
    warm.set_temperature(0.0)
    assert not warm._noise.text
    assert not warm._noise.audio


FIRST_WORDS = """
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from tests.engines.moshi.model.test_language_model import caller, small_lm, talk
print(talk(LanguageSession(small_lm(context=16), MoshiSampling(), seed=5), caller(30, seed=5)))
"""


def test_a_session_does_not_depend_on_a_hundred_earlier_ones() -> None:
    fresh = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", FIRST_WORDS], capture_output=True, text=True, check=True
    )
    model = small_lm(context=16)
    for seed in range(100):
        session = LanguageSession(model, MoshiSampling(), seed)
        session.step(caller(1, seed)[0])
        session.close()
    assert (
        str(talk(LanguageSession(model, MoshiSampling(), seed=5), caller(30, seed=5))) == fresh.stdout.strip()
    )


@pytest.mark.parametrize("where", ["transformer", "depformer"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_ends_the_session_and_is_not_sampled(where: str, value: float) -> None:
    """Sampling from NaN gives an arbitrary token: it was noise for the rest of the call."""
    model = small_lm()
    session = LanguageSession(model, MoshiSampling(), seed=0)
    talk(session, caller(3))
    broken = model.out_norm if where == "transformer" else model.depformer.slices[0].linear_in
    broken.weight = broken.weight * value
    with pytest.raises(FloatingPointError, match="expected finite logits"):
        session.step(caller(1)[0])


def test_closing_a_session_frees_its_memory() -> None:
    model = small_lm()
    before_bytes = mx.get_active_memory()
    session = LanguageSession(model, GREEDY, seed=0)
    talk(session, caller(3))
    ring_bytes = 2 * 2 * 3000 * 64 * 4  # keys and values, two layers, context, dim, float32
    assert mx.get_active_memory() - before_bytes >= ring_bytes
    session.close()
    session.close()
    assert mx.get_active_memory() - before_bytes < ring_bytes / 10
    with pytest.raises(RuntimeError, match="got a closed one"):
        session.step(caller(1)[0])


def test_forced_tokens_are_output_and_fed_back() -> None:
    model, frames = small_lm(), caller(12)
    free = LanguageSession(model, GREEDY, seed=0)
    said = talk(free, frames)
    # Forcing what would have been said anyway changes nothing, now or later.
    session = LanguageSession(model, GREEDY, seed=0)
    for frame, (text, audio) in zip(frames[:6], said[:6], strict=True):
        step = session.step(frame, force_text=text, force_audio=np.array(audio, np.uint32))
        assert step.text_token == text
        assert step.audio_tokens is not None
        assert step.audio_tokens.tolist() == audio
    assert talk(session, frames[6:]) == said[6:]
    # Other forced tokens are output, and change the rest.
    session = LanguageSession(model, GREEDY, seed=0)
    other = np.array([(token + 1) % CARD for token in said[0][1]], np.uint32)
    step = session.step(frames[0], force_text=said[0][0] + 1, force_audio=other)
    assert step.text_token == said[0][0] + 1
    assert step.audio_tokens is not None
    assert step.audio_tokens.tolist() == other.tolist()
    assert talk(session, frames[1:]) != said[1:]


def test_a_forced_prefix_needs_no_depformer_and_conditions_like_sampled_tokens() -> None:
    model, frames = small_lm(), caller(12)
    said = talk(LanguageSession(model, GREEDY, seed=0), frames)
    prefix = tuple(PrefixFrame(text, np.array(audio, np.uint32)) for text, audio in said[:6])
    assert talk(LanguageSession(model, GREEDY, seed=0, prefix=prefix), frames) == said
    whole, model.depformer = model.depformer, SimpleNamespace(slices=[])  # type: ignore[assignment]
    session = LanguageSession(model, GREEDY, seed=0, prefix=prefix)
    assert talk(session, frames[:5]) == said[:5]
    model.depformer = whole  # with the sixth frame the seventh's first codebook is drawn
    assert talk(session, frames[5:]) == said[5:]
    # Something else is said as well, whatever the model would have said.
    other = tuple(PrefixFrame(7, (frame.audio_tokens + 1) % CARD) for frame in prefix)
    session = LanguageSession(model, MoshiSampling(), seed=0, prefix=other)
    assert talk(session, frames[:6]) == [(7, frame.audio_tokens.tolist()) for frame in other]


@pytest.mark.parametrize(
    "tokens",
    [np.zeros(CODEBOOKS + 1, np.uint32), np.zeros(CODEBOOKS, np.int64), np.zeros((1, CODEBOOKS), np.uint32)],
)
def test_refuses_tokens_of_another_shape_or_type(tokens: Any) -> None:
    session = LanguageSession(small_lm(context=16), GREEDY, seed=0)
    with pytest.raises(ValueError, match=r"caller_tokens: expected uint32 \[2\], got "):
        session.step(tokens)
    with pytest.raises(ValueError, match=r"force_audio: expected uint32 \[2\], got "):
        session.step(caller(1)[0], force_audio=tokens)
