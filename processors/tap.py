"""A stage that lets others look at what passes, and changes nothing."""

from __future__ import annotations

from typing import Protocol

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


class Watcher(Protocol):
    """Looks at frames: a meter, a transcript, a recorder."""

    def see(self, frame: Frame) -> None:
        """Look at a frame on its way. Must return at once, and never raise."""

    def close(self) -> None:
        """Finish: the call is over. May be called twice."""


class Tap(FrameProcessor):
    """Shows each frame to its watchers, and passes it on.

    One stage for all of them: what a watcher does for a frame takes less than what a stage costs.

    Args:
        watchers: are closed with the pipeline, however it ends.
    """

    def __init__(self, *watchers: Watcher) -> None:
        super().__init__(enable_direct_mode=True)
        self.watchers = watchers

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Show and pass on."""
        await super().process_frame(frame, direction)
        for watcher in self.watchers:
            watcher.see(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Close the watchers."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        for watcher in self.watchers:
            watcher.close()
