"""The tokens of the last steps, and a call's forced prefix.

Row 0 is the text; then follow Moshi's own codebooks, then the caller's. "Time" counts frames of speech and
"position" counts steps of the model: a codebook with delay d holds time t at position t + d.
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
    """A ring of every stream's last tokens, long enough for the longest delay.

    Args:
        delays: the delay of every audio codebook in frames, Moshi's own first, then the caller's.
        own_codebooks: number of Moshi's own codebooks.
        text_start: the token before the first text token.
        audio_start: the token before the first audio token.
    """

    def __init__(
        self, delays: Sequence[int], own_codebooks: int, *, text_start: int, audio_start: int
    ) -> None:
        self._delays = np.array([0, *delays])  # by row; the text has no delay
        # Rows: the text, then the model's own codebooks, then the caller's.
        self._own = slice(1, 1 + own_codebooks)
        self._caller = slice(1 + own_codebooks, 1 + len(delays))
        self._rows = np.arange(1 + len(delays))  # index that selects one cell of each row, at different times
        self._start = np.array([text_start, *[audio_start] * len(delays)], np.int32)
        self.delay_frames = int(self._delays[self._own].max())
        # At position p, ``inputs`` reads back to p - 1 - the longest delay, and ``say`` clears p + 1.
        self.length = int(self._delays.max()) + 3
        self._cells = np.tile(self._start[:, None], self.length)  # a ring over time: column t % length
        self._forced = np.zeros(self._cells.shape, bool)  # which cells ``say`` must not overwrite

    def inputs(self, position: int) -> NDArray[np.int32]:
        """Return a position's input tokens, int32 ``[1 + codebooks]``: start tokens before time 0."""
        times = position - 1 - self._delays
        return np.where(times >= 0, self._cells[self._rows, times % self.length], self._start)

    def hear(self, time: int, caller: Tokens) -> None:
        """Write the caller's frame, uint32 ``[caller's codebooks]``."""
        self._cells[self._caller, time % self.length] = caller

    def force(self, time: int, own: Tokens) -> None:
        """Force Moshi's frame at a time, uint32 ``[own codebooks]``: it overrides generated tokens."""
        self._cells[self._own, time % self.length] = own
        self._forced[self._own, time % self.length] = True

    def put(self, time: int, column: NDArray[np.int32]) -> None:
        """Force all streams at a time, int32 ``[1 + codebooks]``: text, Moshi, caller."""
        self._cells[:, time % self.length] = column
        self._forced[self._own, time % self.length] = True

    def copy(self) -> TokenHistory:
        """Return an independent copy."""
        other = copy.copy(self)
        other._cells, other._forced = self._cells.copy(), self._forced.copy()
        return other

    def fixed(self, position: int) -> list[int | None]:
        """Return the forced token of each of Moshi's codebooks at a position; None where it is drawn.

        A codebook whose time is negative is forced to its start token.
        """
        times = position - self._delays
        cells, forced = (
            self._cells[self._rows, times % self.length],
            self._forced[self._rows, times % self.length],
        )
        tokens = np.where(times >= 0, cells, self._start)
        return [int(tokens[row]) if forced[row] or times[row] < 0 else None for row in self._rows[self._own]]

    def say(self, position: int, generated: NDArray[np.int32]) -> None:
        """Store the tokens generated at a position, int32 ``[1 + own codebooks]``, the text first."""
        # The next frame reuses an old slot. Nothing forces that frame before the next position.
        self._forced[:, (position + 1) % self.length] = False
        for row, token in enumerate(generated.tolist()):
            time = position - int(self._delays[row])
            if time >= 0 and not self._forced[row, time % self.length]:
                self._cells[row, time % self.length] = token

    def spoken(self, position: int) -> Tokens | None:
        """Return the frame complete after a position, uint32 ``[own codebooks]``; None before the first."""
        time = position - self.delay_frames
        return None if time < 0 else self._cells[self._own, time % self.length].astype(np.uint32)

    def heard(self, time: int) -> Tokens:
        """Return the caller's frame at a recent time, uint32 ``[caller's codebooks]``."""
        return self._cells[self._caller, time % self.length].astype(np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class PrefixFrame:
    """One frame of a forced prefix: its text token and audio tokens, uint32 ``[8]``."""

    text_token: int
    audio_tokens: Tokens


ForcedPrefix = tuple[PrefixFrame, ...]
NO_PREFIX: ForcedPrefix = ()


def silent_prefix(frames: int, silence: Tokens) -> ForcedPrefix:
    """Return a prefix in which Moshi is silent, so that the caller speaks first.

    Args:
        frames: its length.
        silence: uint32 ``[8]``, Mimi's tokens of a silent frame.
    """
    return (PrefixFrame(PADDING_TOKEN, silence),) * frames
