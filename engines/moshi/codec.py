"""Mimi, the codec: ready before a call needs it, clean for each call, and renewed in a long one.

A ``rustymimi.Tokenizer`` takes 350 MB and a second to load, does one thing at a time, and counts
positions up to a limit that was fixed when it was made. So a pool keeps them, a call takes two (one to
encode, one to decode), and a call that comes near the limit changes to a fresh one in a silent moment.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import rustymimi
from numpy.typing import NDArray

from engines.duplex import FRAME_MS, FRAME_SAMPLES, EngineBusy, EngineFailed, Pcm, check_frame
from engines.moshi.token_history import Tokens
from engines.silence import is_silent

CODEBOOKS = 8
POSITIONS_PER_FRAME = 2  # Mimi's transformers run at 25 Hz
LIMIT_FRAMES = 4 * 3600 * 1000 // FRAME_MS  # 4 hours; each costs 160 MB more than the shortest would
NOTICE_FRAMES = 60 * 1000 // FRAME_MS  # a fresh one is wanted a minute ahead, to have time for silence
PRIMING_FRAMES = 2  # what a fresh one is given before it takes over; longer than its convolutions reach


class MimiPool:
    """Tokenizers that are loaded and clean.

    Args:
        path: Mimi's weights.
        size: how many to keep; two for each call.
        limit_frames: how many frames each can take before it must be renewed.
    """

    def __init__(self, path: Path, size: int, limit_frames: int = LIMIT_FRAMES) -> None:
        self.limit_frames = limit_frames
        self._path = path
        self._size = size
        self._ready: list[rustymimi.Tokenizer] = []
        self._lock = threading.Lock()

    @property
    def ready(self) -> int:
        """How many can be taken now."""
        return len(self._ready)

    def fill(self) -> None:
        """Load until the pool is full; takes a second for each."""
        while self.ready < self._size:
            self.give_back(self._load())

    def take(self) -> rustymimi.Tokenizer:
        """Take a clean one.

        Raises:
            EngineBusy: when there is none.
        """
        with self._lock:
            if not self._ready:
                raise EngineBusy("The codec of an earlier call is not free yet; try again in a second.")
            return self._ready.pop()

    def give_back(self, tokenizer: rustymimi.Tokenizer) -> None:
        """Clean it and keep it, unless the pool is full."""
        tokenizer.reset()
        with self._lock:
            if len(self._ready) < self._size:
                self._ready.append(tokenizer)

    def fresh(self) -> Future[rustymimi.Tokenizer]:
        """Load another one in a thread of its own."""
        result: Future[rustymimi.Tokenizer] = Future()

        def load() -> None:
            try:
                result.set_result(self._load())
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=load, name="mimi-load", daemon=True).start()
        return result

    def replace_lost(self) -> None:
        """Load one in place of one that will not come back, in the background."""

        def keep(loaded: Future[rustymimi.Tokenizer]) -> None:
            if loaded.exception() is None:
                self.give_back(loaded.result())

        self.fresh().add_done_callback(keep)

    def _load(self) -> rustymimi.Tokenizer:
        return rustymimi.Tokenizer(
            str(self._path),
            num_codebooks=CODEBOOKS,
            max_seq_len=POSITIONS_PER_FRAME * self.limit_frames,
        )


class _Renewable:
    """A tokenizer in use for one direction of one call."""

    def __init__(self, pool: MimiPool) -> None:
        self._pool = pool
        self._mimi = pool.take()
        self._frames = 0
        self._next: Future[rustymimi.Tokenizer] | None = None
        self._recent: deque[NDArray[np.generic]] = deque(maxlen=PRIMING_FRAMES)

    def release(self) -> None:
        """Give it back to the pool. It must not be used again."""
        self._pool.give_back(self._mimi)

    def _prepare(
        self, step: Callable[[rustymimi.Tokenizer, NDArray[np.generic]], object], silent: bool
    ) -> None:
        """Change to a fresh one when the limit is near: in silence, or else at the limit itself."""
        left = self._pool.limit_frames - self._frames
        if left > min(NOTICE_FRAMES, self._pool.limit_frames // 2):
            return
        if self._next is None:
            self._next = self._pool.fresh()
        if left > PRIMING_FRAMES and not (silent and self._next.done()):
            return
        try:
            fresh = self._next.result()
        except Exception as error:
            self._next = None
            if left > PRIMING_FRAMES:
                return  # there is time to try again
            raise EngineFailed(f"Mimi could not be loaded anew for a long call: {error}") from error
        for frame in self._recent:
            step(fresh, frame)
        worn, self._mimi = self._mimi, fresh
        self._frames, self._next = len(self._recent), None
        self._pool.give_back(worn)


class Encoder(_Renewable):
    """Turns the caller's sound into tokens."""

    def encode(self, pcm: Pcm) -> Tokens:
        """Encode float32 ``[1920]`` at 24 kHz to uint32 ``[8]``."""
        frame = check_frame(pcm).reshape(1, 1, FRAME_SAMPLES)
        self._prepare(lambda mimi, earlier: mimi.encode_step(earlier), is_silent(pcm))
        tokens = self._mimi.encode_step(frame)
        self._frames += 1
        self._recent.append(frame)
        if tokens is None or tokens.shape != (1, CODEBOOKS, 1):
            raise EngineFailed(f"Mimi: expected tokens [1, {CODEBOOKS}, 1] for a frame, got {_shape(tokens)}")
        return np.ascontiguousarray(tokens[0, :, 0], np.uint32)


class Decoder(_Renewable):
    """Turns tokens into sound."""

    def __init__(self, pool: MimiPool) -> None:
        super().__init__(pool)
        self._silent = True

    def decode(self, tokens: Tokens) -> Pcm:
        """Decode uint32 ``[8]`` to float32 ``[1920]`` at 24 kHz."""
        frame = tokens.reshape(1, CODEBOOKS, 1)
        self._prepare(lambda mimi, earlier: mimi.decode_step(earlier), self._silent)
        sound = self._mimi.decode_step(frame)
        self._frames += 1
        self._recent.append(frame)
        if sound is None or sound.shape != (1, 1, FRAME_SAMPLES):
            raise EngineFailed(
                f"Mimi: expected sound [1, 1, {FRAME_SAMPLES}] for a frame, got {_shape(sound)}"
            )
        pcm = np.ascontiguousarray(sound[0, 0], np.float32)
        self._silent = is_silent(pcm)
        return pcm


def _shape(array: NDArray[np.generic] | None) -> str:
    return "none" if array is None else str(list(array.shape))
