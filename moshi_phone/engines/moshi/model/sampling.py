"""Sampling of tokens from logits, with Gumbel noise for temperature and top-k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import mlx.core as mx
import numpy as np


@dataclass(frozen=True)
class Sampling:
    """Temperature and top-k. Temperature 0 is greedy; top-k 0 means no limit.

    ``Noise`` applies the temperature, ``draw`` the top-k.
    """

    temperature: float
    top_k: int

    def choices(self, vocabulary: int) -> int:
        """Number of candidate tokens in a draw."""
        return min(self.top_k, vocabulary) if self.top_k > 0 else vocabulary


class StreamDraws(NamedTuple):
    """Noise for the draws of one stream, at one position of several rows.

    Attributes:
        noise: float32 ``[rows, draws, choices]``: one draw for the text, one for each codebook of the
            audio. None if all rows are greedy.
        greedy: bool ``[rows, 1]``, which rows are greedy; None if none or all are.
    """

    noise: mx.array | None
    greedy: mx.array | None = None


def draw(logits: mx.array, draws: StreamDraws) -> mx.array:
    """Draw one token for each row. A step has nine draws, so every operation counts.

    Args:
        logits: ``[rows, 1, vocabulary]``, any float type.
        draws: the stream's noise, sliced to one draw.

    Returns:
        uint32 ``[rows, 1]``.
    """
    noise, greedy = draws
    if noise is None:
        return mx.argmax(logits, axis=-1)  # not widened: bfloat16 has the same order
    widened = logits.astype(mx.float32)  # in bfloat16 large logits would absorb the noise
    left_out = logits.shape[-1] - noise.shape[-1]
    if left_out == 0:
        drawn = mx.argmax(widened + noise, axis=-1)
    else:
        # A partition is enough: the draw does not depend on the order of the top k.
        tokens = mx.argpartition(widened, kth=left_out, axis=-1)[..., left_out:]
        # argmax(logit / temperature + noise) equals argmax(logit + noise * temperature).
        best = mx.argmax(mx.take_along_axis(widened, tokens, axis=-1) + noise, axis=-1, keepdims=True)
        drawn = mx.take_along_axis(tokens, best, axis=-1)[..., 0]
    return drawn if greedy is None else mx.where(greedy, mx.argmax(logits, axis=-1), drawn)


@dataclass(frozen=True)
class MoshiSampling:
    """Sampling of both streams; the defaults are those of Kyutai's PyTorch code."""

    text: Sampling = Sampling(0.7, 25)
    audio: Sampling = Sampling(0.8, 250)

    def with_temperature(self, temperature: float) -> MoshiSampling:
        """Return the same sampling with another temperature for both streams."""
        text, audio = (replace(stream, temperature=temperature) for stream in (self.text, self.audio))
        return replace(self, text=text, audio=audio)


GREEDY = MoshiSampling(Sampling(0.0, 0), Sampling(0.0, 0))


class Noise:
    """Gumbel noise times temperature for every draw: a pure function of seed and position.

    A session's draws therefore do not depend on other sessions, on their order, or on the batch.

    Args:
        sampling: of both streams; a temperature of 0 means no noise.
        seed: the lowest 32 bits are used.
        text_size: number of text tokens.
        audio_size: number of audio tokens that can be drawn.
        codebooks: number of codebooks drawn at a position.
    """

    def __init__(self, sampling: MoshiSampling, seed: int, text_size: int, audio_size: int, codebooks: int):
        self.seed = seed & 0xFFFFFFFF
        self.codebooks = codebooks
        # Rows can share a batch only if their noise has the same shape.
        self.choices = (sampling.text.choices(text_size), sampling.audio.choices(audio_size))
        self._sample_by(sampling)

    def set_temperature(self, temperature: float) -> None:
        """Set both streams' temperature from the next position on; 0 is greedy."""
        self._sample_by(self.sampling.with_temperature(temperature))

    def _sample_by(self, sampling: MoshiSampling) -> None:
        self.sampling = sampling
        # Widths of the noise; 0 for a greedy stream.
        self.text = self.choices[0] if sampling.text.temperature > 0 else 0
        self.audio = self.choices[1] if sampling.audio.temperature > 0 else 0


def draws_at(noises: Sequence[Noise], positions: Sequence[int]) -> tuple[StreamDraws, StreamDraws]:
    """Return the text and audio noise of each row at its position; all rows have equal ``choices``."""
    rows_of: dict[tuple[int, int], list[int]] = {}
    for row, noise in enumerate(noises):
        rows_of.setdefault((noise.text, noise.audio), []).append(row)
    parts = [
        _noise([noises[row] for row in rows], [positions[row] for row in rows]) for rows in rows_of.values()
    ]
    if len(parts) == 1:
        return StreamDraws(parts[0][0]), StreamDraws(parts[0][1])
    # Mixed batch: some rows are greedy in a stream, others draw. Compute the groups, then restore the order.
    place = mx.array(np.argsort([row for rows in rows_of.values() for row in rows]).astype(np.int32))
    sizes = [len(rows) for rows in rows_of.values()]
    return (
        _merged([text for text, _ in parts], sizes, place),
        _merged([audio for _, audio in parts], sizes, place),
    )


def _noise(noises: Sequence[Noise], positions: Sequence[int]) -> tuple[mx.array | None, mx.array | None]:
    """Return the noise of a uniform group: ``[rows, 1, text]`` and ``[rows, codebooks, audio]``."""
    first = noises[0]
    if not first.text and not first.audio:
        return None, None
    # An mlx key is two 32-bit words. Seed and position make one, so no generator state is needed.
    keys = mx.array(
        [[noise.seed, position & 0xFFFFFFFF] for noise, position in zip(noises, positions, strict=True)],
        mx.uint32,
    )
    temperatures = mx.array(
        [(noise.sampling.text.temperature, noise.sampling.audio.temperature) for noise in noises]
    )
    text, audio = _scaled_gumbel(keys, temperatures, first.text, first.audio, first.codebooks)
    return text if first.text else None, audio if first.audio else None


@mx.compile
def _scaled_gumbel(
    keys: mx.array, temperatures: mx.array, text: int, audio: int, codebooks: int
) -> tuple[mx.array, mx.array]:
    rows = len(keys)
    noise = mx.vmap(lambda key: mx.random.gumbel((text + audio * codebooks,), key=key))(keys)
    return (
        noise[:, None, :text] * temperatures[:, :1, None],
        noise[:, text:].reshape(rows, codebooks, audio) * temperatures[:, 1:, None],
    )


def _merged(parts: Sequence[mx.array | None], sizes: Sequence[int], place: mx.array) -> StreamDraws:
    """Concatenate groups and reorder: row ``i`` comes from ``place[i]``. Groups without noise are greedy."""
    some = next((part for part in parts if part is not None), None)
    if some is None:
        return StreamDraws(None)
    filled = [
        mx.zeros((size, *some.shape[1:]), some.dtype) if part is None else part
        for part, size in zip(parts, sizes, strict=True)
    ]
    greedy = np.repeat([part is None for part in parts], sizes)[:, None]
    return StreamDraws(mx.concatenate(filled)[place], mx.array(greedy)[place] if greedy.any() else None)
