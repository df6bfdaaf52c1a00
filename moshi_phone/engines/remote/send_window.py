"""The frames in flight to a server: in transit, awaiting an answer, or never answered.

A server answers fewer frames than it gets. Kyutai's drops the first one, and every model's first answers are
late: such a server leaves a constant number of frames unanswered, which is no delay. Beyond that offset,
every missing answer is delay: frames in transit, or frames that the server has not processed yet.
"""

from __future__ import annotations

import math
from collections import deque

from moshi_phone.audio.formats import FRAME_MS, Pcm
from moshi_phone.engines.backlog import Backlog

AHEAD_FRAMES = 3  # sent and unanswered, in addition to those in transit; enough to continue after a hiccup
FIRST_ANSWER_FRAMES = 4  # more of them until the first answer, while the offset is unknown
WAITING_FRAMES = 2  # further ones wait here, 400 ms in all; then frames are dropped, silent ones first
SWALLOWED_AFTER_S = 1.0  # after this time without an answer, missing ones count as never answered
_MAX_WIRE_S = 2.0
_MUCH_SHORTER_S = 0.02


class SendWindow:
    """Counts one call's frames to a server and back. Pure: time is an argument, in seconds.

    Attributes:
        unanswered_offset_frames: number of frames that the server never answers; None until it answers.
    """

    def __init__(self) -> None:
        self.unanswered_offset_frames: int | None = None
        self._waiting = Backlog(WAITING_FRAMES)
        self._unanswered_s: deque[float] = deque()  # send time of each of these
        self._wire_s = self._believed_wire_s = math.inf
        self._moved_s = -math.inf  # time of the last frame sent or answered

    @property
    def behind_frames(self) -> int:
        """Number of frames that wait here, are in transit, or await an answer."""
        return self._waiting.frames + self._owed_frames

    @property
    def dropped_frames(self) -> int:
        """Number of frames never sent, because the server was too far behind."""
        return self._waiting.dropped_frames

    @property
    def wire_s(self) -> float:
        """Round-trip time to the server; 0 while unknown."""
        return self._wire_s if math.isfinite(self._wire_s) else 0.0

    def set_wire(self, there_and_back_s: float) -> None:
        """Record a round-trip time; the minimum counts.

        A server that blocks during its model's steps answers a ping late, so longer times are meaningless.
        """
        there_and_back_s = min(max(there_and_back_s, 0.0), _MAX_WIRE_S)
        self._wire_s = min(self._wire_s, there_and_back_s)
        if self._believed_wire_s - self._wire_s > _MUCH_SHORTER_S:
            self._believed_wire_s = self._wire_s
            self.unanswered_offset_frames = None  # frames counted as in transit had arrived

    def push(self, pcm: Pcm) -> None:
        """Add the caller's next frame, and drop one if too many wait."""
        self._waiting.push(pcm)

    def take(self, now_s: float) -> Pcm | None:
        """Return the next frame to send; None while the server has enough or nothing waits."""
        if not self._waiting.waiting_frames:
            return None
        if self._owed_frames >= self._ahead_frames:
            if now_s - self._moved_s < SWALLOWED_AFTER_S:
                return None
            self.unanswered_offset_frames = len(self._unanswered_s)
        pcm = self._waiting.take()
        self._waiting.answered()
        self._unanswered_s.append(now_s)
        self._moved_s = now_s
        return pcm

    def answered(self, now_s: float) -> float | None:
        """Count one answer of the server.

        Returns:
            Seconds since the answered frame was taken; None if the server sends more frames than it got.
        """
        self._moved_s = now_s
        if not self._unanswered_s:
            return None
        # Of the frames that can have reached the server and come back by now, this answers the last,
        # unless there was once an answer with fewer of them open: then that many are the offset.
        back = sum(sent_s <= now_s - self.wire_s for sent_s in self._unanswered_s)
        short = max(back - 1, 0)
        self.unanswered_offset_frames = (
            short if self.unanswered_offset_frames is None else min(short, self.unanswered_offset_frames)
        )
        delay_s = now_s - self._unanswered_s[min(self.unanswered_offset_frames, len(self._unanswered_s) - 1)]
        self._unanswered_s.popleft()
        return delay_s

    @property
    def _ahead_frames(self) -> int:
        first = FIRST_ANSWER_FRAMES if self.unanswered_offset_frames is None else 0
        return AHEAD_FRAMES + first + math.ceil(self.wire_s * 1000 / FRAME_MS)

    @property
    def _owed_frames(self) -> int:
        return max(len(self._unanswered_s) - (self.unanswered_offset_frames or 0), 0)
