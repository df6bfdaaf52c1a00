"""The backlog of the caller's unanswered frames, and the selection of frames to drop."""

from __future__ import annotations

from dataclasses import dataclass

from moshi_phone.audio.formats import Pcm
from moshi_phone.audio.silence import is_silent

LIMIT_FRAMES = 5  # 400 ms: beyond this, a gap is better than the delay


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame that no stage has taken yet."""

    pcm: Pcm
    silent: bool


class Backlog:
    """Counts unanswered frames, and holds those that no stage has taken.

    At most ``limit_frames`` are in flight at a time. Another one drops the oldest silent frame that still
    waits, or the oldest waiting one if none is silent; a frame in a stage cannot be dropped. So a stall
    becomes a gap in the model's input, never a lasting delay. Not thread-safe: the owner locks.

    Attributes:
        dropped_frames: frames dropped since the start.
    """

    def __init__(self, limit_frames: int = LIMIT_FRAMES) -> None:
        self._limit_frames = limit_frames
        self._waiting: list[Waiting] = []  # at most limit_frames: scanning it for silence is cheap
        self._taken_frames = 0  # in progress in a stage; can no longer be dropped
        self.dropped_frames = 0

    @property
    def frames(self) -> int:
        """Number of frames that are neither answered nor dropped."""
        return len(self._waiting) + self._taken_frames

    @property
    def waiting_frames(self) -> int:
        """Number of frames that no stage has taken."""
        return len(self._waiting)

    @property
    def taken_frames(self) -> int:
        """Number of frames in the stages."""
        return self._taken_frames

    def push(self, pcm: Pcm) -> None:
        """Add a frame of the caller, and drop one if there are too many."""
        self._waiting.append(Waiting(pcm, is_silent(pcm)))
        if self.frames > self._limit_frames:
            silent = (index for index, frame in enumerate(self._waiting) if frame.silent)
            # The newest frame counts too: if it alone is silent, it is the best one to drop.
            del self._waiting[next(silent, 0)]
            self.dropped_frames += 1

    def take(self) -> Pcm:
        """Pass the oldest waiting frame to the first stage.

        Raises:
            IndexError: when none is waiting.
        """
        frame = self._waiting.pop(0)
        self._taken_frames += 1
        return frame.pcm

    def answered(self) -> None:
        """Count a taken frame as answered.

        Raises:
            ValueError: when none was taken.
        """
        if self._taken_frames == 0:
            raise ValueError("expected a frame that was taken, got an answer to none")
        self._taken_frames -= 1
