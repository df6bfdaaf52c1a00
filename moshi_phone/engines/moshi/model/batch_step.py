"""Batched generation of one position for several conversations: one pass over the weights serves all rows.

Rows are independent: a row's tokens do not depend on the other rows. A failing row fails alone. A position
is counted only after its step has succeeded, so a failed step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.moshi.model.batched_transformer import BatchedTransformer
from moshi_phone.engines.moshi.model.depformer import BatchedDepformer
from moshi_phone.engines.moshi.model.embeddings import sum_up
from moshi_phone.engines.moshi.model.ring_kv_cache import RingKVCache
from moshi_phone.engines.moshi.model.sampling import Noise, StreamDraws, draw, draws_at
from moshi_phone.engines.moshi.model.token_history import TokenHistory
from moshi_phone.vendor.moshi_mlx.models.lm import Lm


@dataclass
class StepRow:
    """One conversation's row of a batched step.

    Attributes:
        position: the position to generate.
        history: source of the input tokens and of the forced ones; the step does not write to it.
        rings: one cache for each layer. The step writes the position and does not advance them.
        noise: Gumbel noise for the draws.
        text: the forced text token; None while it is drawn. The result of ``choose_text`` is stored here,
            because that function must run only once for each position.
        choose_text: maps the drawn text token to the one to feed.
        fixed: the forced token of each of Moshi's own codebooks; None where the token is drawn.
    """

    position: int
    history: TokenHistory
    rings: Sequence[RingKVCache]
    noise: Noise
    text: int | None = None
    choose_text: Callable[[int], int] | None = None
    fixed: list[int | None] = field(init=False)

    def __post_init__(self) -> None:
        """Look up the forced tokens of the position."""
        self.fixed = self.history.fixed(self.position)

    @property
    def free_codebooks(self) -> int:
        """Number of codebooks to run: up to and including the last drawn one."""
        return max((codebook + 1 for codebook, token in enumerate(self.fixed) if token is None), default=0)

    def commit(self) -> None:
        """Drop the rings' previous states, so that the evaluation can write in place."""
        for ring in self.rings:
            ring.commit()

    def undo(self) -> None:
        """Restore the rings' previous states, so that the step can be repeated."""
        for ring in self.rings:
            ring.undo()


@dataclass(frozen=True, eq=False)
class Generated:
    """The tokens that one row generated.

    Attributes:
        tokens: int32 ``[1 + own codebooks]``, the text token first.
        text_logits: ``[rows, 1, vocabulary]``, for all rows of the step.
        row: this row's index in ``text_logits``.
    """

    tokens: NDArray[np.int32]
    text_logits: mx.array
    row: int


def generate(model: Lm, rows: Sequence[StepRow]) -> list[Generated | Exception]:
    """Generate the position of each row; the result of a failed row is its exception.

    If the batched step raises, each row is retried alone from its previous state.

    Args:
        model: shared by all rows.
        rows: at least one; all must have the same number of ``choices``.
    """
    try:
        return _generate(model, rows)
    except Exception as error:  # whatever mlx or a row's ``choose_text`` raises
        for row in rows:
            row.undo()
        if len(rows) == 1:
            return [error]
        return [generate(model, [row])[0] for row in rows]


