"""The text of Kyutai's PyTorch code and, within its valid range, of moshi_mlx."""

from __future__ import annotations

import json
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from moshi_mlx.models.generate import LmGen
from moshi_mlx.utils.sampling import Sampler

from moshi_phone.engines.moshi.stt.session import ListeningSession
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig
from tests.support.tiny_listening import (
    CLASSES,
    CODEBOOKS,
    GOLDEN,
    HEADS,
    caller,
    listening_config,
    listening_weights,
)
from tests.support.tiny_moshi import tiny_lm


def listening_lm(**changes: Any) -> Lm:
    model = Lm(LmConfig.from_config_dict(listening_config(**changes)))
    weights = {name: mx.array(value) for name, value in listening_weights().items()}
    model.load_weights(list(weights.items()), strict=True)
    mx.eval(model.parameters())
    return model


def test_gives_kyutai_s_text_far_beyond_the_context() -> None:
    golden = json.loads(GOLDEN.read_text())
    session = ListeningSession(listening_lm())
    text, heads = [], []
    for frame in caller()[1:]:  # PyTorch replaces its first frame by start tokens
        text.append(session.step(frame))
        heads.append(session.extra_heads)
    assert text == golden["text"]
    assert len(text) == 399
    assert len(set(text)) > 50, "the weights should make it write many things"
    first_classes = [head[:, 0] for head in heads[::20]]
    np.testing.assert_allclose(first_classes, golden["first_classes"], atol=1e-4)


def test_gives_moshi_mlx_s_text_within_its_context() -> None:
    frames = caller(301)
    model = listening_lm(context=750)
    session = ListeningSession(model)
    ours = [(session.step(frame), session.extra_heads) for frame in frames]

    model.transformer_cache = model.transformer.make_rot_cache()
    generator = LmGen(model, len(frames) + 1, Sampler(temp=0), Sampler(temp=0))
    theirs = [
        generator.step_with_extra_heads(mx.array(frame.astype(np.int32))[None])
        for frame in (*frames, frames[0])  # it reads each a step later
    ][1:]
    assert [text for text, _ in ours] == [text.item() for text, _ in theirs]
    for (_, our_heads), (_, their_heads) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our_heads, np.array(mx.concatenate(their_heads, axis=0))[:, 0], atol=1e-5)


def test_gives_pause_probabilities_if_the_file_has_heads() -> None:
    session = ListeningSession(listening_lm())
    session.step(caller(1)[0])
    assert session.extra_heads.shape == (HEADS, CLASSES)
    np.testing.assert_allclose(session.extra_heads.sum(axis=1), 1, atol=1e-5)
    model = Lm(LmConfig.from_config_dict(listening_config(extra_heads_num_heads=0)))
    session = ListeningSession(model)
    session.step(caller(1)[0])
    assert session.extra_heads.shape == (0, 0)


def test_sessions_of_one_model_are_independent() -> None:
    model = listening_lm()
    alone = ListeningSession(model)
    expected = [alone.step(frame) for frame in caller(30)]
    one, other = ListeningSession(model), ListeningSession(model)
    together = []
    for mine, theirs in zip(caller(30), caller(30, seed=2), strict=True):
        together.append(one.step(mine))
        other.step(theirs)
    assert together == expected
    assert one.frames == 30


def test_closing_frees_the_cache() -> None:
    model = listening_lm(context=750)
    before_bytes = mx.get_active_memory()
    session = ListeningSession(model)
    session.step(caller(1)[0])
    assert mx.get_active_memory() - before_bytes >= 2 * 2 * 750 * 64 * 4  # keys, values; layers; dim; float32
    session.close()
    session.close()
    assert mx.get_active_memory() - before_bytes < 10_000
    with pytest.raises(RuntimeError, match="got a closed one"):
        session.step(caller(1)[0])


@pytest.mark.parametrize(
    "tokens", [np.zeros(8, np.uint32), np.zeros(CODEBOOKS, np.int64), np.zeros((1, CODEBOOKS), np.uint32)]
)
def test_refuses_tokens_of_another_shape_or_type(tokens: Any) -> None:
    session = ListeningSession(listening_lm())
    with pytest.raises(ValueError, match=r"caller_tokens: expected uint32 \[32\], got "):
        session.step(tokens)


def test_refuses_a_model_that_speaks() -> None:
    with pytest.raises(ValueError, match=r"expected a model of dep_q 0 without delays, got dep_q 8"):
        ListeningSession(tiny_lm(dim=32, layers=1))


def test_the_tiny_weights_are_complete() -> None:
    model = Lm(LmConfig.from_config_dict(listening_config()))
    assert dict(tree_flatten(model.parameters())).keys() == listening_weights().keys()
