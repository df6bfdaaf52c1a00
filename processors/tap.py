"""A stage that lets others look at what passes, and changes nothing."""

from __future__ import annotations

from typing import Protocol

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


class FrameObserver(Protocol):
    """Looks at frames: a meter, a transcript, a recorder."""

    def observe(self, frame: Frame) -> None:
        """Look at a frame on its way. Must return at once, and never raise."""

    def close(self) -> None:
        """Finish: the call is over. May be called twice."""


class Tap(FrameProcessor):
    """Shows each frame to its observers, and passes it on.

    One stage for all of them: what an observer does for a frame takes less than what a stage costs.

    Args:
        observers: are closed with the pipeline, however it ends.
    """

    def __init__(self, *observers: FrameObserver) -> None:
        # Direct: an observer sees a frame when it passes, not when a queue of the tap's own gets round to it.
        super().__init__(enable_direct_mode=True)
        self.observers = observers

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Show and pass on."""
        await super().process_frame(frame, direction)
        for observer in self.observers:
            observer.observe(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Close the observers."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        # Here and not on an EndFrame, which a call that is broken off never sees.
        for observer in self.observers:
            observer.close()
