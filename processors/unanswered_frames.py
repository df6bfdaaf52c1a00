"""The caller's frames that an engine's session has not answered yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.runtime.watchdog import Watchdog


class UnansweredFrames:
    """Knows when each unanswered frame was fed, and calls back when an answer is overdue.

    A session answers its frames in order. It drops frames when it is too far behind, and never answers those.
    Used on the event loop, whose clock it reads.

    Args:
        hang_secs: how long an answer may take.
        on_overdue: called when one has taken longer.
    """

    def __init__(self, hang_secs: float, on_overdue: Callable[[], None]) -> None:
        self._fed_frames = 0  # since the start of the call
        self._fed_at_s: deque[float] = deque()  # bounded by the session's backlog, see answered()
        self._watchdog = Watchdog(hang_secs, on_overdue)

    @property
    def fed_s(self) -> float:
        """Length of the audio fed since the start of the call, in seconds."""
        return self._fed_frames * FRAME_MS / 1000

    def feed(self) -> None:
        """Count a frame that is fed now."""
        self._fed_at_s.append(asyncio.get_running_loop().time())
        self._fed_frames += 1
        # Not restarted for every frame: that would postpone the timeout while the caller speaks.
        if not self._watchdog.is_running:
            self._watchdog.start()

    def answer(self, backlog_frames: int) -> float:
        """Remove the frame that is answered now, and return when it was fed.

        Args:
            backlog_frames: frames that the session still has to answer.

        Returns:
            The time in seconds; the current time for an answer without a frame, such as a greeting's.
        """
        # The frames that the session has dropped. One more than the backlog stays: the answered frame itself.
        while len(self._fed_at_s) > backlog_frames + 1:
            self._fed_at_s.popleft()
        self._watchdog.pause()
        # Restarted only while an answer is due: a silent transport is not the engine's fault.
        if backlog_frames:
            self._watchdog.start()
        return self._fed_at_s.popleft() if self._fed_at_s else asyncio.get_running_loop().time()

    def stop(self) -> None:
        """Cancel the timeout. May be called twice."""
        self._watchdog.stop()
