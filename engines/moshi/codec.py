"""Mimi, the codec: ready before a call needs it, clean for each call, and renewed in a long one.

A ``rustymimi.Tokenizer`` takes 350 MB and a second to load, does one thing at a time, and counts
positions up to a limit that is fixed when it is made. So a pool keeps them, a call takes two (one to
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
from loguru import logger
from numpy.typing import NDArray

from audio.formats import FRAME_MS, FRAME_SAMPLES, Pcm
from audio.silence import is_silent
from engines.duplex import EngineBusy, EngineFailed, EngineUnavailable, check_frame
from engines.moshi.token_history import Tokens
from runtime.retries import Cancel, GrowingPauses, Later, later

CODEBOOKS = 8  # that Moshi reads and writes
LISTENING_CODEBOOKS = 32  # that the listening model reads; Moshi's are the first of them
POSITIONS_PER_FRAME = 2  # Mimi's transformers run at 25 Hz
LIMIT_FRAMES = 4 * 3600 * 1000 // FRAME_MS  # 4 hours; each costs 160 MB more than the shortest would
NOTICE_FRAMES = 60 * 1000 // FRAME_MS  # a fresh one is wanted a minute ahead, to have time for silence
PRIMING_FRAMES = 4  # what a fresh one is given before it takes over; its convolutions reach back 3.5
CLEANING_FRAMES = 1
WORN_SHARE = 1 / 8  # half an hour of use, after which a new call had better begin with another one
CLOSE_PATIENCE_S = 3.0  # loading one takes a second
SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


class Mimi:
    """A ``rustymimi.Tokenizer`` that knows how much longer it can be used.

    Its ``reset()`` is not all that a new call needs. With 0.4.1 it leaves the last 80 ms of a caller in the
    downsampling convolution, so they would be in the next caller's first frame; and positions are counted
    on, so the limit is one for the tokenizer's life, not for a call.

    Args:
        path: Mimi's weights.
        limit_frames: how many frames it can take each way.
        codebooks: how many it writes and reads; the first are the same however many there are.
    """

    def __init__(self, path: Path, limit_frames: int, codebooks: int = CODEBOOKS) -> None:
        self._tokenizer = rustymimi.Tokenizer(
            str(path), num_codebooks=codebooks, max_seq_len=POSITIONS_PER_FRAME * limit_frames
        )
        self._codebooks = codebooks
        self._limit_frames = limit_frames
        self._encoded_frames = self._decoded_frames = 0
        self.clean()

    @property
    def left_frames(self) -> int:
        """How many frames it can still take."""
        return self._limit_frames - max(self._encoded_frames, self._decoded_frames)

    @property
    def near_limit(self) -> bool:
        """Whether it should not begin another call if there is a choice."""
        return self.left_frames < self._limit_frames * (1 - WORN_SHARE)

    def encode(self, pcm: Pcm) -> Tokens:
        """Encode float32 ``[1920]`` at 24 kHz to uint32 ``[codebooks]``."""
        self._encoded_frames += 1
        tokens = self._tokenizer.encode_step(check_frame(pcm).reshape(1, 1, FRAME_SAMPLES))
        if tokens is None or tokens.shape != (1, self._codebooks, 1):
            raise EngineFailed(
                f"Mimi: expected tokens [1, {self._codebooks}, 1] for a frame, got {_shape(tokens)}"
            )
        return np.ascontiguousarray(tokens[0, :, 0], np.uint32)

    def decode(self, tokens: Tokens) -> Pcm:
        """Decode uint32 ``[codebooks]`` to float32 ``[1920]`` at 24 kHz."""
        self._decoded_frames += 1
        sound = self._tokenizer.decode_step(tokens.reshape(1, self._codebooks, 1))
        if sound is None or sound.shape != (1, 1, FRAME_SAMPLES):
            raise EngineFailed(
                f"Mimi: expected sound [1, 1, {FRAME_SAMPLES}] for a frame, got {_shape(sound)}"
            )
        return np.ascontiguousarray(sound[0, 0], np.float32)

    def clean(self) -> None:
        """Come into one and the same state, whatever was before: a frame of silence pushes the rest out."""
        self._tokenizer.reset()
        self.decode(self.encode(SILENCE))
        self._tokenizer.reset()


class MimiPool:
    """Codecs that are loaded and clean.

    Args:
        path: Mimi's weights.
        size: how many to keep; two for each call.
        limit_frames: how many frames each can take in its life.
        codebooks: how many each writes and reads.
        run_later: runs the next try at loading one after a pause.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        limit_frames: int = LIMIT_FRAMES,
        *,
        codebooks: int = CODEBOOKS,
        run_later: Later = later,
    ) -> None:
        self.limit_frames = limit_frames
        self._codebooks = codebooks
        self._path = path
        self._size = size
        self._run_later = run_later
        self._ready: list[Mimi] = []
        self._lock = threading.Lock()
        self._wanted = 0  # those that are being loaded in place of others, one after the other
        self._pauses = GrowingPauses()
        self._cancel: Cancel | None = None
        self._closed = False
        self._loading: list[threading.Thread] = []

    @property
    def ready(self) -> int:
        """How many can be taken now."""
        return len(self._ready)

    def fill(self) -> None:
        """Load until the pool is full, or closed; takes a second for each.

        Raises:
            EngineUnavailable: when Mimi cannot be loaded.
        """
        while self.ready < self._size and not self._closed:
            try:
                mimi = Mimi(self._path, self.limit_frames, self._codebooks)
            except Exception as error:  # rustymimi raises what it likes
                reason = _in_a_line(error)
                raise EngineUnavailable(f"{self._path} cannot be loaded by Mimi: {reason}") from error
            self._keep(mimi)

    def take(self) -> Mimi:
        """Take the one that has been used least.

        Raises:
            EngineBusy: when there is none.
        """
        with self._lock:
            if not self._ready:
                raise EngineBusy("The codec of an earlier call is not free yet; try again in a second.")
            return self._ready.pop(0)

    def give_back(self, mimi: Mimi) -> None:
        """Clean it for the next call, and have it replaced in the background if it is near its limit."""
        if mimi.left_frames > 1:
            mimi.clean()
            self._keep(mimi)
        if mimi.near_limit:
            self.replace()

    def close(self) -> None:
        """Load no more, and wait for what is being loaded: a thread in Rust aborts a program that ends."""
        with self._lock:
            self._closed = True
            if self._cancel is not None:
                self._cancel()
            loading = list(self._loading)
        for thread in loading:
            thread.join(CLOSE_PATIENCE_S)

    def load_async(self) -> Future[Mimi]:
        """Load another one in a thread of its own."""
        result: Future[Mimi] = Future()

        def load() -> None:
            try:
                result.set_result(Mimi(self._path, self.limit_frames, self._codebooks))
            except BaseException as error:
                result.set_exception(error)

        thread = threading.Thread(target=load, name="mimi-load", daemon=True)
        with self._lock:
            self._loading = [one for one in self._loading if one.is_alive()] + [thread]
            thread.start()
        return result

    def replace(self) -> None:
        """Load one, in the background, in place of one that is near its limit or will not come back.

        It is tried until it is there: what fails (memory, files) may be well again in a second.
        """
        with self._lock:
            self._wanted = min(self._wanted + 1, self._size)
            if self._wanted > 1 or self._closed:
                return  # the one under way will be followed by this one
        self._load_next()

    def _load_next(self) -> None:
        self.load_async().add_done_callback(self._loaded)

    def _loaded(self, loading: Future[Mimi]) -> None:
        if error := loading.exception():
            with self._lock:
                if self._closed:
                    return
                pause_secs = self._pauses.next_secs()
                self._cancel = self._run_later(pause_secs, self._load_next)
            logger.error(
                "Mimi cannot be loaded ({}); it is tried again in {:g} s", _in_a_line(error), pause_secs
            )
            return
        self._keep(loading.result())
        with self._lock:
            self._pauses.reset()
            self._wanted -= 1
            if not self._wanted or self._closed:
                return
        self._load_next()

    def _keep(self, mimi: Mimi) -> None:
        with self._lock:
            self._ready.append(mimi)
            self._ready.sort(key=lambda one: -one.left_frames)
            del self._ready[self._size :]


