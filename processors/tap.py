"""A stage with read-only observers of passing frames."""

from __future__ import annotations

from typing import Protocol

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection

from processors.frames import MeasurementFrame
from processors.stage import Stage


class FrameMonitor(Protocol):
    """Observes frames: a meter, a transcript, a recorder."""

    def observe(self, frame: Frame) -> None:
        """Observe a passing frame. Must return at once, and never raise."""

    def close(self) -> None:
        """Finish: the call has ended. May be called twice."""


class Tap(Stage):
    """Shows each frame to its monitors, and passes it on.

    One stage serves all monitors: observing a frame costs less than another stage.

    Args:
        monitors: closed with the pipeline, however it ends.
    """

    reads = (MeasurementFrame,)

    def __init__(self, *monitors: FrameMonitor) -> None:
        super().__init__()
        self.monitors = monitors

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Show the frame to the monitors, and pass it on."""
        await super().process_frame(frame, direction)
        for monitor in self.monitors:
            monitor.observe(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Close the monitors."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        # Not on an EndFrame, which a cancelled call never sees.
        for monitor in self.monitors:
            monitor.close()
