"""A transport without a socket: frames go in by the test, and what would be sent is kept."""

from __future__ import annotations

from typing import TypeVar

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import BaseTransport

F = TypeVar("F", bound=Frame)


class FakeTransport(BaseTransport):
    """Passes frames, in place of a transport, in a pipeline under test.

    ``run_test(my_pipeline(FakeTransport(), …), frames_to_send=…)`` puts the frames in where the caller's
    would come from. What reaches the other end is in ``sent``, and goes on to ``run_test``.

    Attributes:
        sent: the frames that reached ``output()`` on their way down, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Frame] = []
        self._input = _PassOn("input")
        self._output = _Keep(self.sent)

    def input(self) -> FrameProcessor:
        """Give the end that the caller's frames come from."""
        return self._input

    def output(self) -> FrameProcessor:
        """Give the end that keeps what would be sent."""
        return self._output

    async def receive(self, frame: Frame) -> None:
        """Let a frame come from the caller; the pipeline must run."""
        await self._input.push_frame(frame)

    def sent_of(self, kind: type[F]) -> list[F]:
        """Give what was sent of one kind."""
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
