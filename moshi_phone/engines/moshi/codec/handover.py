"""A spare codec that takes over from one in use, which bounds the memory of a call of any length.

rustymimi stores every position that it has seen, 65 kB a frame in each direction, although Mimi attends to
the last ten seconds only. Only a reset frees them, which loses those ten seconds as well. So a spare codec is
primed with the last frames in parallel, and takes over between two frames; the other one is reset and becomes
the next spare.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from loguru import logger

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.runtime.errors import first_line

FRAMES_AT_ONCE = 5  # more would hardly be faster
HUNG_FRAMES = 10 * 1000 // FRAME_MS  # of the call, without progress of the spare

FrameT = TypeVar("FrameT")


class Handover(Generic[FrameT]):
    """Brings a spare codec up to the present frame, in a thread of its own.

    Args:
        pool: lends the spare, and gets the codec that is left over.
        spare: clean.
        frames: the last ones that the codec in use was given, oldest first.
        prime: gives a codec some frames at once.
    """

    def __init__(
        self,
        pool: MimiPool,
        spare: Mimi,
        frames: Iterable[FrameT],
        prime: Callable[[Mimi, Sequence[FrameT]], object],
    ) -> None:
        self._pool = pool
        self._spare = spare
        self._prime = prime
        self._changed = threading.Condition()  # guards all that follows
        self._waiting = deque(frames)  # bounded by the owner, who gives up after a minute
        self._is_busy = False  # whether the spare is inside Rust now
        self._pushed_since_step = 0  # frames of the call since then: tells that the spare hangs
        self._leftover: Mimi | None = None  # set once it is decided which codec continues
        self._failed = False
        pool.run(self._run, name="mimi-handover")

    @property
    def failed(self) -> bool:
        """Whether the spare failed. The pool replaces it."""
        return self._failed

    def push(self, frame: FrameT) -> None:
        """Add the frame that the codec in use is given now."""
        with self._changed:
            self._waiting.append(frame)
            self._pushed_since_step += 1
            self._changed.notify()

    def take_over(self, old: Mimi) -> Mimi | None:
        """Exchange ``old`` for the spare if it has processed every frame so far; else give None.

        ``old`` is reset in the background.
        """
        with self._changed:
            if not self._is_level:
                return None
            self._leftover = old
            self._changed.notify()
            return self._spare

    def cancel(self) -> None:
        """Return the spare as soon as its current frames are done."""
        with self._changed:
            self._leftover = self._spare
            self._changed.notify()

    def give_up(self) -> None:
        """Cancel a handover that takes too long; a hung spare is replaced."""
        with self._changed:
            is_hung = self._is_busy and self._pushed_since_step >= HUNG_FRAMES
        self.cancel()
        if is_hung:
            self._pool.lose_spare(self._spare)

    def _run(self) -> None:
        try:
            while frames := self._next():
                self._prime(self._spare, frames)
        except Exception as error:  # rustymimi documents no exceptions
            logger.warning("A spare codec failed and is being replaced: {}", first_line(error))
            with self._changed:
                self._failed, self._is_busy = True, False
                self._waiting.clear()
            self._pool.lose_spare(self._spare)
            return
        assert self._leftover is not None  # noqa: S101 - for mypy: _next ends by it
        self._pool.return_spare(self._spare, self._leftover)

    @property
    def _is_level(self) -> bool:
        return not (self._waiting or self._is_busy or self._failed)

    def _next(self) -> list[FrameT]:
        """Wait for frames; give none once it is decided which codec continues."""
        with self._changed:
            self._is_busy = False
            self._pushed_since_step = 0
            self._changed.wait_for(lambda: self._waiting or self._leftover is not None)
            if self._leftover is not None:
                return []
            self._is_busy = True
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), FRAMES_AT_ONCE))]
