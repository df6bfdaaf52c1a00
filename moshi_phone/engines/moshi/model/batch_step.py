"""One position of several conversations, generated at once: the model's weights are read once for all rows.

What a row says depends on nothing of the other rows. A row that fails does so alone, and nothing of a row is
counted before it has succeeded, so that a failed step can be repeated.
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
    """One conversation's part in a step.

    Attributes:
        position: the one to generate.
        history: gives what the model reads there, and what is fixed; it is not written to.
        rings: one for each layer; the position is written to them, and not counted.
        noise: of its draws.
        text: the text token to put into words; None where it is drawn. Once ``choose_text`` has been
            asked, its answer: it may not be asked twice for one position.
        choose_text: makes of the drawn text token the one to put into words.
        fixed: for each of the model's own codebooks its token, or None where it is drawn.
    """

    position: int
    history: TokenHistory
    rings: Sequence[RingKVCache]
    noise: Noise
    text: int | None = None
    choose_text: Callable[[int], int] | None = None
    fixed: list[int | None] = field(init=False)

    def __post_init__(self) -> None:
        """Look up what is fixed."""
        self.fixed = self.history.fixed(self.position)

    @property
    def free_codebooks(self) -> int:
        """How many codebooks to run: up to the last one that is drawn."""
        return max((codebook + 1 for codebook, token in enumerate(self.fixed) if token is None), default=0)

    def commit(self) -> None:
        """Prepare for the evaluation."""
        for ring in self.rings:
            ring.commit()

    def undo(self) -> None:
        """Prepare for another try."""
        for ring in self.rings:
            ring.undo()


@dataclass(frozen=True, eq=False)
class Generated:
    """What a row said.

    Attributes:
        tokens: int32 ``[1 + own codebooks]``, the text first.
        text_logits: ``[rows, 1, vocabulary]``, of all rows of the step.
        row: which of them is this one's.
    """

    tokens: NDArray[np.int32]
    text_logits: mx.array
    row: int


def generate(model: Lm, rows: Sequence[StepRow]) -> list[Generated | Exception]:
    """Generate the position of each row; what failed stands in its row's place.

    When the step of all rows raises, each row is tried alone, from the state before.

    Args:
        model: of all rows.
        rows: at least one; all of them draw from the same number of choices.
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
    """Give each row's text token, uint32 ``[rows, 1]``; drawn ones that nobody needs are not computed."""
    if all(row.text is None and row.choose_text is None for row in rows):
        return drawn
    if any(row.text is None and row.choose_text is not None for row in rows):
        # One evaluation more for the whole step, but only while there are words to say.
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
    known = mx.array([[-1 if row.text is None else row.text] for row in rows])
    if all(row.text is not None for row in rows):
        return known.astype(mx.uint32)
    return mx.where(known < 0, drawn, known.astype(mx.uint32))


def _fixed(rows: Sequence[StepRow]) -> tuple[int, mx.array | None]:
    """Give how many codebooks to run, and what is fixed of them; see ``BatchedDepformer``."""
    codebooks = max(row.free_codebooks for row in rows)
    if all(token is None for row in rows for token in row.fixed[:codebooks]):
        return codebooks, None
    return codebooks, mx.array(
        [[-1 if token is None else token for token in row.fixed[:codebooks]] for row in rows]
    )


def _pick(
    rows: mx.array, hidden: mx.array, text: mx.array, draws: StreamDraws
) -> tuple[mx.array, mx.array, StreamDraws]:
    """Give what belongs to some of the rows."""
    noise, greedy = (None if one is None else one[rows] for one in draws)
    return hidden[rows], text[rows], StreamDraws(noise, greedy)


class CompiledParts:
    """The compiled parts of a model.

    Attributes:
        transformer: the large one.
    """

    def __init__(self, model: Lm) -> None:
        self.transformer = BatchedTransformer(model)
        self._model_depformer = model.depformer
        self._depformer: BatchedDepformer | None = None  # a model that only listens has none

    def depformer(self) -> BatchedDepformer:
        """Give the depth transformer; it is laid out when something is first drawn."""
        if self._depformer is None:
            self._depformer = BatchedDepformer(self._model_depformer.slices)
        return self._depformer


def parts_of(model: Lm) -> CompiledParts:
    """Give a model's compiled parts, made when they are first asked for."""
    parts: CompiledParts | None = getattr(model, "compiled_parts", None)
    if parts is None:
        parts = model.compiled_parts = CompiledParts(model)
    return parts
