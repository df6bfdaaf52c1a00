"""How a token is drawn from the model's logits."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx


@dataclass(frozen=True)
class Sampling:
    """Temperature and top-k; temperature 0 takes the likeliest, top-k 0 leaves every token in."""

    temperature: float
    top_k: int

    def choices(self, vocabulary: int) -> int:
        """How many tokens are drawn from."""
        return min(self.top_k, vocabulary) if self.top_k > 0 else vocabulary

    def draw(self, logits: mx.array, gumbel: mx.array | None) -> mx.array:
        """Draw one token.

        Args:
            logits: ``[1, 1, vocabulary]``, any float type.
            gumbel: float32 ``[choices]``, Gumbel noise; None for temperature 0.

        Returns:
            int32 ``[1, 1]``.
        """
        if gumbel is None:
            return mx.argmax(logits, axis=-1).astype(mx.int32)
        logits = logits.astype(mx.float32)
        kept = gumbel.shape[-1]
        if kept == logits.shape[-1]:
            return mx.argmax(logits * (1 / self.temperature) + gumbel, axis=-1).astype(mx.int32)
        tokens = mx.argpartition(-logits, kth=kept - 1, axis=-1)[..., :kept]
        best = mx.take_along_axis(logits, tokens, axis=-1) * (1 / self.temperature) + gumbel
        place = mx.argmax(best, axis=-1, keepdims=True)
        return mx.take_along_axis(tokens, place, axis=-1)[..., 0].astype(mx.int32)


@dataclass(frozen=True)
class MoshiSampling:
    """Of both streams; the defaults are those of Kyutai's PyTorch code."""

    text: Sampling = Sampling(0.7, 25)
    audio: Sampling = Sampling(0.8, 250)


GREEDY = MoshiSampling(Sampling(0.0, 0), Sampling(0.0, 0))


class Noise:
    """Gumbel noise for every draw of a session: a function of the seed and the position, of nothing else.

    So sessions cannot disturb each other, and the order in which they are stepped does not matter.
    """

    def __init__(self, sampling: MoshiSampling, seed: int, text_size: int, audio_size: int, codebooks: int):
        self._seed = seed & 0xFFFFFFFF
        self._text = sampling.text.choices(text_size) if sampling.text.temperature > 0 else 0
        self._audio = sampling.audio.choices(audio_size) if sampling.audio.temperature > 0 else 0
        self._codebooks = codebooks

    def at(self, position: int) -> tuple[mx.array | None, list[mx.array | None]]:
        """Noise for the text draw and for each codebook's draw at a position."""
        size = self._text + self._audio * self._codebooks
        if size == 0:
            return None, [None] * self._codebooks
        key = mx.array([self._seed, position & 0xFFFFFFFF], mx.uint32)
        noise = mx.random.gumbel((size,), key=key)
        text = noise[: self._text] if self._text else None
        if not self._audio:
            return text, [None] * self._codebooks
        rows = noise[self._text :].reshape(self._codebooks, self._audio)
        return text, [rows[codebook] for codebook in range(self._codebooks)]
