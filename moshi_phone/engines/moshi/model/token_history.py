"""The tokens of the last steps, and tokens that are forced at a call's beginning.

Row 0 is the text, then come Moshi's own codebooks, then the caller's. "Time" counts frames of speech, and
"position" counts steps of the model; a codebook with delay d speaks of time t at position t + d.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.moshi.model.detokenizer import PADDING_TOKEN

Tokens = NDArray[np.uint32]


class TokenHistory:
    """The last few tokens of every stream: as many as the longest delay reaches back.

    Args:
        delays: of every audio codebook in frames, Moshi's own first, then the caller's.
        own_codebooks: how many of them are Moshi's own.
        text_start: what stands before the first text token.
        audio_start: what stands before the first audio token.
    """

    def __init__(
        self, delays: Sequence[int], own_codebooks: int, *, text_start: int, audio_start: int
    ) -> None:
        self._delays = np.array([0, *delays])  # by row; the text has none
        self._own = slice(1, 1 + own_codebooks)
        self._caller = slice(1 + own_codebooks, 1 + len(delays))
        self._rows = np.arange(1 + len(delays))  # picks one cell of each row, each at a time of its own
        self._start = np.array([text_start, *[audio_start] * len(delays)], np.int32)
        self.delay_frames = int(self._delays[self._own].max())
        # At position p: read back to p - 1 - the longest delay, forced up to p, and p + 1 is made free again.
        self.length = int(self._delays.max()) + 3
        self._cells = np.tile(self._start[:, None], self.length)  # a ring over time: column t % length
        self._forced = np.zeros(self._cells.shape, bool)  # which cells ``say`` must not overwrite

    def inputs(self, position: int) -> NDArray[np.int32]:
        """int32 ``[1 + codebooks]``: what the model reads at a position, start tokens where nothing was."""
        times = position - 1 - self._delays
        return np.where(times >= 0, self._cells[self._rows, times % self.length], self._start)

    def hear(self, time: int, caller: Tokens) -> None:
        """Take the caller's frame, uint32 ``[caller's codebooks]``."""
        self._cells[self._caller, time % self.length] = caller

    def force(self, time: int, own: Tokens) -> None:
        """Fix Moshi's own frame of a time, uint32 ``[own codebooks]``, whatever is generated for it."""
        self._cells[self._own, time % self.length] = own
        self._forced[self._own, time % self.length] = True

    def put(self, time: int, column: NDArray[np.int32]) -> None:
        """Fix all streams at a time, int32 ``[1 + codebooks]``: text, Moshi's own, the caller's."""
        self._cells[:, time % self.length] = column
        self._forced[self._own, time % self.length] = True

    def copy(self) -> TokenHistory:
        """Give another one with the same tokens, that can go on by itself."""
        other = copy.copy(self)
        other._cells, other._forced = self._cells.copy(), self._forced.copy()
        return other

    def fixed(self, position: int) -> list[int | None]:
        """What each of Moshi's own codebooks is fixed to at a position; None where it is free.

        What speaks of a time before the first is start tokens.
        """
        times = position - self._delays
        cells, forced = (
            self._cells[self._rows, times % self.length],
            self._forced[self._rows, times % self.length],
        )
        tokens = np.where(times >= 0, cells, self._start)
        return [int(tokens[row]) if forced[row] or times[row] < 0 else None for row in self._rows[self._own]]

    def say(self, position: int, generated: NDArray[np.int32]) -> None:
        """Take what the model generated at a position, int32 ``[1 + own codebooks]``, the text first."""
        # The slot of the next frame is an old one's; nobody forces that frame before the next position.
        self._forced[:, (position + 1) % self.length] = False
        for row, token in enumerate(generated.tolist()):
            time = position - int(self._delays[row])
            if time >= 0 and not self._forced[row, time % self.length]:
                self._cells[row, time % self.length] = token

    def spoken(self, position: int) -> Tokens | None:
        """uint32 ``[own codebooks]``: the frame that is complete after a position; None before the first."""
        time = position - self.delay_frames
        return None if time < 0 else self._cells[self._own, time % self.length].astype(np.uint32)

    def heard(self, time: int) -> Tokens:
        """uint32 ``[caller's codebooks]``: the caller's frame of a recent time."""
        return self._cells[self._caller, time % self.length].astype(np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class PrefixFrame:
    """One frame of a forced prefix: what the model is made to put into words and to say."""

    text_token: int
    audio_tokens: Tokens


ForcedPrefix = tuple[PrefixFrame, ...]
NO_PREFIX: ForcedPrefix = ()


def silent_prefix(frames: int, silence: Tokens) -> ForcedPrefix:
    """An opening in which Moshi keeps still, so that the caller speaks first.

    Args:
        frames: how long.
        silence: uint32 ``[8]``, what Mimi makes of a silent frame.
    """
    return (PrefixFrame(PADDING_TOKEN, silence),) * frames
