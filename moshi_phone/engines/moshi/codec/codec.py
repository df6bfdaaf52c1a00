"""Mimi, the codec: reset for each call, with a count of its remaining life.

A ``rustymimi.Tokenizer`` takes 530 MB, and one to three seconds to load, holding the GIL. It processes one
frame at a time, accumulates state until it is reset, and counts positions up to a limit that its constructor
fixes. So a pool holds loaded ones (``codec_pool.py``), a call takes two, one to encode and one to decode, and
in a long call each hands over to another one (``handover.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rustymimi
from numpy.typing import NDArray

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, Pcm
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines.duplex import EngineFailed, check_frame
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.runtime.free_memory import return_free_memory

CODEBOOKS = 8  # read and written by Moshi
LISTENING_CODEBOOKS = 32  # read by the listening model; Moshi's are the first of them
POSITIONS_PER_FRAME = 2  # Mimi's transformers run at 25 Hz
LIMIT_FRAMES = 4 * 3600 * 1000 // FRAME_MS  # 4 hours each way; costs 160 MB more than the minimum
RESERVE_SHARE = 1 / 16  # a quarter of an hour: the minimum remaining life for another call


class Mimi:
    """A ``rustymimi.Tokenizer`` that counts its remaining life.

    Its ``reset()`` is not sufficient for a new call. With 0.4.1 it leaves the last 80 ms of a caller in the
    downsampling convolution, so they would leak into the next caller's first frame; and positions continue,
    so the limit is for the tokenizer's life, not for a call. It does free the memory of all frames.

    Args:
        path: Mimi's weights.
        limit_frames: number of frames that it can process each way.
        codebooks: number of codebooks; the first ones do not depend on the number.
    """

    def __init__(self, path: Path, limit_frames: int, codebooks: int = CODEBOOKS) -> None:
        self._tokenizer = rustymimi.Tokenizer(
            str(path), num_codebooks=codebooks, max_seq_len=POSITIONS_PER_FRAME * limit_frames
        )
        self._codebooks = codebooks
        self._limit_frames = limit_frames
        # The limit applies to each direction; a reset frees the held frames.
        self._encoded_frames = self._decoded_frames = self._held_frames = 0
        self.clean()  # the first step is slow, so it is not left to a call

    @property
    def left_frames(self) -> int:
        """Number of frames it can still process."""
        return self._limit_frames - max(self._encoded_frames, self._decoded_frames)

    @property
    def held_frames(self) -> int:
        """Number of frames its state holds: 65 kB each."""
        return self._held_frames

    @property
    def is_used_up(self) -> bool:
        """Whether it has too little life left for another call."""
        return self.left_frames < self._limit_frames * RESERVE_SHARE

    @property
    def is_half_used(self) -> bool:
        """Whether to replace it while no call is running."""
        return self.left_frames < self._limit_frames / 2

    def encode(self, pcm: Pcm) -> Tokens:
        """Encode float32 ``[1920]`` at 24 kHz to uint32 ``[codebooks]``.

        Raises:
            EngineFailed: when Mimi returns something else. Beyond its limit rustymimi raises a ValueError.
        """
        self._encoded_frames += 1
        self._held_frames += 1
        tokens = self._tokenizer.encode_step(check_frame(pcm).reshape(1, 1, FRAME_SAMPLES))
        if tokens is None or tokens.shape != (1, self._codebooks, 1):
            raise EngineFailed(
                f"Mimi: expected tokens [1, {self._codebooks}, 1] for a frame, got {_shape(tokens)}"
            )
        return np.ascontiguousarray(tokens[0, :, 0], np.uint32)

    def prime_encoder(self, frames: Sequence[Pcm]) -> None:
        """Encode several frames at once, without output, in half the time of single frames."""
        self._encoded_frames += len(frames)
        self._held_frames += len(frames)
        self._tokenizer.encode_step(np.concatenate(frames).reshape(1, 1, len(frames) * FRAME_SAMPLES))

    def prime_decoder(self, frames: Sequence[Tokens]) -> None:
        """Decode several frames at once, without output, in half the time of single frames."""
        self._decoded_frames += len(frames)
        self._held_frames += len(frames)
        self._tokenizer.decode_step(np.stack(frames, axis=1).reshape(1, self._codebooks, len(frames)))

    def decode(self, tokens: Tokens) -> Pcm:
        """Decode uint32 ``[codebooks]`` to float32 ``[1920]`` at 24 kHz.

        Raises:
            EngineFailed: when Mimi returns something else. Beyond its limit rustymimi raises a ValueError.
        """
        self._decoded_frames += 1
        self._held_frames += 1
        sound = self._tokenizer.decode_step(tokens.reshape(1, self._codebooks, 1))
        if sound is None or sound.shape != (1, 1, FRAME_SAMPLES):
            raise EngineFailed(
                f"Mimi: expected sound [1, 1, {FRAME_SAMPLES}] for a frame, got {_shape(sound)}"
            )
        return np.ascontiguousarray(sound[0, 0], np.float32)

    def clean(self) -> None:
        """Reset completely: a frame of silence flushes the state that ``reset()`` leaves."""
        self._tokenizer.reset()
        self.decode(self.encode(SILENT_FRAME))
        self._tokenizer.reset()
        self._held_frames = 0

    def free(self) -> None:
        """Return its memory to the system. It must not be used again."""
        del self._tokenizer
        return_free_memory()


def _shape(array: NDArray[np.generic] | None) -> str:
    return "none" if array is None else str(list(array.shape))
