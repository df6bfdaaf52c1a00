"""A stage that lets others look at what passes, and changes nothing."""

from __future__ import annotations

from typing import Protocol

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


class FrameMonitor(Protocol):
    """Looks at frames: a meter, a transcript, a recorder."""

    def observe(self, frame: Frame) -> None:
        """Look at a frame on its way. Must return at once, and never raise."""

    def close(self) -> None:
        """Finish: the call is over. May be called twice."""


class Tap(FrameProcessor):
    """Shows each frame to its monitors, and passes it on.

    One stage for all of them: what a monitor does for a frame takes less than what a stage costs.

    Args:
        monitors: are closed with the pipeline, however it ends.
    """

    def __init__(self, *monitors: FrameMonitor) -> None:
        # Direct: a monitor sees a frame when it passes, not when a queue of the tap's own gets round to it.
        super().__init__(enable_direct_mode=True)
        self.monitors = monitors

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Show and pass on."""
        await super().process_frame(frame, direction)
        for monitor in self.monitors:
            monitor.observe(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Close the monitors."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        # Here and not on an EndFrame, which a call that is broken off never sees.
        for monitor in self.monitors:
            monitor.close()
