"""A transport without a socket: the test supplies its input, and its output is recorded."""

from __future__ import annotations

from typing import TypeVar

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import BaseTransport

F = TypeVar("F", bound=Frame)


class FakeTransport(BaseTransport):
    """Replaces the transport in a pipeline under test.

    ``run_test(my_pipeline(FakeTransport(), …), frames_to_send=…)`` inserts the frames in place of the
    caller's. Frames that reach the output are stored in ``sent`` and passed on to ``run_test``.

    Attributes:
        sent: downstream frames that reached ``output()``, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Frame] = []
        self._input = _PassOn("input")
        self._output = _Keep(self.sent)

    def input(self) -> FrameProcessor:
        """Return the input, the source of the caller's frames."""
        return self._input

    def output(self) -> FrameProcessor:
        """Return the output, which records sent frames."""
        return self._output

    async def receive(self, frame: Frame) -> None:
        """Inject a frame of the caller; the pipeline must run."""
        await self._input.push_frame(frame)

    def sent_of(self, kind: type[F]) -> list[F]:
        """Return the sent frames of one type."""
        return [frame for frame in self.sent if isinstance(frame, kind)]


class _PassOn(FrameProcessor):
    def __init__(self, name: str) -> None:
        super().__init__(name=name, enable_direct_mode=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class _Keep(_PassOn):
    def __init__(self, sent: list[Frame]) -> None:
        super().__init__("output")
        self._sent = sent

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if direction is FrameDirection.DOWNSTREAM:
            self._sent.append(frame)
        await super().process_frame(frame, direction)