class _Renewable:
    """A codec in use for one direction of one call."""

    def __init__(self, pool: MimiPool) -> None:
        self.pool = pool
        self._mimi = pool.take()
        self._next: Future[Mimi] | None = None
        self._renew_at_frames = min(NOTICE_FRAMES, pool.limit_frames // 2)

    def release(self) -> None:
        """Give it back to the pool. It must not be used again."""
        self.pool.give_back(self._mimi)

    def _renew(self, *, silent: bool, prime: Callable[[Mimi], object]) -> None:
        """Change to a fresh one when the limit is near: in silence, or else at the limit itself.

        Args:
            silent: whether this is a good moment.
            prime: brings the fresh one up to the present frame.
        """
        if self._mimi.left_frames > self._renew_at_frames:
            return
        if self._next is None:
            self._next = self.pool.load_async()
        last_moment = self._mimi.left_frames <= CLEANING_FRAMES
        if not last_moment and not (silent and self._next.done()):
            return
        fresh, self._next = self._next, None
        try:
            mimi = fresh.result()
        except Exception as error:
            if last_moment:
                raise EngineFailed(
                    f"Mimi could not be loaded anew for a long call: {_in_a_line(error)}"
                ) from error
            # Again after half of the time that is left, and not with every frame: loading takes a second.
            self._renew_at_frames = self._mimi.left_frames // 2
            return
        prime(mimi)
        self._mimi = mimi
        self._renew_at_frames = min(NOTICE_FRAMES, self.pool.limit_frames // 2)


class Encoder(_Renewable):
    """Turns the caller's sound into tokens."""

    def __init__(self, pool: MimiPool) -> None:
        super().__init__(pool)
        self._recent: deque[Pcm] = deque(maxlen=PRIMING_FRAMES)

    def encode(self, pcm: Pcm) -> Tokens:
        """Encode float32 ``[1920]`` at 24 kHz to uint32 ``[codebooks of the pool]``."""
        self._renew(silent=is_silent(pcm), prime=lambda mimi: [mimi.encode(frame) for frame in self._recent])
        self._recent.append(pcm)
        return self._mimi.encode(pcm)


class Decoder(_Renewable):
    """Turns tokens into sound."""

    def __init__(self, pool: MimiPool) -> None:
        super().__init__(pool)
        self._recent: deque[Tokens] = deque(maxlen=PRIMING_FRAMES)
        self._silent = True

    def decode(self, tokens: Tokens) -> Pcm:
        """Decode uint32 ``[8]`` to float32 ``[1920]`` at 24 kHz."""
        self._renew(silent=self._silent, prime=lambda mimi: [mimi.decode(frame) for frame in self._recent])
        self._recent.append(tokens)
        pcm = self._mimi.decode(tokens)
        self._silent = is_silent(pcm)
        return pcm


def _in_a_line(error: BaseException) -> str:
    """Give what rustymimi raised without the backtrace that it puts behind."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _shape(array: NDArray[np.generic] | None) -> str:
    return "none" if array is None else str(list(array.shape))
