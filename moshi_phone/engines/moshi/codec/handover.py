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

FRAMES_AT_ONCE = 5  # a larger number is hardly faster
HUNG_FRAMES = 10 * 1000 // FRAME_MS  # frames of the call without progress of the spare

FrameT = TypeVar("FrameT")


class Handover(Generic[FrameT]):
    """Brings a spare codec up to date with the call, in its own thread.

    Args:
        pool: lends the spare, and gets the replaced codec.
        spare: a clean codec.
        frames: the last frames of the codec in use, oldest first.
        prime: feeds a codec several frames at once.
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
        self._waiting = deque(frames)  # bounded by the owner, which stops waiting after a minute
        self._is_busy = False  # whether the spare is inside Rust
        self._pushed_since_step = 0  # frames of the call since then; many mean that the spare hangs
        self._leftover: Mimi | None = None  # set once the continuing codec is decided
        self._failed = False
        pool.run(self._run, name="mimi-handover")

    @property
    def failed(self) -> bool:
        """Whether the spare failed. The pool replaces it."""
        return self._failed

    def push(self, frame: FrameT) -> None:
        """Add the current frame of the codec in use."""
        with self._changed:
            self._waiting.append(frame)
            self._pushed_since_step += 1
            self._changed.notify()

    def take_over(self, old: Mimi) -> Mimi | None:
        """Replace ``old`` by the spare if that has processed every frame so far; else return None.

        ``old`` is reset in the background.
        """
        with self._changed:
            if not self._is_level:
                return None
            self._leftover = old
            self._changed.notify()
            return self._spare

    def cancel(self) -> None:
        """Return the spare after its current frames."""
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
        """Wait for frames; return none once the continuing codec is decided."""
        with self._changed:
            self._is_busy = False
            self._pushed_since_step = 0
            self._changed.wait_for(lambda: self._waiting or self._leftover is not None)
            if self._leftover is not None:
                return []
            self._is_busy = True
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), FRAMES_AT_ONCE))]
