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

    def draw(self, logits: mx.array, noise: mx.array | None) -> mx.array:
        """Draw one token. There are nine draws a step, so every operation counts.

        Args:
            logits: ``[1, 1, vocabulary]``, any float type.
            noise: float32 ``[choices]``, Gumbel noise times the temperature; None for temperature 0.

        Returns:
            uint32 ``[1, 1]``.
        """
        if noise is None:
            return mx.argmax(logits, axis=-1)
        logits = logits.astype(mx.float32)  # bfloat16 would round the noise off beside large logits
        left_out = logits.shape[-1] - noise.shape[-1]
        if left_out == 0:
            return mx.argmax(logits + noise, axis=-1)
        tokens = mx.argpartition(logits, kth=left_out, axis=-1)[..., left_out:]
        # The largest of logit / temperature + noise is the largest of logit + noise * temperature.
        best = mx.argmax(mx.take_along_axis(logits, tokens, axis=-1) + noise, axis=-1, keepdims=True)
        return mx.take_along_axis(tokens, best, axis=-1)[..., 0]


@dataclass(frozen=True)
class MoshiSampling:
    """Of both streams; the defaults are those of Kyutai's PyTorch code."""

    text: Sampling = Sampling(0.7, 25)
    audio: Sampling = Sampling(0.8, 250)


GREEDY = MoshiSampling(Sampling(0.0, 0), Sampling(0.0, 0))


class Noise:
    """Gumbel noise times temperature for every draw: a function of seed and position, of nothing else.

    So sessions cannot disturb each other, and the order in which they are stepped does not matter.

    Args:
        sampling: of both streams; where a temperature is 0 there is no noise.
        seed: its lowest 32 bits count.
        text_size: how many text tokens there are.
        audio_size: how many audio tokens can be drawn.
        codebooks: how many are drawn at a position.
    """

    def __init__(self, sampling: MoshiSampling, seed: int, text_size: int, audio_size: int, codebooks: int):
        self._seed = seed & 0xFFFFFFFF
        self._text = sampling.text.choices(text_size) if sampling.text.temperature > 0 else 0
        self._audio = sampling.audio.choices(audio_size) if sampling.audio.temperature > 0 else 0
        self._codebooks = codebooks
        temperatures = [sampling.text.temperature] * self._text
        self._temperatures = mx.array(temperatures + [sampling.audio.temperature] * self._audio * codebooks)

    def at(self, position: int) -> tuple[mx.array | None, list[mx.array | None]]:
        """Give the noise for the text draw and for each codebook's draw at a position."""
        size = self._text + self._audio * self._codebooks
        if size == 0:
            return None, [None] * self._codebooks
        # mlx's keys are two words of 32 bits; with one of our own nothing is kept between two positions.
        key = mx.array([self._seed, position & 0xFFFFFFFF], mx.uint32)
        noise = mx.random.gumbel((size,), key=key) * self._temperatures
        text = noise[: self._text] if self._text else None
        if not self._audio:
            return text, [None] * self._codebooks
        rows = noise[self._text :].reshape(self._codebooks, self._audio)
        return text, [rows[codebook] for codebook in range(self._codebooks)]