def _generate(model: Lm, rows: Sequence[StepRow]) -> list[Generated | Exception]:
    parts = parts_of(model)
    text_draws, audio_draws = draws_at([row.noise for row in rows], [row.position for row in rows])
    inputs = np.stack([row.history.inputs(row.position) for row in rows]).astype(np.uint32)
    hidden = sum_up(model.text_emb, model.audio_embs, mx.array(inputs))
    hidden = model.out_norm(parts.transformer(hidden, [row.rings for row in rows]))
    logits = model.text_linear(hidden)
    text = _text(rows, draw(logits, text_draws))
    is_sound = mx.isfinite(logits).all(axis=(1, 2))
    speaking = [index for index, row in enumerate(rows) if row.free_codebooks]
    audio, audio_is_sound = mx.zeros((0, 0), mx.uint32), mx.zeros((0,), mx.bool_)
    if speaking:
        # Rows whose codebooks are all forced skip the depformer: a prefix costs one transformer pass.
        codebooks, fixed = _fixed([rows[index] for index in speaking])
        chosen = (hidden, text, audio_draws)
        if len(speaking) < len(rows):
            chosen = _pick(mx.array(speaking), *chosen)
        audio, audio_is_sound = parts.depformer()(*chosen, fixed, codebooks)
    for row in rows:
        row.commit()
    # The one evaluation, which also brings the rings up to date.
    mx.eval(text, audio, logits, is_sound, audio_is_sound)
    # From here on in numpy: everything was evaluated above, so nothing waits for the accelerator any more.
    sound, drawn = np.array(is_sound), np.array(audio, np.int32)
    sound[speaking] &= np.array(audio_is_sound)
    # The forced tokens first; the drawn ones overwrite as many codebooks as were run.
    tokens = np.array([[0, *(token or 0 for token in row.fixed)] for row in rows], np.int32)
    tokens[:, :1] = np.array(text)
    tokens[speaking, 1 : 1 + drawn.shape[1]] = drawn
    return [
        Generated(tokens[index], logits, index)
        if sound[index]
        else FloatingPointError("expected finite logits, got some that are not")
        for index in range(len(rows))
    ]


def _text(rows: Sequence[StepRow], drawn: mx.array) -> mx.array:
    """Return each row's text token, uint32 ``[rows, 1]``; mlx skips a draw whose result is unused."""
    if all(row.text is None and row.choose_text is None for row in rows):
        return drawn
    if any(row.text is None and row.choose_text is not None for row in rows):
        # One extra evaluation for the whole step, only while a call has words to say.
        for row in rows:
            row.commit()
        mx.eval(drawn)
        tokens = np.array(drawn)[:, 0].tolist()
        for row, token in zip(rows, tokens, strict=True):
            if row.text is None and row.choose_text is not None:
                row.text = row.choose_text(token)
        return mx.array(
            [[token if row.text is None else row.text] for row, token in zip(rows, tokens, strict=True)],
            mx.uint32,
        )
    # -1 marks drawn tokens: no token is negative.
    known = mx.array([[-1 if row.text is None else row.text] for row in rows])
    if all(row.text is not None for row in rows):
        return known.astype(mx.uint32)
    return mx.where(known < 0, drawn, known.astype(mx.uint32))


def _fixed(rows: Sequence[StepRow]) -> tuple[int, mx.array | None]:
    """Return the number of codebooks to run and their forced tokens; see ``BatchedDepformer``."""
    codebooks = max(row.free_codebooks for row in rows)
    if all(token is None for row in rows for token in row.fixed[:codebooks]):
        return codebooks, None
    return codebooks, mx.array(
        [[-1 if token is None else token for token in row.fixed[:codebooks]] for row in rows]
    )


def _pick(
    rows: mx.array, hidden: mx.array, text: mx.array, draws: StreamDraws
) -> tuple[mx.array, mx.array, StreamDraws]:
    """Select the data of some rows."""
    noise, greedy = (None if one is None else one[rows] for one in draws)
    return hidden[rows], text[rows], StreamDraws(noise, greedy)


class CompiledParts:
    """The compiled parts of a model.

    Attributes:
        transformer: the main transformer.
    """

    def __init__(self, model: Lm) -> None:
        self.transformer = BatchedTransformer(model)
        self._model_depformer = model.depformer
        self._depformer: BatchedDepformer | None = None  # a listening model has none

    def depformer(self) -> BatchedDepformer:
        """Return the depth transformer; built for the first draw."""
        if self._depformer is None:
            self._depformer = BatchedDepformer(self._model_depformer.slices)
        return self._depformer


def parts_of(model: Lm) -> CompiledParts:
    """Return a model's compiled parts; compiled on first use and cached on the model."""
    parts: CompiledParts | None = getattr(model, "compiled_parts", None)
    if parts is None:
        parts = model.compiled_parts = CompiledParts(model)
    return parts
